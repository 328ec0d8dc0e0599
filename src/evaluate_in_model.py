"""Put the trained SAE into its language model on test chats: `dvc repro evaluate_in_model` (five passes)."""

from pathlib import Path

import torch

from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import read_manifest
from fast_sae.chat.prepared import read_prepared
from fast_sae.errors import run
from fast_sae.evaluation.in_model.evaluate import evaluate_in_model
from fast_sae.evaluation.in_model.settings import InModelSettings
from fast_sae.params import load_params, parse_section
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.checkpoint import STAGE, load_sae
from fast_sae.sae.lineage import require_same_split
from fast_sae.sae.settings import SAESettings
from fast_sae.training.settings import TrainSettings, training_record


def main(
    prepared: Path = Path("data/prepared"),
    sae: Path = Path("models/sae"),
    metrics: Path = Path("metrics/evaluate_in_model.json"),
    plots: Path = Path("metrics/plots/evaluate_in_model"),
) -> None:
    """Compare the model's predictions as it is, with the SAE in it, and ablated; write metrics and tables."""
    params = load_params()
    model = parse_section(params, "model", ModelSettings)
    extract = parse_section(params, "extract", ExtractSettings)
    train = parse_section(params, "train", TrainSettings)
    record = training_record(model, extract, parse_section(params, "sae", SAESettings), train)
    manifest = read_manifest(sae, STAGE)
    manifest.require(record)
    require_same_split(manifest, prepared)
    report = evaluate_in_model(
        load_sae(sae),
        {"validation": read_prepared(prepared, "validation"), "test": read_prepared(prepared, "test")},
        parse_section(params, "in_model", InModelSettings),
        made=manifest,
        model=model,
        extract=extract,
        kinds=train.kind_numbers,
        dtype=getattr(torch, train.dtype),
        runtime=parse_section(params, "runtime", RuntimeSettings),
    )
    report.write(metrics, plots)


if __name__ == "__main__":
    run(main)
