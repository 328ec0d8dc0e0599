"""An annotation, whole: check the file, load the model, write the tables shard by shard, and put them in place."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from fast_sae.activations.shard_writer import VERSIONS
from fast_sae.annotation.annotator import Annotator, require_latents
from fast_sae.annotation.folder import BAD_LINES, Format, open_tables, own_folder, require_free
from fast_sae.annotation.incoming import Checked, DataFile, Incoming, check, open_renderer, render_each, require_same
from fast_sae.annotation.origin import Origin
from fast_sae.annotation.summary import EXAMPLES, glance
from fast_sae.annotation.tables import decoder, example_schema, example_table, token_schema, token_table
from fast_sae.artifacts import file_sha256, write_manifest
from fast_sae.progress import progress_bar, say
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.checkpoint import WEIGHTS

STAGE = "annotate"


@dataclass(frozen=True)
class Options:
    """What to write of what fires, and where."""

    out: Path
    """Folder that takes the tables."""
    form: Format
    force: bool = False
    """Replace an annotation that lies there."""
    latents: Collection[int] | None = None
    """The latents to look at; None for all."""
    top: int | None = None
    """Latents kept of one token and of one example, the strongest; None for all."""


@dataclass
class Annotation:
    """What was written."""

    checked: Checked
    token_rows: int = 0
    example_rows: int = 0
    first: list[str] = field(default_factory=list)
    """A glance at the first examples, line by line."""
    shown: int = 0
    """Examples in that glance."""

    def add(self, incoming: list[Incoming], tokens: pa.Table, examples: pa.Table) -> None:
        """Count what one shard gave, and look at the first examples."""
        self.token_rows += len(tokens)
        self.example_rows += len(examples)
        few = incoming[: EXAMPLES - self.shown]
        self.first += glance(few, examples)
        self.shown += len(few)


def annotate_file(file: DataFile, origin: Origin, options: Options, runtime: RuntimeSettings) -> Annotation:
    """Write `tokens` and `examples`, a manifest and the list of bad lines; whole or not at all.

    Args:
        file: The texts or chats.
        origin: The SAE.
        options: What to write, and where.
        runtime: The `runtime` section.

    Raises:
        UserError: for what the user can mend: a bad line, a missing model, an SAE that does not fit it, a folder that
            holds something; before the first shard, all but a full disk, numbers that `extract.dtype` cannot hold, and
            a file or folder that another program changes meanwhile.
    """
    require_free(options.out, force=options.force)
    require_latents(origin.sae, options.latents)
    tokenizer, renderer = open_renderer(origin)
    checked = check(file, renderer)
    _tell(checked, origin)
    annotator = Annotator.open(origin, tokenizer, runtime, options.latents)
    written, decode = Annotation(checked), decoder(tokenizer)
    number = pa.from_numpy_dtype(np.dtype(str(origin.sae.b_dec.dtype).removeprefix("torch.")))
    with own_folder(options.out, force=options.force) as folder:
        with (
            open_tables(folder, token_schema(number), example_schema(number), options.form) as tables,
            progress_bar("annotate", "token", checked.tokens) as progress,
        ):
            again = Checked()
            incoming = render_each(file.examples(), renderer, again.bad_lines.append)
            for annotated in annotator.annotate(again.count(incoming), progress.update):
                by_token = token_table(annotated, decode, options.top)
                by_example = example_table(annotated, decode, origin.said_kinds, options.top)
                tables.tokens.write_table(by_token)
                tables.examples.write_table(by_example)
                written.add([*annotated.incoming], by_token, by_example)
        require_same(file, checked, again)
        _describe(folder, file, origin, options, written)
    return written


def _tell(checked: Checked, origin: Origin) -> None:
    if checked.truncated:
        limit = origin.extract.max_length
        say(f"{checked.truncated} of {checked.examples} examples are longer than {limit} tokens; the rest is cut off")
    for bad_line in checked.bad_lines[:20]:
        say(f"left out: {bad_line}")


def _describe(folder: Path, file: DataFile, origin: Origin, options: Options, written: Annotation) -> None:
    checked = written.checked
    (folder / BAD_LINES).write_text("".join(f"{line}\n" for line in checked.bad_lines), encoding="utf-8")
    latents = None if options.latents is None else sorted(options.latents)
    facts = {
        "data": file.name,
        "data_sha256": checked.sha256,
        "sae_sha256": file_sha256(origin.folder / WEIGHTS),
        "examples": checked.examples,
        "tokens": checked.tokens,
        "truncated_examples": checked.truncated,
        "bad_lines": len(checked.bad_lines),
        "token_rows": written.token_rows,
        "example_rows": written.example_rows,
    }
    settings = {**origin.manifest.settings, "annotate": {"latents": latents, "top": options.top}}
    write_manifest(folder, STAGE, settings, facts, versions=VERSIONS)
