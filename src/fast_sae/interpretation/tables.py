"""data/interpretations: a row per latent for readers, and every judgement of test for whoever counts again."""

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fast_sae.artifacts import whole_file
from fast_sae.backends.base import Answer, Explanation, Rating, Unanswered
from fast_sae.backends.naming import Named
from fast_sae.features.store import FeatureStore
from fast_sae.interpretation.judgements import WHO, Answers, Judgements
from fast_sae.interpretation.material import RATED, Material
from fast_sae.interpretation.scored import SCORES

JUDGEMENTS = pa.schema(
    {
        "latent": pa.int32(),
        # detection or fuzzing; the windows of fuzzing are those of detection in which the latent fires
        "test": pa.string(),
        "split": pa.string(),
        "example": pa.int32(),
        "start": pa.int32(),
        "decile": pa.int8(),
        # Windows of the split for which it stands
        "weight": pa.float64(),
        "activation": pa.float64(),
        # Whether the latent fires in it (detection); whether the marked tokens are those on which it fires (fuzzing)
        "truth": pa.bool_(),
        # What was said of the latent's own name, and of another latent's; null: unanswered, or not asked
        "chosen": pa.bool_(),
        "other": pa.bool_(),
    }
)

_BESIDE = (("other", "f1"), ("constant", "f1"), ("other", "fuzzing_balanced_accuracy"))
"""Scores of the baselines that stand beside a name's; all are in the table of detection."""


def status_of(named: Named) -> str:
    """Name what came of naming a latent: explained, no_pattern, refused, invalid or failed."""
    if isinstance(named.name, Unanswered):
        return named.name.status
    return "explained" if named.name.pattern else "no_pattern"


def interpretation_table(
    store: FeatureStore,
    materials: Mapping[int, Material],
    named: Mapping[int, Named],
    judgements: Judgements,
    scores: pd.DataFrame,
) -> pd.DataFrame:
    """Return a row per latent asked about, whatever came of it; a baseline's scores have its name before theirs."""
    rows = []
    for latent, one in named.items():
        text, reason = (one.name.text, "") if isinstance(one.name, Explanation) else ("", one.name.reason)
        rows.append(
            {
                "neuron_idx": latent,
                "interpretation": text,
                **_top_examples(materials[latent]),
                "status": status_of(one),
                "reason": reason,
                **_of_latent(store, latent),
                "candidates": one.candidates,
                "choosing_phi": one.choosing_phi,
                **_judged(latent, materials[latent], judgements),
                **{name: scores[name][latent, "chosen"] for name in SCORES},
                **{f"{who}_{name}": scores[name][latent, who] for who, name in _BESIDE},
            }
        )
    cells = [{name: _cell(value) for name, value in row.items()} for row in rows]
    return pd.DataFrame(cells, dtype=object)  # so that a rating stays a whole number where others have none


def judgement_table(materials: Mapping[int, Material], judgements: Judgements) -> pa.Table:
    """Return a row per latent, test and judged window."""
    rows = [row for latent, one in materials.items() for row in _judgements(latent, one, judgements)]
    return pa.Table.from_pylist(rows, JUDGEMENTS)


def write_interpretations(path: Path, table: pd.DataFrame) -> None:
    """Write the table as CSV, every text quoted, since texts hold commas, quotes and line breaks."""
    with whole_file(path) as part:
        table.to_csv(part, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def write_judgements(path: Path, table: pa.Table) -> None:
    """Write the table as Parquet."""
    with whole_file(path) as part:
        pq.write_table(table, part, compression="zstd")


def _cell(value: object) -> object:
    """Round a number to 6 significant digits, as metrics are; what has no value is left empty."""
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else float(f"{value:.6g}")


def _top_examples(material: Material) -> dict[str, str]:
    """Return the strongest windows of test: what the data hold of each, or all of one that is of the template alone."""
    texts = [shown.window.content or shown.window.text for shown in material.top]
    return {f"top_example_{i + 1}": texts[i] if i < len(texts) else "" for i in range(RATED)}


def _of_latent(store: FeatureStore, latent: int) -> dict[str, object]:
    known = store.latents.loc[latent]
    label = known["best_label"]
    return {
        "validation_example_rate": known["validation_example_rate"],
        "test_example_rate": known["test_example_rate"],
        "best_label": label if isinstance(label, str) else "",
        "best_label_test_auroc": known["test_auroc"],
    }


def _judged(latent: int, material: Material, judgements: Judgements) -> dict[str, object]:
    rating = judgements.ratings.get(latent)
    rated = isinstance(rating, Rating)
    return {
        "rating": rating.score if rated else None,
        "rating_reason": rating.reason if rated else "",
        "rating_status": _status(rating),
        "detection_status": _status(judgements.detection["chosen"].get(latent)),
        "fuzzing_status": _status(judgements.fuzzing["chosen"].get(latent)),
        "fuzzing_left_out": material.fuzzing_left_out,
        "other_neuron_idx": judgements.others.get(latent),
    }


def _status(answer: Answer[object] | None) -> str:
    if answer is None:
        return "not_asked"
    return answer.status if isinstance(answer, Unanswered) else "answered"


def _judgements(latent: int, material: Material, judgements: Judgements) -> Iterator[dict[str, object]]:
    tests = {
        "detection": [(one, one.fires) for one in material.judged],
        "fuzzing": [(one.shown, one.active) for one in material.fuzzed],
    }
    said = {"detection": judgements.detection, "fuzzing": judgements.fuzzing}
    for test, windows in tests.items():
        for i, (shown, truth) in enumerate(windows):
            yield {
                **{"latent": latent, "test": test, "truth": truth, "decile": shown.decile, "weight": shown.weight},
                **{what: getattr(shown.window, what) for what in ("split", "example", "start")},
                "activation": shown.activation,
                **{who: _answer(said[test][who], latent, i) for who in WHO},
            }


def _answer(answers: Answers, latent: int, window: int) -> bool | None:
    answer = answers.get(latent)
    return None if answer is None or isinstance(answer, Unanswered) else bool(answer[window])
