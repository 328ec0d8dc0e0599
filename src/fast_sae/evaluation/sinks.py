"""Sink diagnosis: rows of giant norm (attention sinks), the mean they share, and the variance they carry.

One row of norm 3,000 that every SAE learns turns an FVU of 1 into 0.03. Massive activations: Sun et al. 2024
(arXiv:2402.17762). That gamma, the norm of the mean over that of the standard deviations, foretells the death of
latents: arXiv:2605.31518.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

from fast_sae.evaluation.cells import N_CELLS
from fast_sae.evaluation.reconstruction import Reconstruction, Spread

GIANT = (10, 100)
"""Multiples of the median norm beyond which a row counts as giant."""
_HEAVY = 10
"""Mean squared deviation of the outliers, over that of all rows, from which they are told."""
_OUTLIERS = 0.01
"""Share of the validation rows, the farthest from b_dec, that sets where outliers begin."""
USUAL_ROWS = 2**22
"""Rows that say what is usual, about, at most: evenly spaced ones of a larger split, at 24 bytes a row."""
_ROUNDING = 1e-5
"""Constant rows often lie exactly at that quantile; float32 must not part them."""


@dataclass(frozen=True)
class Scale:
    """What is usual, by the validation rows of the trained kinds; known beforehand, so that test only adds up."""

    median_norm: float
    """Median of ‖x‖."""
    outlier_from: float
    """The ‖x − b_dec‖² from which a row is an outlier: the 99th percentile."""

    def outliers(self, deviation: Float[np.ndarray, " row"]) -> Bool[np.ndarray, " row"]:
        """Mark the rows whose ‖x − b_dec‖² is that of an outlier."""
        return deviation >= self.outlier_from


class Norms:
    """The norms and deviations of some rows; 16 bytes a row, and 8 more while they are sorted."""

    def __init__(self) -> None:
        """Start from nothing."""
        self._norms: list[Float[np.ndarray, " row"]] = []
        self._deviations: list[Float[np.ndarray, " row"]] = []

    def add(self, norm: Float[np.ndarray, " row"], deviation: Float[np.ndarray, " row"]) -> None:
        """Take ‖x‖ and ‖x − b_dec‖² of some rows."""
        self._norms.append(norm.astype(np.float64))
        self._deviations.append(deviation.astype(np.float64))

    def merge(self, other: "Norms") -> None:
        """Add the rows of another part."""
        self._norms += other._norms
        self._deviations += other._deviations

    def scale(self) -> Scale:
        """Return what is usual among these rows; without rows, nothing is unusual."""
        if not any(map(len, self._norms)):
            return Scale(np.nan, np.nan)
        median = np.median(np.concatenate(self._norms), overwrite_input=True)
        beyond = np.quantile(np.concatenate(self._deviations), 1 - _OUTLIERS, overwrite_input=True)
        return Scale(float(median), float(beyond) * (1 - _ROUNDING))


class GiantCounts:
    """Rows of giant norm by cell, and the largest norm; those of two parts of a data set add up."""

    def __init__(self, median_norm: float) -> None:
        """Start from nothing."""
        self.median_norm = median_norm
        self.giant = np.zeros((len(GIANT), N_CELLS), np.int64)
        self.largest = np.zeros(N_CELLS)

    def add(self, cell: Integer[np.ndarray, " row"], norm: Float[np.ndarray, " row"]) -> None:
        """Take ‖x‖ of some rows."""
        beyond = [cell[norm > multiple * self.median_norm] for multiple in GIANT]
        self.giant += np.stack([np.bincount(cells, minlength=N_CELLS) for cells in beyond])
        np.maximum.at(self.largest, cell, norm)

    def merge(self, other: "GiantCounts") -> None:
        """Add the counts of another part that was held against the same median."""
        assert self.median_norm == other.median_norm
        self.giant += other.giant
        np.maximum(self.largest, other.largest, out=self.largest)

    def in_cells(self, cells: Bool[np.ndarray, " cell"]) -> dict[str, float | int]:
        """Count a population's rows beyond each multiple of the median norm, and tell its largest norm over the median.

        NaN where the median is 0 or unknown.
        """
        counts = {f"rows_beyond_{m}_medians": int(n) for m, n in zip(GIANT, self.giant[:, cells].sum(1), strict=True)}
        largest = float(self.largest[cells].max())
        return counts | {"largest_norm_over_median": largest / (self.median_norm or np.nan)}


def sink_row(
    name: str, giant: Mapping[str, float | int], spread: Spread, whole: Reconstruction, rest: Reconstruction | None
) -> dict[str, Any]:
    """Return one line of sinks.csv: a population, with and without its outliers."""
    sigma = np.sqrt(spread.variance)
    return {
        "kind": name,
        "rows": whole.rows,
        "gamma": spread.mean_norm / sigma,
        **giant,
        "outlier_rows": spread.outliers,
        "outlier_variance_share": spread.outlier_share,
        "fvu": whole.fvu[-1],
        "fvu_without_outliers": rest.fvu[-1] if rest else None,
    }


def sink_warning(lines: Mapping[str, dict[str, Any]], trained: Sequence[str]) -> str | None:
    """Say in one line that sinks among the trained rows decide the figures, which kinds they are, and what helps.

    Returns:
        None if no row is giant and the outliers deviate, on average, less than 10 times as far (squared) as all rows.
    """
    whole = lines.get("trained")
    if whole is None or not (_has_giants(whole) or whole["outlier_variance_share"] > _HEAVY * _outlier_density(whole)):
        return None
    kinds = [name for name, line in lines.items() if name in trained and (_has_giants(line) or line["outlier_rows"])]
    fvu = (
        f"; FVU {whole['fvu']:.3g}, without them {whole['fvu_without_outliers'] or np.nan:.3g}" if whole["fvu"] else ""
    )
    return (
        f"sinks: {whole['outlier_rows']} of {whole['rows']} test rows ({', '.join(kinds)}), with norms of up to "
        f"{whole['largest_norm_over_median']:.1f} times the median, carry {whole['outlier_variance_share']:.0%} of the "
        f"variance{fvu}. Read sinks.csv; centre by train.init_b_dec: mean, or leave these kinds out by train.kinds"
    )


def _has_giants(line: Mapping[str, Any]) -> bool:
    return bool(line[f"rows_beyond_{GIANT[0]}_medians"])


def _outlier_density(line: Mapping[str, Any]) -> float:
    return line["outlier_rows"] / line["rows"]
