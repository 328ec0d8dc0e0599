"""Sums over rows from which every reconstruction metric follows as one ratio, with its bootstrap interval.

The sums are kept by cell, and once more for each resample of the examples: a resample counts an example's rows as often
as it holds the example. So FVU is one ratio of sums in every resample, around the resample's own mean, and no sums per
example of the width d_in are kept: 100,000 examples of width 4,096 would need 3 GB for each cell; 1,000 resamples need
33 MB for each cell that occurs. All sums are float64, and those of two parts of a data set add up.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from fast_sae.evaluation.cells import N_CELLS, only_outliers
from fast_sae.statistics import Interval, percentile_interval, resampled_sums

_ROUNDING = 1e-10
"""Share of the sum of squares below which a variance is rounding: rows that are all equal have none."""
_ROWS, _ACTIVE, _SQUARES, _ERRORS = range(4)
"""Where each sum stands; the error of each prefix follows, then x − c."""


class ReconstructionSums:
    """Sums of squared errors, squared deviations and active latents, by cell and resample; errors by example too."""

    def __init__(
        self,
        counts: UInt8[np.ndarray, "sample example"],
        centre: Float[np.ndarray, " d_in"],
        n_prefixes: int,
    ) -> None:
        """Start from nothing.

        Args:
            counts: As `resample_counts` draws them; the same for all parts of a data set.
            centre: c, near the mean so that no digits are lost; the same for all parts.
            n_prefixes: Matryoshka prefixes.
        """
        self.counts, self.centre = counts, centre.astype(np.float64)
        self._centred = _ERRORS + n_prefixes
        self.rows = np.zeros((counts.shape[1], N_CELLS), np.int64)
        self.squared_error = np.zeros((counts.shape[1], N_CELLS))
        self.sums = np.zeros((N_CELLS, len(counts), self._centred + len(centre)))  # untouched cells take no memory

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
            example: Index of each row's example, never falling.
            cell: Its cell.
            squared_error: ‖x̂ − x‖² of each row, for each Matryoshka prefix; the whole SAE last.
            centred: x − c.
            active: Latents active in each row.
        """
        np.add.at(self.rows, (example, cell), 1)
        np.add.at(self.squared_error, (example, cell), squared_error[-1])
        for c in np.unique(cell):
            here = cell == c
            examples, starts = np.unique(example[here], return_index=True)
            x = centred[here].astype(np.float64)
            scalars = (np.ones(len(x)), active[here], np.square(x).sum(1), *squared_error[:, here])
            by_example = np.add.reduceat(np.column_stack([*scalars, x]), starts, axis=0)
            self.sums[c] += resampled_sums(self.counts[:, examples], by_example)

    def merge(self, other: "ReconstructionSums") -> None:
        """Add the sums of another part of the same examples."""
        assert np.array_equal(self.counts, other.counts)
        assert np.array_equal(self.centre, other.centre)
        self.rows += other.rows
        self.squared_error += other.squared_error
        for cell in np.flatnonzero(other.rows.any(0)):
            self.sums[cell] += other.sums[cell]

    def measure(self, cells: Bool[np.ndarray, " cell"], confidence: float) -> "Reconstruction | None":
        """Return the metrics of one population, with intervals; None if it has no row."""
        if not self.rows[:, cells].any():
            return None
        sums, d_in = self._total(cells), len(self.centre)
        rows, active, squares = sums[:, :_ERRORS].T
        errors, centred = sums[:, _ERRORS : self._centred].T, sums[:, self._centred :]
        with np.errstate(invalid="ignore", divide="ignore"):
            fvu = errors / _variance(rows, squares, centred)
            resampled = {
                "mse": errors[-1] / rows / d_in,
                "mse_macro": self._macro(cells) / d_in,
                "fvu": fvu[-1],
                "l0": active / rows,
            }
        intervals = {name: percentile_interval(values[1:], confidence) for name, values in resampled.items()}
        return Reconstruction(
            rows=int(rows[0]),
            examples=int(self.rows[:, cells].any(1).sum()),
            mse=float(resampled["mse"][0]),
            mse_macro=float(resampled["mse_macro"][0]),
            fvu=tuple(None if np.isnan(ratio) else float(ratio) for ratio in fvu[:, 0]),
            l0=float(resampled["l0"][0]),
            intervals={name: interval for name, interval in intervals.items() if interval},
        )

    def spread(self, cells: Bool[np.ndarray, " cell"]) -> "Spread":
        """Return how the rows of one population lie around their mean."""
        sums, out = self.sums[cells, 0].sum(0), self.sums[only_outliers(cells), 0].sum(0)
        rows, offset = sums[_ROWS], sums[self._centred :] / sums[_ROWS]
        variance = float(_variance(*(part[None] for part in (rows, sums[_SQUARES], sums[self._centred :])))[0])
        deviation = out[_SQUARES] - 2 * out[self._centred :] @ offset + out[_ROWS] * offset @ offset
        mean = float(np.linalg.norm(self.centre + offset))
        return Spread(mean, variance / float(rows), int(out[_ROWS]), float(deviation) / variance)

    def _total(self, cells: Bool[np.ndarray, " cell"]) -> Float[np.ndarray, "sample sum"]:
        """Add up the sums of some cells, one after the other: a copy of them all would take many times the memory."""
        total = np.zeros_like(self.sums[0])
        for cell in np.flatnonzero(cells & self.rows.any(0)):
            total += self.sums[cell]
        return total

    def _macro(self, cells: Bool[np.ndarray, " cell"]) -> Float[np.ndarray, " sample"]:
        rows = self.rows[:, cells].sum(1)
        present = rows > 0  # others weigh 0: to leave them out would take a copy of all counts
        of_example = self.squared_error[:, cells].sum(1) / np.where(present, rows, 1)
        errors, examples = resampled_sums(self.counts, np.stack([of_example, present], 1)).T
        return errors / examples


def _variance(
    rows: Float[np.ndarray, " sample"], squares: Float[np.ndarray, " sample"], sums: Float[np.ndarray, "sample d_in"]
) -> Float[np.ndarray, " sample"]:
    """Σ‖x − mean‖² = Σ‖x − c‖² − ‖Σ(x − c)‖²/n; NaN where all rows are equal."""
    variance = squares - np.square(sums).sum(1) / rows
    return np.where(variance > _ROUNDING * squares, variance, np.nan)


@dataclass(frozen=True)
class Spread:
    """How the rows of a population lie; NaN where they do not vary."""

    mean_norm: float
    """‖mean‖."""
    variance: float
    """Σ‖x − mean‖² / rows: the squared norm of the standard deviations σ."""
    outliers: int
    """Outlier rows among them."""
    outlier_share: float
    """Share of Σ‖x − mean‖² that the outliers carry."""


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
    intervals: dict[str, Interval] = field(default_factory=dict)
    """The bootstrap interval of mse, mse_macro, fvu (of the whole SAE) and l0."""
