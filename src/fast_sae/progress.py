"""Progress bars, the same everywhere: lively in a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
_SECONDS_IN_A_LOG = 20.0


def progress_bar(description: str, unit: str, total: int) -> tqdm:
    """Make a bar to update by hand."""
    return tqdm(total=total, desc=description, unit=unit, unit_scale=True, mininterval=_interval())


def with_progress(items: Iterable[T], description: str, unit: str) -> Iterable[T]:
    """Go through items under a bar."""
    return tqdm(items, desc=description, unit=unit, unit_scale=True, mininterval=_interval())


def say(line: str) -> None:
    """Print a line without tearing a bar."""
    tqdm.write(line, file=sys.stderr)


def _interval() -> float:
    return 0.1 if sys.stderr.isatty() else _SECONDS_IN_A_LOG
