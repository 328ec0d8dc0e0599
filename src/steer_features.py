"""Steer the language model by latents, at several doses and beside controls: `dvc repro steer_features`."""

from pathlib import Path

import torch

from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import read_manifest, write_manifest
from fast_sae.chat.prepared import read_prepared
from fast_sae.errors import run
from fast_sae.features.settings import FeaturesSettings, features_record
from fast_sae.features.store import FeatureStore
from fast_sae.params import load_params, parse_section
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.checkpoint import STAGE, load_sae, sae_sha256
from fast_sae.sae.lineage import require_same_split
from fast_sae.sae.settings import SAESettings
from fast_sae.steering.settings import SteerSettings
from fast_sae.steering.steer import Material, steer
from fast_sae.training.settings import TrainSettings, training_record


def main(  # noqa: PLR0917  (its paths are its wiring)
    prepared: Path = Path("data/prepared"),
    sae: Path = Path("models/sae"),
    features: Path = Path("data/features"),
    steering: Path = Path("data/steering"),
    metrics: Path = Path("metrics/steer_features.json"),
    plots: Path = Path("metrics/plots/steer_features"),
) -> None:
    """Choose latents and doses on some prompts, score them on others; write every continuation, curves and a text."""
    params = load_params()
    model = parse_section(params, "model", ModelSettings)
    extract = parse_section(params, "extract", ExtractSettings)
    train = parse_section(params, "train", TrainSettings)
    record = training_record(model, extract, parse_section(params, "sae", SAESettings), train)
    manifest = read_manifest(sae, STAGE)
    manifest.require(record)
    require_same_split(manifest, prepared)
    features_made = features_record(record, parse_section(params, "features", FeaturesSettings))
    store = FeatureStore.open(features, features_made)
    store.require_sae(sae_sha256(sae))
    settings = parse_section(params, "steer", SteerSettings)
    report = steer(
        Material(
            load_sae(sae).to(getattr(torch, train.dtype)),
            manifest,
            store,
            {split: read_prepared(prepared, split) for split in ("train", "validation", "test")},
            train.kind_numbers,
        ),
        settings,
        model=model,
        extract=extract,
        runtime=parse_section(params, "runtime", RuntimeSettings),
    )
    report.write(steering, metrics, plots)
    facts = {"features_sha256": store.manifest.sha256}
    write_manifest(steering, "steer_features", {**features_made, "steer": settings.model_dump(mode="json")}, facts)


if __name__ == "__main__":
    run(main)
