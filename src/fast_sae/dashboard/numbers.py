"""Numbers as the page gets them: short, the same on every processor, and null where there is none."""

import math
from collections.abc import Iterable

DIGITS = 4


def short(value: object) -> float | int | None:
    """Round to 4 significant digits, but leave whole numbers; what has no value is null.

    >>> [short(value) for value in (0.123456, 8.0, 123456.7, 123456, "123456", float("nan"), None, "", math.inf)]
    [0.1235, 8, 123500, 123456, 123456, None, None, None, None]
    """
    if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
        return int(value)
    if value is None or value == "" or not math.isfinite(number := float(value)):  # pyright: ignore[reportArgumentType]
        return None
    rounded = float(f"{number:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded


def shorts(values: Iterable[object]) -> list[float | int | None]:
    """Shorten each."""
    return [short(value) for value in values]
