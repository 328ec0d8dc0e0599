"""What the user reads and answers; numbers as a person says them."""

import sys
from collections.abc import Sequence

from tqdm import tqdm


def tell(line: str = "") -> None:
    """Print a line at once: what DVC prints next goes to the same place unbuffered."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def agreed(question: str) -> bool:
    """Ask a question whose answer is no unless it is y or yes."""
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Set rows in columns, the last one open.

    >>> table([["a", "bcd"], ["ab", "c"]])
    ['a   bcd', 'ab  c']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def duration(seconds: int | float) -> str:
    """Say how long, no finer than it is known.

    >>> duration(0.2), duration(75), duration(4020)
    ('1 s', '1 min 15 s', '1 h 7 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def size(n_bytes: int | float) -> str:
    """Say how many bytes, in powers of ten.

    >>> size(1_070_000_000)
    '1.07 GB'
    """
    text = tqdm.format_sizeof(n_bytes)
    return f"{text} B" if text[-1].isdigit() else f"{text[:-1]} {text[-1]}B"
