"""How often each latent fires over an evaluation set."""

import numpy as np
from jaxtyping import Float, Int64

ULTRA_DENSE = 0.1
"""A latent that fires on more than this share of the rows."""
_EDGES = np.arange(-6.0, 0.5, 0.5)
"""Bins of log10 density."""


def dead_fraction(fired: Int64[np.ndarray, " M"]) -> float:
    """Share of latents that fired on no row.

    No firing in n rows bounds a latent's density by about 3/n with 95 % confidence, and says no more.
    """
    return float((fired == 0).mean())


def ultra_dense_fraction(fired: Int64[np.ndarray, " M"], rows: int) -> float:
    """Share of latents that fired on more than a tenth of the rows."""
    return float((fired > ULTRA_DENSE * rows).mean())


def density_histogram(fired: Int64[np.ndarray, " M"], rows: int) -> list[tuple[str, int]]:
    """Count latents by the decade and half-decade of their firing density, the silent ones first.

    >>> density_histogram(np.array([0, 50, 100]), rows=100)[0], density_histogram(np.array([0, 50, 100]), 100)[-1]
    (('dead', 1), ('-0.5', 2))
    """
    alive: Float[np.ndarray, " alive"] = np.log10(fired[fired > 0] / rows)
    counts, _ = np.histogram(alive.clip(_EDGES[0], _EDGES[-1]), _EDGES)
    return [
        ("dead", int((fired == 0).sum())),
        *((f"{edge:.1f}", int(n)) for edge, n in zip(_EDGES, counts, strict=False)),
    ]
