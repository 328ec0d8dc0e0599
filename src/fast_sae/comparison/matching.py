"""Latents of two SAEs matched one to one, by the cosine of whatever describes a latent."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment

SHARED = 0.7
"""A pair of latents with at least this cosine counts as one latent found twice (Paulo & Belrose 2025)."""
MOST = 8192
"""Latents that are matched exactly; the time grows with the cube of their number, and this many take minutes."""
_BLOCK = 1024
"""Rows whose cosines with all others are held at once."""
_NONE = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True)
class Matching:
    """Pairs of latents by their rows, each latent in one pair at most; in the order of the first."""

    first: Int64[np.ndarray, " pair"]
    second: Int64[np.ndarray, " pair"]
    cosine: Float[np.ndarray, " pair"]
    exact: bool
    """Whether no other matching has a larger sum of cosines."""


def unit_rows(rows: Float[np.ndarray, "latent width"]) -> Float[np.ndarray, "latent width"]:
    """Scale each row to length 1, in float64; a row of zeros stays."""
    rows = rows.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def match(first: Float[np.ndarray, "A width"], second: Float[np.ndarray, "B width"], most: int = MOST) -> Matching:
    """Match rows of length 1 one to one so that the sum of the cosines is largest.

    max over one-to-one π of Σ_i cos(a_i, b_π(i)), by the Hungarian algorithm (Kuhn 1955). Where either has more than
    `most` rows, only pairs of a cosine of at least `SHARED`, as `match_greedily` does.
    """
    if max(len(first), len(second)) > most:
        return match_greedily(first, second, SHARED)
    cosines = first @ second.T
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    return Matching(rows, columns, cosines[rows, columns], exact=True)


def match_greedily(first: Float[np.ndarray, "A width"], second: Float[np.ndarray, "B width"], least: float) -> Matching:
    """Match the pair of the largest cosine, then the largest among the rest, and so on down to `least`.

    Each pair is mutually nearest among the latents left when it is made. The sum of its cosines is at least half of the
    largest that pairs of such cosines can have (Avis 1983, Networks 13(4): the greedy heuristic). Memory: the pairs of
    at least that cosine, and a block of cosines.
    """
    found = [_at_least(start, block, least) for start, block in _blocks(first, second)]
    a, b, cosine = (np.concatenate(part) for part in zip(_NONE, *found, strict=True))
    free_a, free_b, kept = np.ones(len(first), bool), np.ones(len(second), bool), []
    for pair in np.lexsort((b, a, -cosine)).tolist():
        if free_a[a[pair]] and free_b[b[pair]]:
            free_a[a[pair]] = free_b[b[pair]] = False
            kept.append(pair)
    chosen = np.array(sorted(kept, key=lambda pair: a[pair]), np.int64)
    return Matching(a[chosen], b[chosen], cosine[chosen], exact=False)


def nearest(
    rows: Float[np.ndarray, "A width"], others: Float[np.ndarray, "B width"]
) -> tuple[Int64[np.ndarray, " A"], Float[np.ndarray, " A"]]:
    """Return for each row of length 1 the most like it among the others (the first of equals) and the cosine.

    >>> nearest(np.eye(2), np.array([[0.6, 0.8], [1.0, 0.0]]))
    (array([1, 0]), array([1. , 0.8]))
    """
    assert len(others)
    found = [(block.argmax(1), block.max(1)) for _, block in _blocks(rows, others)]
    column, cosine = (np.concatenate(part) for part in zip(_NONE[1:], *found, strict=True))
    return column, cosine


def _at_least(
    start: int, block: Float[np.ndarray, "block B"], least: float
) -> tuple[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    rows, columns = np.nonzero(block >= least)
    return start + rows, columns, block[rows, columns]


def _blocks(
    first: Float[np.ndarray, "A width"], second: Float[np.ndarray, "B width"]
) -> Iterator[tuple[int, Float[np.ndarray, "block B"]]]:
    """Yield the cosines of some rows at a time, with the first one's place."""
    for start in range(0, len(first), _BLOCK):
        yield start, first[start : start + _BLOCK] @ second.T
