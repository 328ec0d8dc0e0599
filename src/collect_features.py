"""Find out what each latent does: `dvc repro collect_features` (one pass over validation, one over test)."""

from pathlib import Path

import torch

from fast_sae.activations.held import open_held
from fast_sae.activations.opening import Activations, require_same_activations
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import read_manifest
from fast_sae.errors import run
from fast_sae.evaluation.settings import EvaluateSettings
from fast_sae.features.features import write_features
from fast_sae.features.settings import FeaturesSettings, features_record
from fast_sae.params import load_params, parse_section
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.checkpoint import STAGE, load_sae, sae_sha256
from fast_sae.sae.settings import SAESettings
from fast_sae.training.settings import TrainSettings, training_record


def main(
    prepared: Path = Path("data/prepared"),
    activations: Path = Path("data/activations"),
    sae: Path = Path("models/sae"),
    features: Path = Path("data/features"),
) -> None:
    """Look at validation, which explains, and at test, which scores; write the tables of data/features."""
    params = load_params()
    model = parse_section(params, "model", ModelSettings)
    extract = parse_section(params, "extract", ExtractSettings)
    sae_settings = parse_section(params, "sae", SAESettings)
    train = parse_section(params, "train", TrainSettings)
    settings = parse_section(params, "features", FeaturesSettings)
    runtime = parse_section(params, "runtime", RuntimeSettings)
    record = training_record(model, extract, sae_settings, train)
    manifest = read_manifest(sae, STAGE)
    manifest.require(record)
    source = parse_section(params, "evaluate", EvaluateSettings).source
    opened = Activations(activations, sae_settings.layer, model, extract, source, train.buffer_tokens, runtime)
    validation, test = (open_held(opened, prepared, split) for split in ("validation", "test"))
    require_same_activations(manifest, validation.source.provenance)
    write_features(
        features,
        load_sae(sae),
        validation,
        test,
        settings,
        record=features_record(record, settings),
        sae_sha256=sae_sha256(sae),
        model=model,
        kinds=train.kind_numbers,
        dtype=getattr(torch, train.dtype),
        runtime=runtime,
    )


if __name__ == "__main__":
    run(main)
