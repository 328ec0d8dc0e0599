"""Sums over rows from which every reconstruction metric follows as one ratio.

Rows fall into cells: the kind of the token, and whether its whole prefix is the same in all examples. A population is
a union of cells, so each metric can be told for every kind, with and without the constant rows, from one pass. All
sums are float64 and those of two parts of a data set add up.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from fast_sae.chat.kinds import Kind

N_CELLS = 2 * len(Kind)
_ROUNDING = 1e-10
"""Share of the sum of squares below which a variance is rounding: rows that are all equal have none."""


def cell_of(kind: Integer[np.ndarray, " row"], shared: Bool[np.ndarray, " row"]) -> Integer[np.ndarray, " row"]:
    """Number the cell of each row."""
    return 2 * kind.astype(np.int64) + shared


def population(kinds: tuple[int, ...], *, shared_prefix: bool = True) -> Bool[np.ndarray, " cell"]:
    """Mark the cells of some kinds, with or without the rows whose whole prefix is the same in all examples."""
    marked = np.zeros(N_CELLS, bool)
    for kind in kinds:
        marked[2 * kind] = True
        marked[2 * kind + 1] = shared_prefix
    return marked


class ReconstructionSums:
    """Sums of squared errors, squared deviations and active latents, by cell; errors by example too."""

    def __init__(self, n_examples: int, d_in: int, n_prefixes: int) -> None:
        """Start from nothing."""
        self.rows = np.zeros((n_examples, N_CELLS), np.int64)
        self.squared_error = np.zeros((n_examples, N_CELLS))
        self.prefix_squared_error = np.zeros((n_prefixes, N_CELLS))
        self.centred = np.zeros((N_CELLS, d_in))
        self.centred_squares = np.zeros(N_CELLS)
        self.active = np.zeros(N_CELLS, np.int64)

    def add(
        self,
        example: Integer[np.ndarray, " row"],
        cell: Integer[np.ndarray, " row"],
        squared_error: Float[np.ndarray, "prefix row"],
        centred: Float[np.ndarray, "row d_in"],
        active: Integer[np.ndarray, " row"],
    ) -> None:
        """Take some rows.

        Args:
            example: Index of each row's example.
            cell: Its cell.
            squared_error: ‖x̂ − x‖² of each row, for each Matryoshka prefix; the whole SAE last.
            centred: x − c for one c near the mean, the same in every call, so that no digits are lost.
            active: Latents active in each row.
        """
        np.add.at(self.rows, (example, cell), 1)
        np.add.at(self.squared_error, (example, cell), squared_error[-1])
        self.prefix_squared_error += np.stack([np.bincount(cell, errors, N_CELLS) for errors in squared_error])
        for c in np.unique(cell):
            self.centred[c] += centred[cell == c].sum(0, dtype=np.float64)
        self.centred_squares += np.bincount(cell, np.square(centred, dtype=np.float64).sum(1), N_CELLS)
        self.active += np.bincount(cell, active, N_CELLS).astype(np.int64)

    def measure(self, cells: Bool[np.ndarray, " cell"]) -> "Reconstruction | None":
        """Return the metrics of one population; None if it has no row."""
        rows = self.rows[:, cells].sum(1)
        n = int(rows.sum())
        if n == 0:
            return None
        d_in = self.centred.shape[1]
        errors, present = self.squared_error[:, cells].sum(1), rows > 0
        centred = self.centred[cells].sum(0)
        variance = float(self.centred_squares[cells].sum() - centred @ centred / n)
        varies = variance > _ROUNDING * float(self.centred_squares[cells].sum())
        by_prefix = self.prefix_squared_error[:, cells].sum(1)
        return Reconstruction(
            rows=n,
            examples=int(present.sum()),
            mse=float(errors.sum()) / (n * d_in),
            mse_macro=float((errors[present] / rows[present]).mean()) / d_in,
            fvu=tuple(float(error) / variance if varies else None for error in by_prefix),
            l0=float(self.active[cells].sum()) / n,
        )


@dataclass(frozen=True)
class Reconstruction:
    """How well one population of rows is reconstructed, and at what L0; every ratio is one of whole sums."""

    rows: int
    examples: int
    """Examples with at least one such row."""
    mse: float
    """Micro: Σ‖x̂ − x‖² / (rows · d_in)."""
    mse_macro: float
    """Mean over examples of the mean over an example's rows of ‖x̂ − x‖² / d_in: FAST Eq. 7 (arXiv:2506.07691)."""
    fvu: tuple[float | None, ...]
    """Σ‖x̂ − x‖² / Σ‖x − mean‖², for each Matryoshka prefix; None if the rows do not vary."""
    l0: float
    """Mean number of latents above 0."""
