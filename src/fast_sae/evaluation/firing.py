"""How often each latent fires over an evaluation set, and how many fire at once."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from fast_sae.evaluation.cells import N_CELLS

ULTRA_DENSE = 0.1
"""A latent that fires on more than this share of the rows."""
L0_PERCENTILES = (5, 50, 95)
_EDGES = np.arange(-6.0, 0.5, 0.5)
"""Bins of log10 density."""


class FiringCounts:
    """Rows on which each latent fires, and rows of each L0, by cell; those of two parts of a data set add up."""

    def __init__(self, n_latents: int) -> None:
        """Start from nothing."""
        self.fired = np.zeros((N_CELLS, n_latents), np.int64)
        self.l0 = np.zeros((N_CELLS, n_latents + 1), np.int64)

    def add(self, cell: Integer[np.ndarray, " row"], active: Bool[Tensor, "row M"]) -> Integer[np.ndarray, " row"]:
        """Take the active latents of some rows, and return how many each row has."""
        l0 = active.sum(1).cpu().numpy()
        np.add.at(self.l0, (cell, l0), 1)
        for c in np.unique(cell):
            self.fired[c] += active[torch.from_numpy(cell == c).to(active.device)].sum(0).cpu().numpy()
        return l0

    def merge(self, other: "FiringCounts") -> None:
        """Add the counts of another part."""
        self.fired += other.fired
        self.l0 += other.l0

    def fired_in(self, cells: Bool[np.ndarray, " cell"]) -> Int64[np.ndarray, " M"]:
        """Count the rows of one population on which each latent fires."""
        return self.fired[cells].sum(0)

    def l0_percentiles(self, cells: Bool[np.ndarray, " cell"]) -> dict[str, int]:
        """Return the least L0 that 5, 50 and 95 % of a population's rows do not exceed: exact, from whole numbers."""
        up_to = self.l0[cells].sum(0).cumsum()
        return {f"l0_p{q}": int(np.searchsorted(100 * up_to, q * up_to[-1])) for q in L0_PERCENTILES}


def dead_fraction(fired: Int64[np.ndarray, " M"]) -> float:
    """Share of latents that fired on no row; `density_bound` says what that means."""
    return float((fired == 0).mean())


def density_bound(rows: int) -> float:
    """Return 3 / n, below which the density of a latent that fired on none of n rows lies, with 95 % confidence.

    Source: the rule of three, (1 − p)ⁿ = 0.05 at p ≈ −ln 0.05 / n (Hanley & Lippman-Hand 1983). It takes rows as
    independent, which those of one example are not; with few examples the true bound is higher.
    """
    return min(1.0, 3 / rows)


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
