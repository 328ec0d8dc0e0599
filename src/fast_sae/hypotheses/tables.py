"""data/hypotheses: a row per hypothesis, every annotation, and the joint models; empty where nothing was asked for."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fast_sae.artifacts import whole_file, write_table
from fast_sae.backends.base import Explanation
from fast_sae.evaluation.figures import with_bounds
from fast_sae.hypotheses.annotations import UNANSWERED
from fast_sae.hypotheses.hypothesis import Annotated, Hypothesis
from fast_sae.hypotheses.joint import Joint
from fast_sae.hypotheses.significance import Tested
from fast_sae.statistics import percentile_interval

ANNOTATIONS = pa.schema(
    {
        "split": pa.string(),
        # Index within the split, in the order of data/prepared, and the example's own name
        "example": pa.int32(),
        "id": pa.string(),
        "latent": pa.int32(),
        # Whether the text has what the latent's name speaks of; null: unanswered
        "has": pa.bool_(),
    }
)

_HYPOTHESIS = ["target", "latent", "selection_score", "interpretation", "status", "reason", "validation_phi"]
_TESTED = [
    *("texts", "unanswered", "prevalence", "separation", "separation_low", "separation_high"),
    *("auroc", "correlation", "r2", "p"),
]
_JUDGED = ["p_corrected", "significant", "confirmed"]
_JOINT = ["target", "by", "columns", "texts", "test", "test_low", "test_high", "in_sample"]


@dataclass(frozen=True)
class Outcome:
    """A hypothesis and what test says of it."""

    hypothesis: Hypothesis
    tested: Tested | None
    p_corrected: float | None
    significant: bool
    confirmed: bool


def hypothesis_table(targets: Sequence[str], outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return a row per hypothesis, by target and selection, whatever came of it."""
    rows = [
        {
            **_hypothesis(targets, one.hypothesis),
            **(_tested(one.tested) if one.tested else {}),
            "p_corrected": one.p_corrected,
            "significant": one.significant,
            "confirmed": one.confirmed,
        }
        for one in outcomes
    ]
    return pd.DataFrame(
        [*map(_cells, rows)], columns=[*_HYPOTHESIS, *_TESTED, *_JUDGED], dtype=object
    )  # counts stay whole numbers


def annotation_table(annotated: Sequence[Annotated]) -> pa.Table:
    """Return a row per text and latent named."""
    return pa.Table.from_pylist([row for one in annotated for row in _annotations(one)], ANNOTATIONS)


def joint_table(targets: Sequence[str], joint: Mapping[str, Sequence[Joint | None]], confidence: float) -> pd.DataFrame:
    """Return a row per target and model: AUROC of a label, R² of a number; empty where there is no model."""
    rows = [
        {"target": target, "by": by, **_cells(_joint(models[i], confidence))}
        for i, target in enumerate(targets)
        for by, models in joint.items()
    ]
    return pd.DataFrame(rows, columns=_JOINT, dtype=object)


def write_tables(
    folder: Path, plots: Path, hypotheses: pd.DataFrame, annotations: pa.Table, joint: pd.DataFrame
) -> None:
    """Write hypotheses.csv, every text quoted, annotations.parquet, and joint.csv among the plots."""
    with whole_file(folder / "hypotheses.csv") as part:
        hypotheses.to_csv(part, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    with whole_file(folder / "annotations.parquet") as part:
        pq.write_table(annotations, part, compression="zstd")
    write_table(plots / "joint.csv", joint)


def _cells(row: Mapping[str, object]) -> dict[str, object]:
    """Round numbers to 6 significant digits, as metrics are."""
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}


def _hypothesis(targets: Sequence[str], one: Hypothesis) -> dict[str, object]:
    name = one.named.name
    text, reason = (name.text, "") if isinstance(name, Explanation) else ("", name.reason)
    return {
        "target": targets[one.target],
        "latent": one.latent,
        "selection_score": one.score,
        "interpretation": text,
        "status": one.status,
        "reason": reason,
        "validation_phi": one.named.choosing_phi,
    }


def _tested(one: Tested) -> dict[str, object]:
    return {
        "texts": one.texts,
        "unanswered": one.unanswered,
        "prevalence": one.having / one.texts if one.texts else None,
        **with_bounds("separation", one.separation, one.interval),
        "auroc": one.auroc,
        "correlation": one.correlation,
        "r2": None if one.correlation is None else one.correlation**2,
        "p": one.p,
    }


def _joint(one: Joint | None, confidence: float) -> dict[str, object]:
    if one is None:
        return {}
    bounds = with_bounds("test", float(one.test[0]), percentile_interval(one.test[1:], confidence))
    return {"columns": one.columns, "texts": one.texts, **bounds, "in_sample": one.in_sample}


def _annotations(one: Annotated) -> Iterator[dict[str, object]]:
    for row, has in zip(one.rows.tolist(), one.has.tolist(), strict=True):
        example = {"split": one.held.split, "example": int(one.held.index[row]), "id": one.held.examples[row].id}
        for latent, said in zip(one.latents, has, strict=True):
            yield {**example, "latent": latent, "has": None if said == UNANSWERED else bool(said)}
