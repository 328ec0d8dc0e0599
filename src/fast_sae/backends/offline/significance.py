"""Which items a latent's windows have more often than chance would give them.

Two tests, both one-sided and exact:

    n-grams, labels               P(X ≥ k), X hypergeometric: k of the n firing windows have the item, of K of all N
                                  windows (Fisher 1935). Each side is a random sample, so weights play no part.
    tokens, kinds, positions      P(X ≥ k), X Poisson-binomial: in k of the windows in which the latent fires it is
                                  strongest on the item, which has the share pᵢ of the tokens of window i. One token of
                                  each window is looked at, since those next to each other are not independent.

All tests of a latent, whatever the evidence, are corrected together by the step-up procedure of Benjamini & Hochberg
(1995): a latent that goes with nothing is given some pattern with a probability of at most `LEVEL`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from jaxtyping import Bool
from scipy.stats import false_discovery_control, hypergeom

from fast_sae.backends.base import Evidence
from fast_sae.backends.offline.items import Items
from fast_sae.backends.offline.rules import OF_TOKENS
from fast_sae.backends.offline.sample import Sample

LEVEL = 0.05
"""Share of false ones among the items taken for significant, at most, on average (false discovery rate)."""
_FEWEST = 3
"""Windows that must have an item for it to be tested: fewer can hardly be significant. Firing or silent alike, so that
leaving the rest out favours none."""


@dataclass(frozen=True)
class Tested:
    """One item, and whether it goes with the latent."""

    evidence: Evidence
    item: str
    p: float
    """Of one test; from `significant_items`, corrected for all that was tested of the latent."""
    holds: Bool[np.ndarray, " window"]
    """Which windows have it."""


def significant_items(sample: Sample, evidence: Iterable[Evidence]) -> list[Tested]:
    """Test all items of the kinds of evidence allowed, and return those significant at `LEVEL` after correction."""
    tested = [one for kind in sorted(evidence) for one in _tested(sample, kind)]
    adjusted = false_discovery_control([one.p for one in tested], method="bh") if tested else []
    corrected = [replace(one, p=float(p)) for one, p in zip(tested, adjusted, strict=True)]
    return [one for one in corrected if one.p <= LEVEL]


def fisher(both: Sequence[int], item: Sequence[int], firing: int, windows: int) -> list[float]:
    """P(X ≥ both): of `windows` windows `item` have the item, and `both` of the `firing` ones.

    >>> fisher([3], [3], firing=3, windows=6)
    [0.05]
    """
    return [_short(p) for p in hypergeom.sf(np.array(both) - 1, windows, np.array(item), firing)]


def at_least(hits: int, chances: Sequence[float]) -> float:
    """P(X ≥ hits) of the number of independent events of these chances that come true.

    >>> at_least(2, [0.5, 0.5, 0.0])
    0.25
    """
    return _short(reduce(np.convolve, [[1 - p, p] for p in chances], np.ones(1))[hits:].sum())


def _short(p: float) -> float:
    """Round to 12 digits, at most 1: a sum of chances may come out a rounding error above it."""
    return min(1.0, float(f"{p:.12g}"))


def _tested(sample: Sample, evidence: Evidence) -> list[Tested]:
    if not sample.fires.any() or (evidence in OF_TOKENS and not sample.tells_tokens):
        return []
    items = sample.items(evidence)
    holds: dict[str, Bool[np.ndarray, " window"]] = {}
    for i, found in enumerate(items):
        for item in found:
            holds.setdefault(item, np.zeros(len(items), bool))[i] = True
    holds = {item: windows for item, windows in sorted(holds.items()) if windows.sum() >= _FEWEST}
    p = _of_peaks(sample, items, list(holds)) if evidence in OF_TOKENS else _of_windows(sample, list(holds.values()))
    return [Tested(evidence, item, one, windows) for (item, windows), one in zip(holds.items(), p, strict=True)]


def _of_windows(sample: Sample, holds: Sequence[Bool[np.ndarray, " window"]]) -> list[float]:
    both = [int((windows & sample.fires).sum()) for windows in holds]
    return fisher(both, [int(windows.sum()) for windows in holds], int(sample.fires.sum()), len(sample.fires))


def _of_peaks(sample: Sample, items: Sequence[Items], names: Sequence[str]) -> list[float]:
    hits = dict.fromkeys(names, 0)
    chances: dict[str, list[float]] = {name: [] for name in names}
    for one, found in zip(sample.firing, items, strict=False):  # the firing ones come first
        possible, peak = sample.possible(one), int(np.argmax(one.activations))
        for name in found.keys() & hits.keys():
            hits[name] += peak in found[name]
            chances[name].append(len(possible.intersection(found[name])) / len(possible))
    return [at_least(hits[name], chances[name]) if hits[name] else 1.0 for name in names]
