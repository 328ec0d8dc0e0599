"""Score the trained SAE on test activations: `dvc repro evaluate_sae` (one pass, no language model)."""

from pathlib import Path

import torch

from fast_sae.activations.held import open_held
from fast_sae.activations.opening import Activations, require_same_activations
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import read_manifest
from fast_sae.errors import run
from fast_sae.evaluation.evaluate import evaluate_sae
from fast_sae.evaluation.settings import EvaluateSettings
from fast_sae.params import load_params, parse_section
from fast_sae.progress import say
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.checkpoint import STAGE, load_sae
from fast_sae.sae.settings import SAESettings
from fast_sae.training.settings import TrainSettings, training_record


def main(
    prepared: Path = Path("data/prepared"),
    activations: Path = Path("data/activations"),
    sae: Path = Path("models/sae"),
    metrics: Path = Path("metrics/evaluate_sae.json"),
    plots: Path = Path("metrics/plots/evaluate_sae"),
) -> None:
    """Choose on validation, score everything on test, write metrics and tables."""
    params = load_params()
    model = parse_section(params, "model", ModelSettings)
    extract = parse_section(params, "extract", ExtractSettings)
    sae_settings = parse_section(params, "sae", SAESettings)
    train = parse_section(params, "train", TrainSettings)
    settings = parse_section(params, "evaluate", EvaluateSettings)
    runtime = parse_section(params, "runtime", RuntimeSettings)
    manifest = read_manifest(sae, STAGE)
    manifest.require(training_record(model, extract, sae_settings, train))
    opened = Activations(activations, sae_settings.layer, model, extract, settings.source, train.buffer_tokens, runtime)
    validation, test = (open_held(opened, prepared, split) for split in ("validation", "test"))
    require_same_activations(manifest, validation.source.provenance)
    report = evaluate_sae(
        load_sae(sae),
        validation,
        test,
        settings,
        kinds=train.kind_numbers,
        dtype=getattr(torch, train.dtype),
        runtime=runtime,
    )
    report.write(metrics, plots)
    if line := report.warning():
        say(line)


if __name__ == "__main__":
    run(main)
