"""Figures and the bounds of their intervals, by the names that metrics and tables give them."""

from fast_sae.statistics import Interval

Figures = dict[str, float | int | None]


def with_bounds(name: str, value: float | None, interval: Interval | None) -> Figures:
    """Name a figure and, with `_low` and `_high`, the bounds of its interval; what is not known is None.

    >>> with_bounds("l0", 8.0, Interval(7.5, 8.5))
    {'l0': 8.0, 'l0_low': 7.5, 'l0_high': 8.5}
    """
    low, high = interval if interval and value is not None else (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
