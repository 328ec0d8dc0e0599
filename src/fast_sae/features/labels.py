"""Which label each latent tells best: chosen on validation, scored on test."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float64, Int64

from fast_sae.statistics import auroc

_BLOCK = 512
"""Latents ranked at once."""
_DIGITS = 9
"""Decimals of an AUROC that decide an order."""


class LabelScores(NamedTuple):
    """The AUROC of each latent for each label, one label against the rest; NaN where a split lacks the label."""

    labels: list[str]
    validation: Float64[np.ndarray, "label latent"]
    test: Float64[np.ndarray, "label latent"]

    def best(self, latent: int, n: int) -> Int64[np.ndarray, " best"]:
        """Return up to n labels that a latent tells best on validation, the best first."""
        known = np.flatnonzero(~np.isnan(self.validation[:, latent]))
        return known[np.argsort(-np.round(self.validation[known, latent], _DIGITS), kind="stable")[:n]]


def score_latents(
    validation: tuple[sp.csr_array, Sequence[str | None]],
    test: tuple[sp.csr_array, Sequence[str | None]],
    latents: Int64[np.ndarray, " living"],
) -> LabelScores:
    """Score living latents on the labelled examples of both splits.

    Args:
        validation: Pooled latents (example, M) and the examples' labels.
        test: The same.
        latents: Which to score.
    """
    labels = sorted({label for _, part in (validation, test) for label in part if label is not None})
    return LabelScores(labels, _scores(*validation, labels, latents), _scores(*test, labels, latents))


def _scores(
    pooled: sp.csr_array, labels: Sequence[str | None], names: list[str], latents: Int64[np.ndarray, " living"]
) -> Float64[np.ndarray, "label latent"]:
    labelled = [i for i, label in enumerate(labels) if label is not None]
    if not labelled:
        return np.full((len(names), len(latents)), np.nan)
    of = np.array([labels[i] for i in labelled], str)
    positive = np.array([of == name for name in names])
    values = sp.csc_array(pooled)[labelled]
    blocks = (values[:, latents[at : at + _BLOCK]].toarray() for at in range(0, len(latents), _BLOCK))
    return np.hstack([auroc(block, positive) for block in blocks])
