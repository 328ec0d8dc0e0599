"""Means over a few runs, and how far they may be off."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import t

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean, and the interval that holds the true one with probability `LEVEL` if the values are normal."""

    mean: float
    low: float | None
    """None for a single value, which says nothing of its own spread."""
    high: float | None
    n: int
    """Values."""

    @property
    def sign(self) -> int:
        """Return 1 or −1 where the whole interval lies above or below 0, else 0; a single value has no sign."""
        if self.low is None or self.high is None:
            return 0
        return (self.low > 0) - (self.high < 0)

    def __str__(self) -> str:
        """Say the mean and the ends.

        >>> str(Interval(0.5, 0.25, 0.75, 3))
        '0.5 [0.25, 0.75]'
        """
        ends = "" if self.low is None else f" [{self.low:.4g}, {self.high:.4g}]"
        return f"{self.mean:.4g}{ends}"


def t_interval(values: Sequence[float]) -> Interval:
    """Return the mean and Student's interval: m ± t s / √n, s with n − 1, t for n − 1 degrees of freedom.

    Source: Student 1908. With 3 values t is 4.30, so that the interval is 2.48 s to both sides.
    """
    n, mean = len(values), math.fsum(values) / len(values)
    if n < 2:
        return Interval(mean, None, None, n)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * spread / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(first: Mapping[str, float], second: Mapping[str, float]) -> Interval | None:
    """Return the interval of first − second over what both have, pair by pair; None if they share nothing."""
    shared = [key for key in first if key in second]
    return t_interval([first[key] - second[key] for key in shared]) if shared else None
