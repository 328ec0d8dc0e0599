"""Statistics that know neither models nor files."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

_COLUMNS = 512
"""Columns ranked at once, so that the ranks (8 bytes each) need little memory."""


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


def bootstrap_ratio(
    numerators: Float[np.ndarray, " example"],
    denominators: Float[np.ndarray, " example"],
    *,
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> tuple[float, float] | tuple[None, None]:
    """Percentile interval of Σ numerators / Σ denominators when whole examples are drawn anew, with replacement.

    The tokens of one example hang together, so that examples are drawn, not tokens (Field & Welsh 2007, "Bootstrapping
    clustered data"); the interval is between percentiles of the draws (Efron & Tibshirani 1993, section 13.3).

    Args:
        numerators: The sum of each example.
        denominators: What it is a sum over.
        resamples: Draws of all examples.
        seed: Of the draws: the same for each ratio over the same examples, so that they are drawn together.
        confidence: Share of the draws between the bounds.

    Returns:
        Both bounds; None where no draw has a denominator other than 0.

    >>> bootstrap_ratio(np.array([1.0, 2.0]), np.array([2.0, 4.0]), resamples=10, seed=0)
    (0.5, 0.5)
    """
    random = np.random.default_rng(seed)
    ratios: list[float] = []
    for _ in range(resamples):
        drawn = random.integers(0, len(numerators), len(numerators))
        if under := float(denominators[drawn].sum()):
            ratios.append(float(numerators[drawn].sum()) / under)
    if not ratios:
        return None, None
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
