"""The figures of an evaluation: a few headline metrics, and tables for all the rest.

The definition of each figure stands in docs/metrics.md. The population of the headline metrics is the test rows of the
kinds that the SAE was trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from fast_sae.artifacts import write_metrics, write_table
from fast_sae.chat.kinds import KIND_NAMES, SPECIAL_KINDS, Kind
from fast_sae.evaluation.firing import dead_fraction, density_histogram, ultra_dense_fraction
from fast_sae.evaluation.labels import LabelScore
from fast_sae.evaluation.measure import Measured
from fast_sae.evaluation.reconstruction import Reconstruction, population


@dataclass(frozen=True)
class Report:
    """What evaluation found on test."""

    measured: Measured
    labels: Sequence[LabelScore]
    kinds: tuple[int, ...]
    """Kinds of tokens the SAE was trained on."""
    prefixes: tuple[int, ...]
    k: int
    """Latents that should be active."""

    def metrics(self) -> dict[str, float | int | None]:
        """Return the headline metrics; None where the population is empty."""
        all_rows, varying = self._measure(self.kinds), self._measure(self.kinds, shared_prefix=False)
        special = self._measure(tuple(SPECIAL_KINDS))
        if all_rows is None:
            return {}
        fvu = all_rows.fvu[-1]
        return {
            "rows": all_rows.rows,
            "examples": all_rows.examples,
            "reconstruction_mse": all_rows.mse,
            "reconstruction_mse_macro": all_rows.mse_macro,
            "reconstruction_mse_varying": varying.mse if varying else None,
            "special_token_mse": special.mse_macro if special else None,
            "normalized_mse": fvu,
            "normalized_mse_varying": varying.fvu[-1] if varying else None,
            "explained_variance": None if fvu is None else 1 - fvu,
            "l0": all_rows.l0,
            "l0_over_k": all_rows.l0 / self.k,
            "dead_latent_fraction": dead_fraction(self.measured.fired),
            "ultra_dense_latent_fraction": ultra_dense_fraction(self.measured.fired, all_rows.rows),
            "label_auroc": _mean([score.test_auroc for score in self.labels]),
        }

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by name."""
        all_rows = self._measure(self.kinds)
        fvu = all_rows.fvu if all_rows else [None] * len(self.prefixes)
        density = density_histogram(self.measured.fired, all_rows.rows if all_rows else 1)
        return {
            "fvu_by_prefix": pd.DataFrame({"prefix": self.prefixes, "fvu": fvu}),
            "density": pd.DataFrame(density, columns=["log10_density", "latents"]),
            "by_kind": pd.DataFrame(self._populations()),
            "labels": pd.DataFrame(self.labels, columns=[field.name for field in fields(LabelScore)]),
        }

    def write(self, metrics: Path, tables: Path) -> None:
        """Write the metrics as JSON and each table as CSV."""
        write_metrics(metrics, "evaluate", self.metrics())
        for name, table in self.tables().items():
            write_table(tables / f"{name}.csv", table)

    def _measure(self, kinds: tuple[int, ...], *, shared_prefix: bool = True) -> Reconstruction | None:
        return self.measured.sums.measure(population(kinds, shared_prefix=shared_prefix))

    def _populations(self) -> list[dict[str, object]]:
        """Describe each population that has rows: all, each kind, and each without the constant rows."""
        wanted = {"trained": self.kinds, "special": tuple(SPECIAL_KINDS)}
        wanted |= {name: (Kind[name.upper()],) for name in KIND_NAMES}
        found = {
            name + suffix: self._measure(kinds, shared_prefix=shared_prefix)
            for name, kinds in wanted.items()
            for suffix, shared_prefix in (("", True), (" varying", False))
        }
        return [{"kind": name, **vars(r), "fvu": r.fvu[-1]} for name, r in found.items() if r]


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if value == value]  # noqa: PLR0124  (not NaN)
    return sum(known) / len(known) if known else None
