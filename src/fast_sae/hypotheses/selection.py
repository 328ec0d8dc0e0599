"""Which latents go with a target, as HypotheSAEs chooses them (Movva et al. 2025, arXiv:2502.04382, section 3.2).

Held to `hypothesaes` 2.0.1 by values recorded from it (tests/recorded/hypothesaes_selection.json). A score is of one
latent for one target, on the pooled latents of validation; the sign says which way the latent points.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Float64

from fast_sae.hypotheses.lasso import lasso_weights
from fast_sae.hypotheses.settings import HypothesesSettings

_DIGITS = 10
"""Decimals of a score that decide an order: the last digits of a processor choose nothing."""


def score_latents(
    latents: sp.csr_array, targets: Float64[np.ndarray, "example target"], settings: HypothesesSettings
) -> Float64[np.ndarray, "latent target"]:
    """Score each latent for each target by the settings' `select_by`; NaN where a score has no value.

    Args:
        latents: Pooled activations (example, M), none below 0.
        targets: 0 or 1 under `target: label`, any number under `target: number`.
        settings: The `hypotheses` section.
    """
    if settings.select_by == "separation":
        return separation_scores(latents, targets, settings.separation_top)
    if settings.select_by == "correlation":
        return correlations(latents, targets)
    dense = latents.toarray().astype(np.float64)
    is_label = settings.target == "label"
    weights = [lasso_weights(dense, column, settings.n_hypotheses, is_label=is_label) for column in targets.T]
    return np.stack(weights, 1)


def best_latents(scores: Float[np.ndarray, " latent"], n: int) -> list[int]:
    """Return up to n latents with the largest |score|, of equals the first.

    Differs from HypotheSAEs: a latent whose score is 0 or has no value is never chosen, where it fills up.

    >>> best_latents(np.array([0.1, -0.5, np.nan, 0.0, 0.2]), 4)
    [1, 4, 0]
    """
    size = np.round(np.abs(np.nan_to_num(scores)), _DIGITS)
    return [int(latent) for latent in np.argsort(-size, kind="stable")[:n] if size[latent] > 0]


def separation_scores(
    latents: sp.csr_array, targets: Float64[np.ndarray, "example target"], top: int
) -> Float64[np.ndarray, "latent target"]:
    """Mean target where a latent is strongest, less the mean where it is silent.

    Equation: Σᵢ wᵢ yᵢ / top − ȳ(z = 0), with w = 1 of the `top` examples in which z is largest (all, if there are
    fewer). NaN for a latent that is never silent.

    Differs from HypotheSAEs: where the cut falls among equal activations (silent ones, if the latent fires in fewer
    examples than `top`), each of these has the same w < 1, so that Σ w = top; there an unstable sort picks some. So
    this is the mean over all orders that such a sort may give.
    """
    n = len(targets)
    top = min(top, n)
    columns = sp.csc_array(latents)
    columns.eliminate_zeros()
    fired = sp.csc_array((np.ones(columns.nnz), columns.indices, columns.indptr), shape=latents.shape)
    shares = np.concatenate([np.empty(0), *(_top_shares(values, top) for values in _columns(columns))])
    weights = sp.csc_array((shares, columns.indices, columns.indptr), shape=latents.shape)
    silent = n - fired.sum(0)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        zero_mean = (targets.sum(0) - fired.T @ targets) / silent
    return np.where(silent > 0, (weights.T @ targets - weights.sum(0)[:, None] * zero_mean) / top, np.nan)


def correlations(
    latents: sp.csr_array, targets: Float64[np.ndarray, "example target"]
) -> Float64[np.ndarray, "latent target"]:
    """Pearson correlation of each latent with each target (point-biserial where it is 0 or 1); NaN if one is constant.

    Equation: Σᵢ zᵢ (yᵢ − ȳ) / √(Σᵢ (zᵢ − z̄)² · Σᵢ (yᵢ − ȳ)²).
    """
    z = sp.csc_array(latents.astype(np.float64))
    centred = targets - targets.mean(0)
    spread = z.power(2).sum(0) - z.sum(0) ** 2 / len(targets)
    spread = np.where((z.max(0) > z.min(0)).toarray(), spread, 0)  # a constant's is a rounding error
    scale = np.sqrt(np.outer(spread, (centred**2).sum(0)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, (z.T @ centred) / scale, np.nan)


def _columns(latents: sp.csc_array) -> Iterator[Float[np.ndarray, " firing"]]:
    for start, stop in zip(latents.indptr[:-1], latents.indptr[1:], strict=True):
        yield latents.data[start:stop]


def _top_shares(values: Float[np.ndarray, " firing"], top: int) -> Float64[np.ndarray, " firing"]:
    """Return how much each example is among the `top` largest: 1 above the cut, equal parts of what is left on it."""
    if len(values) <= top:
        return np.ones(len(values))
    cut = np.sort(values)[len(values) - top]
    above, on = values > cut, values == cut
    return above + on * ((top - above.sum()) / on.sum())
