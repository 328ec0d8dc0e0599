"""The figures of an evaluation: a few headline metrics with intervals, and tables for all the rest.

The definition of each figure stands in docs/metrics.md. The population of the headline metrics is the test rows of the
kinds that the SAE was trained on.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from fast_sae.artifacts import write_metrics, write_table
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.evaluation.cells import named_populations, without_outliers
from fast_sae.evaluation.figures import Figures, with_bounds
from fast_sae.evaluation.firing import (
    L0_PERCENTILES,
    dead_fraction,
    density_bound,
    density_histogram,
    ultra_dense_fraction,
)
from fast_sae.evaluation.labels import LabelScores
from fast_sae.evaluation.measure import Measured
from fast_sae.evaluation.reconstruction import Reconstruction
from fast_sae.evaluation.sinks import sink_row, sink_warning
from fast_sae.statistics import percentile_interval

_SHOWN = {"latent": "label_auroc", "dimension": "label_auroc_dimension", "probe": "label_auroc_probe"}
"""The metric of each way to tell a label."""
_LABEL_COLUMNS = [
    *("label", "test_examples", "latent", "validation_auroc", "dimension", "dimension_by"),
    *(
        f"{method}{bound}"
        for method in ("test_auroc", "dimension_auroc", "probe_auroc")
        for bound in ("", "_low", "_high")
    ),
]


@dataclass(frozen=True)
class Report:
    """What evaluation found on test."""

    measured: Measured
    labels: LabelScores
    kinds: tuple[int, ...]
    """Kinds of tokens the SAE was trained on."""
    prefixes: tuple[int, ...]
    k: int
    """Latents that should be active."""
    confidence: float

    def metrics(self) -> Figures:
        """Return the headline metrics, intervals as `_low` and `_high`; None where the population is empty."""
        found = self._reconstructions
        if (rows := found.get("trained")) is None:
            return {}
        fvu = rows.fvu[-1]
        fired = self.measured.firing.fired_in(self._populations["trained"])
        return {
            "rows": rows.rows,
            "examples": rows.examples,
            **_headline("reconstruction_mse", rows, "mse"),
            **_headline("reconstruction_mse_macro", rows, "mse_macro"),
            **_headline("special_token_mse", found.get("special"), "mse_macro"),
            **_headline("normalized_mse", rows, "fvu"),
            **_headline("normalized_mse_varying", found.get("trained varying"), "fvu"),
            "explained_variance": None if fvu is None else 1 - fvu,
            **_headline("l0", rows, "l0"),
            "l0_over_k": rows.l0 / self.k,
            "dead_latent_fraction": dead_fraction(fired),
            "ultra_dense_latent_fraction": ultra_dense_fraction(fired, rows.rows),
            **self._label_means(),
        }

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by name."""
        rows = self._reconstructions.get("trained")
        fvu = rows.fvu if rows else [None] * len(self.prefixes)
        fired = self.measured.firing.fired_in(self._populations["trained"])
        density = density_histogram(fired, rows.rows if rows else 1)
        by_kind = [self._line(name, found) for name, found in self._reconstructions.items()]
        return {
            "fvu_by_prefix": pd.DataFrame({"prefix": self.prefixes, "fvu": fvu}),
            "density": pd.DataFrame(density, columns=["log10_density", "latents"]),
            "by_kind": pd.DataFrame(by_kind),
            "l0": pd.DataFrame(self._l0_percentiles(), columns=["kind", "percentile", "l0"]),
            "sinks": pd.DataFrame(list(self._sinks.values())),
            "labels": pd.DataFrame(self._label_lines(), columns=_LABEL_COLUMNS),
        }

    def warning(self) -> str | None:
        """Say in one line that giant rows decide the figures; None if none do."""
        return sink_warning(self._sinks, [KIND_NAMES[kind] for kind in self.kinds])

    def write(self, metrics: Path, tables: Path) -> None:
        """Write the metrics as JSON and each table as CSV."""
        write_metrics(metrics, "evaluate", self.metrics())
        for name, table in self.tables().items():
            write_table(tables / f"{name}.csv", table)

    @cached_property
    def _populations(self) -> dict[str, Bool[np.ndarray, " cell"]]:
        return named_populations(self.kinds)

    @cached_property
    def _reconstructions(self) -> dict[str, Reconstruction]:
        """The populations that have rows."""
        measured = {name: self.measured.sums.measure(c, self.confidence) for name, c in self._populations.items()}
        return {name: found for name, found in measured.items() if found}

    @cached_property
    def _sinks(self) -> dict[str, dict[str, Any]]:
        sums, giant = self.measured.sums, self.measured.giant
        lines = {}
        for name, whole in self._reconstructions.items():
            cells = self._populations[name]
            rest = sums.measure(without_outliers(cells), self.confidence)
            lines[name] = sink_row(name, giant.in_cells(cells), sums.spread(cells), whole, rest)
        return lines

    def _line(self, name: str, found: Reconstruction) -> dict[str, object]:
        """Return one line of by_kind.csv."""
        cells, firing = self._populations[name], self.measured.firing
        return {
            "kind": name,
            "rows": found.rows,
            "examples": found.examples,
            **_bounded("mse", found),
            "log2_mse": _log2(found.mse),
            **_bounded("mse_macro", found),
            "log2_mse_macro": _log2(found.mse_macro),
            **_bounded("fvu", found),
            **_bounded("l0", found),
            **firing.l0_percentiles(cells),
            "silent_latents": dead_fraction(firing.fired_in(cells)),
            "silent_density_bound": density_bound(found.rows),
        }

    def _l0_percentiles(self) -> list[tuple[str, int, int]]:
        """Return kind, percentile and L0 of each population that has rows."""
        found = {name: self.measured.firing.l0_percentiles(self._populations[name]) for name in self._reconstructions}
        return [(name, q, found[name][f"l0_p{q}"]) for name in found for q in L0_PERCENTILES]

    def _label_means(self) -> Figures:
        """Return each way's AUROC, averaged over the labels."""
        figures: Figures = {}
        for method, name in _SHOWN.items() if self.labels.labels else ():
            means = self.labels.means(method)
            figures |= with_bounds(name, float(means[0]), percentile_interval(means[1:], self.confidence))
        return figures

    def _label_lines(self) -> list[tuple]:
        scores = self.labels
        chosen = zip(
            scores.labels,
            scores.test_examples,
            scores.latent,
            scores.latent_validation_auroc,
            scores.dimension,
            scores.dimension_by,
            strict=True,
        )
        return [(*line, *self._aurocs(i)) for i, line in enumerate(chosen)]

    def _aurocs(self, label: int) -> Iterator[float | None]:
        for method in _SHOWN:
            interval = self.labels.interval(method, label, self.confidence)
            yield from (float(self.labels.auroc[method][0, label]), *(interval or (None, None)))


def _headline(name: str, found: Reconstruction | None, figure: str) -> Figures:
    """Name a figure of a population as metrics do; nothing of an empty one."""
    if found is None:
        return {name: None}
    return {name + key.removeprefix(figure): value for key, value in _bounded(figure, found).items()}


def _bounded(figure: str, found: Reconstruction) -> Figures:
    """Return a figure with its interval; FVU is that of the whole SAE."""
    value = found.fvu[-1] if figure == "fvu" else getattr(found, figure)
    return with_bounds(figure, value, found.intervals.get(figure))


def _log2(mse: float) -> float | None:
    """Return what the appendix of FAST prints; None for an MSE of 0."""
    return math.log2(mse) if mse > 0 else None
