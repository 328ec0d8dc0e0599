"""Tell which latents of an SAE fire on new texts or chats: `python src/annotate.py FILE` (one model pass over it).

Reads what data.path may be, a .txt file of one text a line, or `-` for such lines from standard input. Writes into
annotations/<name of FILE, suffix and all>, or --out: `tokens` (a row per token and active latent), `examples` (a row
per example and latent, over its content), bad_lines.txt and a manifest.

With --serve, and no FILE, it serves the dashboard on this machine alone: type a text there and see what fires. Ctrl-C
ends it.

The model, the chat template and the layer are those that the SAE was trained with, whatever params.yaml says now;
params.yaml gives the names of fields, what to do with bad lines, and the device.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.annotation.annotate import Annotation, Options, annotate_file
from fast_sae.annotation.folder import FORMATS
from fast_sae.annotation.incoming import TEXTS, DataFile
from fast_sae.annotation.origin import Origin, read_origin
from fast_sae.annotation.serving import serve
from fast_sae.arguments import port, positive
from fast_sae.artifacts import Manifest
from fast_sae.chat.settings import DataSettings
from fast_sae.errors import ParamsError, run
from fast_sae.params import Section, load_params, parse_section
from fast_sae.progress import say
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.settings import SAESettings
from fast_sae.training.settings import TrainSettings, training_record

_OF_A_FILE = ("out", "format", "force", "latents", "top", "text_field")
_OF_THE_SERVER = ("port", "dashboard")


def main() -> None:
    """Read the command line; annotate a file and show its first examples, or serve."""
    asked = _asked()
    params = load_params()
    data = parse_section(params, "data", DataSettings)
    runtime = parse_section(params, "runtime", RuntimeSettings)
    origin = read_origin(asked.sae)
    _compare(origin.manifest, params)
    if asked.serve:
        at = 8321 if asked.port is None else asked.port
        dashboard = asked.dashboard or Path("reports/dashboard")
        serve(origin, dashboard, port=at, data=data, runtime=runtime, ready=_tell)
    else:
        _annotate(asked, origin, data, runtime)


def _tell(url: str) -> None:
    sys.stdout.write(f"{url} (Ctrl-C ends it)\n")
    sys.stdout.flush()


def _annotate(asked: argparse.Namespace, origin: Origin, data: DataSettings, runtime: RuntimeSettings) -> None:
    if asked.text_field is not None:
        data = data.model_copy(update={"text_field": asked.text_field})
    with _local(asked.file) as path:
        name = "stdin" if asked.file == "-" else asked.file
        out = asked.out or Path("annotations") / Path(name).name
        options = Options(out, asked.format or FORMATS[0], bool(asked.force), asked.latents, asked.top)
        written = annotate_file(DataFile(path, name, data), origin, options, runtime)
    sys.stdout.write("".join(f"{line}\n" for line in [*written.first, *_result(written, options)]))


def _asked() -> argparse.Namespace:
    """Read the command line; an option that is not given is None, so that one in the wrong place is told."""
    parser = _parser()
    asked = parser.parse_args()
    if asked.serve and asked.file is not None:
        parser.error("--serve takes no FILE: texts are typed into the page")
    if not asked.serve and asked.file is None:
        parser.error("give a FILE, or --serve")
    for name in _OF_A_FILE if asked.serve else _OF_THE_SERVER:
        if getattr(asked, name) is not None:
            with_serve = "cannot be given with" if asked.serve else "is only for"
            parser.error(f"--{name.replace('_', '-')} {with_serve} --serve")
    return asked


def _parser() -> argparse.ArgumentParser:
    about, _, more = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("file", nargs="?", metavar="FILE", help="the texts or chats; - for texts from standard input, one a line")
    add("--sae", type=Path, default=Path("models/sae"), metavar="DIR", help="default: models/sae")
    add("--out", type=Path, metavar="DIR", help="default: annotations/<name of FILE, suffix and all>")
    add("--format", choices=FORMATS, help=f"of both tables; default: {FORMATS[0]}")
    add("--force", action="store_true", default=None, help="replace an annotation that lies in --out")
    add("--latents", type=_numbers, metavar="3,17", help="look at these latents only")
    add("--top", type=positive, metavar="N", help="keep the N strongest latents per token and example")
    add("--text-field", metavar="NAME", help="instead of data.text_field")
    add("--serve", action="store_true", help="serve the dashboard with the model behind it, on 127.0.0.1")
    add("--port", type=port, metavar="N", help="with --serve; 0 for any that is free; default: 8321")
    add("--dashboard", type=Path, metavar="DIR", help="with --serve; default: reports/dashboard")
    return parser


def _numbers(text: str) -> frozenset[int]:
    try:
        return frozenset(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers such as 3,17, found {text!r}") from None


@contextmanager
def _local(name: str) -> Iterator[Path]:
    """Give the file's path; standard input is kept in a temporary one, because it is read twice."""
    if name != "-":
        yield Path(name)
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"stdin{TEXTS}"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield path


def _compare(manifest: Manifest, params: Section) -> None:
    """Say where params.yaml has left what made the SAE, which is what counts."""
    try:
        now = training_record(
            parse_section(params, "model", ModelSettings),
            parse_section(params, "extract", ExtractSettings),
            parse_section(params, "sae", SAESettings),
            parse_section(params, "train", TrainSettings),
        )
    except ParamsError as error:
        say(f"annotating as {manifest.path.parent} was made, with which params.yaml cannot be compared: {error}")
        return
    if differ := [f"{key}={made!r} (not {wanted!r})" for key, made, wanted in manifest.differences(now)]:
        say(
            f"annotating as {manifest.path.parent} was made, which is not what params.yaml says: {', '.join(differ)}; "
            f"for an SAE of params.yaml run: dvc repro {manifest.stage}"
        )


def _result(written: Annotation, options: Options) -> Iterator[str]:
    checked = written.checked
    yield f"{checked.examples:,} examples, {checked.tokens:,} tokens; {len(checked.bad_lines)} lines left out"
    yield f"{options.out}/tokens.{options.form}: {written.token_rows:,} rows"
    yield f"{options.out}/examples.{options.form}: {written.example_rows:,} rows"


if __name__ == "__main__":
    run(main)
