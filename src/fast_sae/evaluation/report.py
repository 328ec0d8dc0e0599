"""The figures of an evaluation: a few headline metrics, and tables for all the rest.

The definition of each figure stands in docs/metrics.md. The population of the headline metrics is the test rows of the
kinds that the SAE was trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fast_sae.artifacts import write_metrics
from fast_sae.chat.kinds import KIND_NAMES, SPECIAL_KINDS, Kind
from fast_sae.evaluation.firing import dead_fraction, density_histogram, ultra_dense_fraction
from fast_sae.evaluation.labels import LabelScore
from fast_sae.evaluation.measure import Measured
from fast_sae.evaluation.reconstruction import Reconstruction, population

Cell = str | int | float | None


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

    def tables(self) -> dict[str, tuple[Sequence[str], list[Sequence[Cell]]]]:
        """Return the name, header and lines of each table."""
        all_rows = self._measure(self.kinds)
        fvus = all_rows.fvu if all_rows else ()
        rows = all_rows.rows if all_rows else 0
        return {
            "fvu_by_prefix": (("prefix", "fvu"), [*zip(self.prefixes, fvus, strict=True)] if fvus else []),
            "density": (("log10_density", "latents"), [*density_histogram(self.measured.fired, rows)]),
            "by_kind": (
                ("kind", "rows", "examples", "mse", "mse_macro", "fvu", "l0"),
                [line for line in self._populations() if line],
            ),
            "labels": (
                ("label", "latent", "validation_auroc", "test_auroc", "test_examples"),
                [(s.label, s.latent, s.validation_auroc, s.test_auroc, s.test_examples) for s in self.labels],
            ),
        }

    def write(self, metrics: Path, tables: Path) -> None:
        """Write the metrics as JSON and each table as CSV."""
        write_metrics(metrics, "evaluate", self.metrics())
        tables.mkdir(parents=True, exist_ok=True)
        for name, (header, lines) in self.tables().items():
            text = [",".join(header), *(",".join(map(_cell, line)) for line in lines)]
            (tables / f"{name}.csv").write_text("\n".join(text) + "\n", encoding="utf-8")

    def _measure(self, kinds: tuple[int, ...], *, shared_prefix: bool = True) -> Reconstruction | None:
        return self.measured.sums.measure(population(kinds, shared_prefix=shared_prefix))

    def _populations(self) -> list[Sequence[Cell]]:
        """One line for each population that has rows: all, each kind, and each without the constant rows."""
        wanted = {"trained": self.kinds, "special": tuple(SPECIAL_KINDS)}
        wanted |= {name: (Kind[name.upper()],) for name in KIND_NAMES}
        lines: list[Sequence[Cell]] = []
        for name, kinds in wanted.items():
            for suffix, shared_prefix in (("", True), (" varying", False)):
                found = self._measure(kinds, shared_prefix=shared_prefix)
                if found:
                    figures = (found.rows, found.examples, found.mse, found.mse_macro, found.fvu[-1], found.l0)
                    lines.append((name + suffix, *figures))
        return lines


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if value == value]  # noqa: PLR0124  (not NaN)
    return sum(known) / len(known) if known else None


def _cell(value: Cell) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "" if value is None else str(value)
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if any(c in text for c in ',"\n\r') else text
