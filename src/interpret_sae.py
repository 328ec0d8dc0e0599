"""Name latents on validation and score the names on test: `dvc repro interpret_sae` (offline, or asks a server)."""

from pathlib import Path

from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import write_manifest
from fast_sae.backends.opening import open_backend
from fast_sae.errors import run
from fast_sae.features.settings import FeaturesSettings, features_record
from fast_sae.features.store import FeatureStore
from fast_sae.interpretation.interpret import interpret
from fast_sae.interpretation.settings import InterpretSettings, interpret_record
from fast_sae.params import load_params, parse_section
from fast_sae.progress import say
from fast_sae.sae.settings import SAESettings
from fast_sae.training.settings import TrainSettings, training_record


def main(
    features: Path = Path("data/features"),
    interpretations: Path = Path("data/interpretations"),
    metrics: Path = Path("metrics/interpret_sae.json"),
    plots: Path = Path("metrics/plots/interpret_sae"),
) -> None:
    """Choose latents, name and judge them, write names, judgements, metrics and tables."""
    params = load_params()
    sae = training_record(
        parse_section(params, "model", ModelSettings),
        parse_section(params, "extract", ExtractSettings),
        parse_section(params, "sae", SAESettings),
        parse_section(params, "train", TrainSettings),
    )
    settings = parse_section(params, "interpret", InterpretSettings)
    record = features_record(sae, parse_section(params, "features", FeaturesSettings))
    store = FeatureStore.open(features, record)
    with open_backend(settings, interpretations / "replies.jsonl") as backend:
        report = interpret(store, settings, backend)
        report.write(interpretations, metrics, plots)
        if line := report.warning():
            say(line)
        facts = {"features_sha256": store.manifest.sha256, "latents": list(report.named)}
        write_manifest(interpretations, "interpret_sae", interpret_record(record, settings), facts)


if __name__ == "__main__":
    run(main)
