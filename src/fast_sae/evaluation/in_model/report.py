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
_HEADLINE = tuple(name for name in _COLUMNS if name not in {r + end for r in _RATIOS[2:] for end in ("_low", "_high")})
"""The other intervals stand in the tables' row `all`."""


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
        headline = {name: figures[name] for name in _HEADLINE}
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

    def _measure(self, cells: Bool[np.ndarray, " cell"]) -> Figures:
        """Return the figures of one population of targets, each ratio one of whole sums; None below the floor."""
        tokens = self.sums.tokens[:, cells].sum(1).astype(np.float64)
        n = tokens.sum()
        found: Figures = {"predictions": int(n), "examples": int((tokens > 0).sum())}
        if not n:
            return found
        clean, sae, zero, mean, kl = nats = self.sums.nats[:, :, cells].sum(2)
        found |= {name: float(values.sum() / n) for name, values in zip(QUANTITIES[:-1], nats, strict=False)}
        ratios = {
            "ce_increase": (sae - clean, tokens),
            "ce_recovered": (zero - sae, zero - clean),
            "ce_recovered_mean": (mean - sae, mean - clean),
            "kl": (kl, tokens),
        }
        for name, (over, under) in ratios.items():
            told = "recovered" not in name or (under.sum() >= self.settings.ce_floor * n and under.sum() > 0)
            low, high = self._interval(over, under) if told else (None, None)
            found |= {name: float(over.sum() / under.sum()) if told else None, f"{name}_low": low, f"{name}_high": high}
        return found

    def _interval(self, over: np.ndarray, under: np.ndarray) -> tuple[float | None, float | None]:
        settings = self.settings
        return bootstrap_ratio(over, under, resamples=settings.bootstrap_resamples, seed=settings.seed)
