"""Statistics that know neither models nor files: areas under ROC curves, and bootstrap intervals by cluster."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.stats import rankdata

_COLUMNS = 512
"""Columns ranked at once, so that the ranks (8 bytes each) need little memory."""
_SAMPLES = 128
"""Samples summed up at once, likewise; fewer where clusters are many."""
_COUNTS = 2**22
"""Counts of samples turned to float64 at once, at most."""


class Interval(NamedTuple):
    """A bootstrap interval."""

    low: float
    high: float


def auroc(
    scores: Float[np.ndarray, "example feature"], positive: Bool[np.ndarray, "label example"]
) -> Float[np.ndarray, "label feature"]:
    """Area under the ROC curve of every feature for every label, one label against the rest.

    Equation: (R − n₊(n₊ + 1)/2) / (n₊ n₋), R the sum of the positive examples' ranks, ties sharing their mean rank
    (Mann & Whitney 1947). NaN where a label has no positive or no negative example.

    >>> auroc(np.array([[0.1], [0.4], [0.4], [0.9]]), np.array([[False, True, False, True]]))
    array([[0.875]])
    """
    n_positive = positive.sum(1)[:, None].astype(np.float64)
    n_negative = positive.shape[1] - n_positive
    blocks = [
        positive.astype(np.float64) @ rankdata(scores[:, at : at + _COLUMNS], axis=0)
        for at in range(0, scores.shape[1], _COLUMNS)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.concatenate(blocks, 1) - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def weighted_correlation(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"]
) -> float | None:
    """Pearson's correlation, each pair counting as often as its weight says; None if either does not vary.

    Of two truth values it is φ, which Matthews (1975) calls a coefficient of correlation: 0 for an answer that is right
    as often as chance, whatever share of the answers is yes.

    >>> weighted_correlation(np.array([1.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]), np.array([1.0, 1.0, 2.0]))
    0.5773502691896258
    """
    if any(len({*side.tolist()}) < 2 for side in (x, y)):
        return None
    x, y = (side - np.average(side, weights=weight) for side in (x, y))
    return float((weight * x * y).sum() / np.sqrt((weight * x * x).sum() * (weight * y * y).sum()))


def resample_counts(clusters: int, resamples: int, seed: int) -> UInt8[np.ndarray, "sample cluster"]:
    """Draw bootstrap samples of clusters: how often each sample holds each cluster; the data themselves come first.

    Each sample draws as many clusters as there are, with replacement (Efron 1979), and takes a cluster whole, since
    its members are not independent. Any statistic that is a function of sums over clusters then comes from one product
    of these counts with the clusters' sums. One byte per resample and cluster.

    >>> resample_counts(3, 2, seed=0)
    array([[1, 1, 1],
           [0, 2, 1],
           [3, 0, 0]], dtype=uint8)
    """
    generator = np.random.default_rng(seed)
    drawn = (np.bincount(generator.integers(clusters, size=clusters), minlength=clusters) for _ in range(resamples))
    counts = np.ones((1 + resamples, clusters), np.uint8)
    for row, count in zip(counts[1:], drawn, strict=True):
        assert count.max(initial=0) < 256  # drawn so often with a probability below 1e-500
        row[:] = count
    return counts


def resampled_sums(
    counts: UInt8[np.ndarray, "sample cluster"], sums: Float[np.ndarray, "cluster quantity"]
) -> Float[np.ndarray, "sample quantity"]:
    """Sum up over the clusters that each sample holds, as often as it holds them.

    A ratio of two columns is a ratio of sums in each sample. Memory: some samples' counts at a time in float64.

    >>> resampled_sums(np.array([[1, 1], [2, 0]], np.uint8), np.array([[1.0], [5.0]]))
    array([[6.],
           [2.]])
    """
    at_once = min(_SAMPLES, 1 + _COUNTS // (1 + len(sums)))
    parts = [counts[at : at + at_once].astype(np.float64) @ sums for at in range(0, len(counts), at_once)]
    return np.concatenate(parts)


def percentile_interval(resampled: Float[np.ndarray, " resample"], confidence: float) -> Interval | None:
    """Cut the same share off both ends of a statistic's resampled values (Efron & Tibshirani 1993, section 13.3).

    Resamples in which the statistic has no value (NaN) are left out; None if there is no other.

    >>> percentile_interval(np.arange(101.0), 0.5)
    Interval(low=25.0, high=75.0)
    """
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return None
    tail = (1 - confidence) / 2
    return Interval(*(float(end) for end in np.quantile(known, [tail, 1 - tail])))


def resampled_auroc(
    scores: Float[np.ndarray, " example"],
    positive: Bool[np.ndarray, " example"],
    counts: UInt8[np.ndarray, "resample example"],
) -> Float[np.ndarray, " resample"]:
    """Area under the ROC curve in each resample; NaN in one without a positive or without a negative example.

    Equation: Σᵢ Σⱼ cᵢ cⱼ (1[sᵢ > sⱼ] + ½ 1[sᵢ = sⱼ]) / (Σᵢ cᵢ · Σⱼ cⱼ), i over positive and j over negative examples,
    c how often the resample holds an example. Memory: 8 bytes per pair of a positive and a negative example.
    """
    high, low = scores[positive][:, None], scores[~positive][None]
    wins = (high > low) + 0.5 * (high == low)
    n_positive, n_negative = (counts[:, side].astype(np.float64) for side in (positive, ~positive))
    with np.errstate(invalid="ignore"):
        return ((n_negative @ wins.T) * n_positive).sum(1) / (n_positive.sum(1) * n_negative.sum(1))
