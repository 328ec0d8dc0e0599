"""How much of an SAE another seed finds again: decoders matched one to one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from fast_sae.activations.source import ActivationSource
from fast_sae.comparison.matching import MOST, SHARED, match, unit_rows
from fast_sae.sae.base import SparseAutoencoder


@dataclass(frozen=True)
class Stability:
    """How well the latents of two SAEs match."""

    mean_cosine: float
    """Mean cosine of matched pairs, −1 to 1."""
    shared: float
    """Pairs with a cosine of at least `SHARED`, as a share of the latents of the larger of the two."""


def match_decoders(first: Float[np.ndarray, "A d_in"], second: Float[np.ndarray, "B d_in"]) -> Stability | None:
    """Match the latents of two SAEs one to one so that the sum of the cosines of their decoder rows is largest.

    As Paulo & Belrose 2025 (arXiv:2501.16615) match two seeds; the mean is that of Song et al. 2025 (arXiv:2505.20254).
    Differs from the paper: decoders alone are matched, not the encoders too, and only latents that fire.

    Args:
        first: Decoder rows of the latents of one SAE that fire, none of them zero, `MOST` at most.
        second: Those of the other.

    Returns:
        None if one of the two has no latent.
    """
    if not len(first) or not len(second):
        return None
    assert max(len(first), len(second)) <= MOST
    matched = match(unit_rows(first), unit_rows(second)).cosine
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
