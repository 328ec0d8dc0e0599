"""The figures of an SAE within its model: a few headline metrics, and tables by role and by kind of what is predicted.

The definition of each figure stands in docs/metrics.md.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, UInt8

from fast_sae.artifacts import write_metrics, write_table
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.chat.roles import ROLE_NAMES
from fast_sae.evaluation.figures import Figures, with_bounds
from fast_sae.evaluation.in_model.settings import InModelSettings
from fast_sae.evaluation.in_model.sums import N_CELLS, QUANTITIES, PredictionSums, cells_of_kind, cells_of_role
from fast_sae.statistics import percentile_interval, resample_counts, resampled_sums

_RATIOS = ("ce_increase", "ce_recovered", "ce_recovered_mean", "kl")
_COLUMNS = ("predictions", "examples", *QUANTITIES[:-1], *(r + end for r in _RATIOS for end in ("", "_low", "_high")))
_IN_TABLES_ONLY = ("ce_recovered_mean_low", "ce_recovered_mean_high", "kl_low", "kl_high")
"""Left out of the headline metrics; they stand in the tables' row `all`."""


@dataclass(frozen=True)
class InModelReport:
    """What was found on test."""

    sums: PredictionSums
    settings: InModelSettings

    def metrics(self) -> Figures:
        """Return the headline metrics; counts of 0 and nothing else where nothing was measured."""
        figures = self._measure(np.ones(N_CELLS, bool))
        if not figures["predictions"]:
            return figures
        headline = {name: figures.get(name) for name in _COLUMNS if name not in _IN_TABLES_ONLY}
        return headline | {"ce_floor_hit": int(figures["ce_recovered"] is None)}

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by name."""
        return {
            "by_role": self._table("role", {name: cells_of_role(role) for role, name in enumerate(ROLE_NAMES)}),
            "by_kind": self._table("kind", {name: cells_of_kind(kind) for kind, name in enumerate(KIND_NAMES)}),
        }

    def write(self, metrics: Path, tables: Path) -> None:
        """Write the metrics as JSON and each table as CSV."""
        write_metrics(metrics, "in_model", self.metrics())
        for name, table in self.tables().items():
            write_table(tables / f"{name}.csv", table)

    def _table(self, by: str, populations: dict[str, Bool[np.ndarray, " cell"]]) -> pd.DataFrame:
        """Describe all targets, then each population that has any."""
        populations = {"all": np.ones(N_CELLS, bool)} | populations
        rows = [{by: name, **self._measure(cells)} for name, cells in populations.items()]
        return pd.DataFrame([row for row in rows if row["predictions"]], columns=[by, *_COLUMNS])

    @cached_property
    def _counts(self) -> UInt8[np.ndarray, "sample example"]:
        """How often each resample holds each example: the same for every figure."""
        return resample_counts(len(self.sums.tokens), self.settings.bootstrap_resamples, self.settings.seed)

    def _measure(self, cells: Bool[np.ndarray, " cell"]) -> Figures:
        """Return the figures of one population of targets, each ratio one of whole sums; None below the floor."""
        tokens = self.sums.tokens[:, cells].sum(1)
        if not tokens.any():
            return {"predictions": 0, "examples": 0}
        of_example = np.stack([tokens, *self.sums.nats[:, :, cells].sum(2)], 1)
        n, clean, sae, zero, mean, kl = resampled = resampled_sums(self._counts, of_example).T
        found: Figures = dict(zip(QUANTITIES[:-1], (resampled[1:-1, 0] / n[0]).tolist(), strict=True))
        found |= self._ratio("ce_increase", sae - clean, n) | self._ratio("kl", kl, n)
        for name, ablated in (("ce_recovered", zero), ("ce_recovered_mean", mean)):
            told = (ablated > clean) & (ablated - clean >= self.settings.ce_floor * n)
            found |= self._ratio(name, ablated - sae, ablated - clean, told)
        counts = {"predictions": int(tokens.sum()), "examples": int((tokens > 0).sum())}
        return counts | {name: None if value is None else _rounded(value) for name, value in found.items()}

    def _ratio(
        self,
        name: str,
        over: Float[np.ndarray, " sample"],
        under: Float[np.ndarray, " sample"],
        told: Bool[np.ndarray, " sample"] | None = None,
    ) -> Figures:
        """Return a ratio and its interval; no interval if the ratio is not told in every resample.

        Leaving out the resamples in which the denominator is small would cut off the very tail they stand for.
        """
        if told is not None and not told[0]:
            return with_bounds(name, None, None)
        some = under != 0  # a resample may lack such tokens
        values = np.where(some, over / np.where(some, under, 1), np.nan)
        known = told is None or told.all()
        interval = percentile_interval(values[1:], self.settings.confidence) if known else None
        return with_bounds(name, float(values[0]), interval)


def _rounded(value: float) -> float:
    """Round to a billionth: what lies below is rounding already, in nats, and not the same on every processor."""
    return round(float(value), 9) + 0.0  # and no -0.0
