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
