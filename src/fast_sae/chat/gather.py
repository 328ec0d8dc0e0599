"""From a data file to checked, de-duplicated examples; what cannot be used is named by file and line."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fast_sae.chat.dedup import drop_duplicates
from fast_sae.chat.examples import BadRecordError, Example, read_example
from fast_sae.chat.readers import read_records
from fast_sae.chat.settings import DataSettings
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
        raise DataError(_tell(path, bad_lines, len(examples) + len(bad_lines)))
    if not examples:
        raise DataError(f"{path} holds no usable example ({len(bad_lines)} bad lines)")
    kept = drop_duplicates(examples, settings.dedup_ngram)
    return Gathered(_choose(kept, settings), bad_lines, duplicates=len(examples) - len(kept))


def _read_all(path: Path, settings: DataSettings) -> tuple[list[Example], list[str]]:
    examples: dict[str, Example] = {}
    bad_lines: list[str] = []
    for number, record in enumerate(read_records(path), start=1):
        source = f"{path}:{record.place}"
        try:
            if record.problem:
                raise BadRecordError(record.problem)
            example = read_example(record.value, settings, f"{number:07d}", source)
            if example.id in examples:
                raise BadRecordError(f"duplicate id {example.id!r}, first at {examples[example.id].source}")
        except BadRecordError as error:
            bad_lines.append(f"{source}: {error}")
        else:
            examples[example.id] = example
    return list(examples.values()), bad_lines


def _tell(path: Path, bad_lines: Sequence[str], total: int) -> str:
    kinds = Counter(line.split(": ", 1)[1].split(":")[0].split(" (")[0] for line in bad_lines)
    named = "; ".join(line.removeprefix(f"{path}:") for line in bad_lines[:NAMED])
    more = f"; and {len(bad_lines) - NAMED} more ({dict(kinds)})" if len(bad_lines) > NAMED else ""
    return (
        f"{path}: {len(bad_lines)} of {total} lines cannot be used: {named}{more}; "
        "mend them, or set data.on_bad_line: skip"
    )


def _choose(examples: list[Example], settings: DataSettings) -> list[Example]:
    if settings.max_examples is None or settings.max_examples >= len(examples):
        return examples
    chosen = np.random.default_rng(settings.seed).choice(len(examples), settings.max_examples, replace=False)
    return [examples[i] for i in sorted(chosen)]
