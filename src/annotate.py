"""Tell which latents of an SAE fire on new texts or chats: `python src/annotate.py FILE` (one model pass over it).

Reads what data.path may be, a .txt file of one text a line, or `-` for such lines from standard input. Writes into
annotations/<name of FILE, suffix and all>, or --out: `tokens` (a row per token and active latent), `examples` (a row
per example and latent, over its content), bad_lines.txt and a manifest.

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
from fast_sae.annotation.origin import read_origin
from fast_sae.arguments import positive
from fast_sae.artifacts import Manifest
from fast_sae.chat.settings import DataSettings
from fast_sae.errors import ParamsError, run
from fast_sae.params import Section, load_params, parse_section
from fast_sae.progress import say
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.settings import SAESettings
from fast_sae.training.settings import TrainSettings, training_record


def main() -> None:
    """Read the command line, annotate, and show the first examples."""
    asked = _parser().parse_args()
    params = load_params()
    data = parse_section(params, "data", DataSettings)
    if asked.text_field is not None:
        data = data.model_copy(update={"text_field": asked.text_field})
    origin = read_origin(asked.sae)
    _compare(origin.manifest, params)
    with _local(asked.file) as path:
        name = "stdin" if asked.file == "-" else asked.file
        out = asked.out or Path("annotations") / Path(name).name
        options = Options(out, asked.format, asked.force, asked.latents, asked.top)
        file = DataFile(path, name, data)
        written = annotate_file(file, origin, options, parse_section(params, "runtime", RuntimeSettings))
    sys.stdout.write("".join(f"{line}\n" for line in [*written.first, *_result(written, options)]))


def _parser() -> argparse.ArgumentParser:
    about, _, more = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("file", metavar="FILE", help="the texts or chats; - for texts from standard input, one a line")
    parser.add_argument("--sae", type=Path, default=Path("models/sae"), metavar="DIR", help="default: models/sae")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: annotations/<name of FILE, suffix and all>")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="of both tables; default: csv")
    parser.add_argument("--force", action="store_true", help="replace an annotation that lies in --out")
    parser.add_argument("--latents", type=_numbers, metavar="3,17", help="look at these latents only")
    parser.add_argument("--top", type=positive, metavar="N", help="keep the N strongest latents per token and example")
    parser.add_argument("--text-field", metavar="NAME", help="instead of data.text_field")
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
