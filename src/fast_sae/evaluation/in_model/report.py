"""The figures of an SAE within its model: a few headline metrics, and tables by role and by kind of what is predicted.

The definition of each figure stands in docs/metrics.md.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool

from fast_sae.artifacts import write_metrics, write_table
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.chat.roles import ROLE_NAMES
from fast_sae.evaluation.in_model.settings import InModelSettings
from fast_sae.evaluation.in_model.sums import N_CELLS, QUANTITIES, PredictionSums, cells_of_kind, cells_of_role
from fast_sae.statistics import bootstrap_ratio

Figures = dict[str, float | int | None]

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
        return headline | {"ce_floor_hit": int("ce_recovered" not in figures)}

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

    def _measure(self, cells: Bool[np.ndarray, " cell"]) -> Figures:
        """Return the figures of one population of targets, each ratio one of whole sums; None below the floor."""
        tokens = self.sums.tokens[:, cells].sum(1).astype(np.float64)
        n = tokens.sum()
        found: Figures = {"predictions": int(n), "examples": int((tokens > 0).sum())}
        if not n:
            return found
        clean, sae, zero, mean, kl = nats = self.sums.nats[:, :, cells].sum(2)
        found |= {name: _rounded(values.sum() / n) for name, values in zip(QUANTITIES[:-1], nats, strict=False)}
        found |= self._ratio("ce_increase", sae - clean, tokens) | self._ratio("kl", kl, tokens)
        for name, ablated in (("ce_recovered", zero), ("ce_recovered_mean", mean)):
            lost = (ablated - clean).sum()
            if lost > 0 and lost >= self.settings.ce_floor * n:
                found |= self._ratio(name, ablated - sae, ablated - clean)
        return found

    def _ratio(self, name: str, over: np.ndarray, under: np.ndarray) -> Figures:
        """Return a ratio of sums over examples, with its interval."""
        resamples, seed = self.settings.bootstrap_resamples, self.settings.seed
        interval = bootstrap_ratio(over, under, resamples=resamples, seed=seed)
        values = {name: over.sum() / under.sum()}
        if interval:
            values |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        return {key: _rounded(value) for key, value in values.items()}


def _rounded(value: float) -> float:
    """Round to a billionth: what lies below is rounding already, in nats, and not the same on every processor."""
    return round(float(value), 9) + 0.0  # and no -0.0
