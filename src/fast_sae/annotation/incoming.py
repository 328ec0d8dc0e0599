"""The texts and chats to annotate: read one by one, checked and rendered, with none of them kept.

A file is gone through twice: first to check all of it, so that a bad line ends the command before the model is loaded
and not hours later; then to annotate it. A file that reads differently the second time ends the command too.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from fast_sae.activations.live.hub import resolve_commit
from fast_sae.activations.live.model import load_tokenizer
from fast_sae.activations.rendering import make_renderer
from fast_sae.annotation.origin import Origin
from fast_sae.artifacts import file_sha256
from fast_sae.chat.examples import Example
from fast_sae.chat.gather import NAMED, check_records, tell_bad_lines
from fast_sae.chat.readers import FORMATS, Record, read_records, read_texts
from fast_sae.chat.render import Rendered, Renderer
from fast_sae.chat.settings import DataSettings
from fast_sae.errors import DataError, ModelError
from fast_sae.progress import with_progress

TEXTS = ".txt"
"""Suffix of a file of bare texts, one a line."""


@dataclass(frozen=True)
class Incoming:
    """One example to annotate."""

    number: int
    """Of its record in the file, from 0, bad ones counted."""
    id: str
    rendered: Rendered


@dataclass(frozen=True)
class DataFile:
    """A data file and how to read it."""

    path: Path
    name: str
    """What to call it."""
    settings: DataSettings
    """The `data` section; its label field is not read."""

    def records(self) -> Iterator[Record]:
        """Yield the records, anew each time.

        Raises:
            DataError: if the file is missing, of no known format, or cannot be read at all.
        """
        if self.path.suffix.lower() not in (*FORMATS, TEXTS):
            found = self.path.suffix or "no suffix"
            raise DataError(f"{self.name}: {found} is not one of {', '.join((*FORMATS, TEXTS))}")
        if not self.path.is_file():
            raise DataError(f"{self.name} is not a file")
        if self.path.suffix.lower() != TEXTS:
            return read_records(self.path)
        if self.settings.text_field is None:
            raise DataError(f"{self.name} holds bare texts, and data.text_field is null; name one with --text-field")
        return read_texts(self.path, self.settings.text_field)

    def examples(self) -> Iterator[Example | str]:
        """Yield the example of each record, or `file:line: reason`."""
        return check_records(self.records(), self.settings.model_copy(update={"label_field": None}), self.name)

    def sha256(self) -> str:
        """Digest of the file's bytes."""
        try:
            return file_sha256(self.path)
        except FileNotFoundError:
            raise DataError(f"{self.name} is gone") from None


@dataclass
class Checked:
    """What a file holds."""

    examples: int = 0
    tokens: int = 0
    truncated: int = 0
    """Examples of which tokens beyond `extract.max_length` are cut off."""
    bad_lines: list[str] = field(default_factory=list)
    """`file:line: reason` of each record left out."""
    sha256: str = ""
    """Digest of the file's bytes."""

    def count(self, incoming: Iterable[Incoming]) -> Iterator[Incoming]:
        """Count examples as they pass by."""
        for one in incoming:
            self.examples += 1
            self.tokens += len(one.rendered.token_ids)
            self.truncated += one.rendered.truncated
            yield one


def check(file: DataFile, renderer: Renderer) -> Checked:
    """Go through a file without annotating it.

    Raises:
        DataError: if a record is bad, or refused by the chat template, and `data.on_bad_line` is `fail`; or if none is
            usable.
    """
    checked, examples = Checked(), file.examples()  # which refuses a file that is not there
    bad_lines = checked.bad_lines
    checked.sha256 = file.sha256()  # before the records, so that a change while they are read shows too
    for _ in with_progress(checked.count(render_each(examples, renderer, bad_lines.append)), "check", "example"):
        pass
    if bad_lines and file.settings.on_bad_line == "fail":
        raise DataError(tell_bad_lines(file.name, bad_lines, checked.examples + len(bad_lines)))
    if not checked.examples:
        named = f": {'; '.join(bad_lines[:NAMED])}" if bad_lines else ""
        raise DataError(f"{file.name} holds no usable example ({len(bad_lines)} bad lines{named})")
    return checked


def require_same(file: DataFile, checked: Checked, again: Checked) -> None:
    """Refuse a file that was not the same throughout.

    Args:
        file: The file, gone through for the second time just now.
        checked: What the first time found.
        again: What the second time found; its digest is taken here.

    Raises:
        DataError: if they differ.
    """
    again.sha256 = file.sha256()
    if again != checked:
        raise DataError(f"{file.name} changed while it was annotated, so nothing is written; run this again")


def open_renderer(origin: Origin) -> tuple[PreTrainedTokenizerBase, Renderer]:
    """Load the tokenizer of the model that an SAE was trained on, and what renders texts as those of its training."""
    tokenizer = load_tokenizer(origin.model, resolve_commit(origin.model))
    return tokenizer, make_renderer(tokenizer, origin.extract)


def render_each(
    examples: Iterable[Example | str], renderer: Renderer, refuse: Callable[[str], object]
) -> Iterator[Incoming]:
    """Render examples as they come; what cannot be used is told to `refuse` as `file:line: reason`."""
    for number, example in enumerate(examples):
        if isinstance(example, str):
            refuse(example)
            continue
        try:
            rendered = renderer.render(example)
        except ModelError as error:
            refuse(f"{example.source}: {str(error).removeprefix(f'{example.source}: ')}")
            continue
        if len(rendered.token_ids):
            yield Incoming(number, example.id, rendered)
        else:
            refuse(f"{example.source}: the tokenizer makes no token of it")
