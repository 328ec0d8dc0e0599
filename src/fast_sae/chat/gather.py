"""From a data file to checked, de-duplicated examples; what cannot be used is named by file and line."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fast_sae.chat.dedup import drop_duplicates
from fast_sae.chat.examples import BadRecordError, Example, read_example
from fast_sae.chat.readers import Record, read_records
from fast_sae.chat.settings import DataSettings
from fast_sae.chat.split import choose_examples
from fast_sae.errors import DataError

NAMED = 50
"""Bad lines named in an error; all are counted, and `on_bad_line: skip` writes all of them down."""


@dataclass(frozen=True)
class Gathered:
    """What came out of a data file."""

    examples: list[Example]
    bad_lines: list[str]
    """`file:line: reason`, one for each record that cannot be used."""
    duplicates: int
    """Examples dropped because they repeat an earlier one."""


def gather_examples(path: Path, settings: DataSettings) -> Gathered:
    """Read, check and de-duplicate the examples of a data file.

    Raises:
        DataError: if a record is bad and `data.on_bad_line` is `fail`, or if no example is left.
    """
    examples, bad_lines = _read_all(path, settings)
    if bad_lines and settings.on_bad_line == "fail":
        raise DataError(tell_bad_lines(str(path), bad_lines, len(examples) + len(bad_lines)))
    if not examples:
        raise DataError(f"{path} holds no usable example ({len(bad_lines)} bad lines)")
    kept = drop_duplicates(examples, settings.dedup_ngram)
    return Gathered(choose_examples(kept, settings), bad_lines, duplicates=len(examples) - len(kept))


def _read_all(path: Path, settings: DataSettings) -> tuple[list[Example], list[str]]:
    examples: dict[str, Example] = {}
    bad_lines: list[str] = []
    for read in check_records(read_records(path), settings, str(path)):
        if isinstance(read, str):
            bad_lines.append(read)
        elif read.id in examples:
            bad_lines.append(f"{read.source}: duplicate id {read.id!r}, first at {examples[read.id].source}")
        else:
            examples[read.id] = read
    return list(examples.values()), bad_lines


def check_records(records: Iterable[Record], settings: DataSettings, name: str) -> Iterator[Example | str]:
    """Yield, for each record of the file `name`, its example, or `file:line: reason` if it cannot be one."""
    for number, record in enumerate(records, start=1):
        source = f"{name}:{record.place}"
        try:
            if record.problem:
                raise BadRecordError(record.problem)
            yield read_example(record.value, settings, f"{number:07d}", source)
        except BadRecordError as error:
            yield f"{source}: {error}"


def tell_bad_lines(name: str, bad_lines: Sequence[str], total: int) -> str:
    """Say in one line which of a file's `total` records cannot be used, and what to do."""
    kinds = Counter(line.split(": ", 1)[1].split(":")[0].split(" (")[0] for line in bad_lines)
    named = "; ".join(line.removeprefix(f"{name}:") for line in bad_lines[:NAMED])
    more = f"; and {len(bad_lines) - NAMED} more ({dict(kinds)})" if len(bad_lines) > NAMED else ""
    return (
        f"{name}: {len(bad_lines)} of {total} lines cannot be used: {named}{more}; "
        "mend them, or set data.on_bad_line: skip"
    )
