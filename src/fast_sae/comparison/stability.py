"""How much of an SAE another seed finds again: decoders matched one to one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment

from fast_sae.activations.source import ActivationSource
from fast_sae.sae.base import SparseAutoencoder

SHARED = 0.7
"""A pair of latents with at least this cosine counts as one latent found twice (Paulo & Belrose 2025)."""
MOST = 8192
"""Latents that are matched; the time grows with the cube of their number, and this many take minutes."""


@dataclass(frozen=True)
class Stability:
    """How well the latents of two SAEs match."""

    mean_cosine: float
    """Mean cosine of matched pairs, −1 to 1."""
    shared: float
    """Pairs with a cosine of at least `SHARED`, as a share of the latents of the larger of the two."""


def match_decoders(first: Float[np.ndarray, "A d_in"], second: Float[np.ndarray, "B d_in"]) -> Stability | None:
    """Match the latents of two SAEs one to one so that the sum of the cosines of their decoder rows is largest.

    max over one-to-one π of Σ_i cos(a_i, b_π(i)), by the Hungarian algorithm (Kuhn 1955), as Paulo & Belrose 2025
    (arXiv:2501.16615) match two seeds; the mean is that of Song et al. 2025 (arXiv:2505.20254).
    Differs from the paper: decoders alone are matched, not the encoders too, and only latents that fire.

    Args:
        first: Decoder rows of the latents of one SAE that fire, none of them zero.
        second: Those of the other.

    Returns:
        None if one of the two has no latent.
    """
    if not len(first) or not len(second):
        return None
    cosines = _unit(first) @ _unit(second).T
    matched = cosines[linear_sum_assignment(cosines, maximize=True)]
    return Stability(float(matched.mean()), float((matched >= SHARED).sum()) / max(len(first), len(second)))


@torch.no_grad()
def firing_latents(
    sae: SparseAutoencoder, source: ActivationSource, kinds: Sequence[int], batch_rows: int = 8192
) -> Bool[np.ndarray, " M"]:
    """Tell which latents fire on some row of the given kinds of tokens."""
    fired = torch.zeros(sae.settings.M, dtype=torch.bool)
    for rows in source.chunks(batch_rows):
        x = np.asarray(rows.activations)[np.isin(rows.kind, kinds)]
        fired |= (sae.encode(torch.from_numpy(x).to(sae.b_dec)) > 0).any(0)
    return fired.numpy()


def _unit(rows: Float[np.ndarray, "M d_in"]) -> Float[np.ndarray, "M d_in"]:
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
