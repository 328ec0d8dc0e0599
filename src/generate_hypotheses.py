"""Find, name and test what goes with the labels: `dvc repro generate_hypotheses` (offline, or asks a server)."""

from pathlib import Path

from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import write_manifest
from fast_sae.backends.opening import open_backend
from fast_sae.chat.examples import Example
from fast_sae.chat.prepared import read_prepared
from fast_sae.chat.splits import Split
from fast_sae.errors import run
from fast_sae.features.settings import FeaturesSettings, features_record
from fast_sae.features.store import FeatureStore
from fast_sae.hypotheses.generate import generate_hypotheses
from fast_sae.hypotheses.settings import HypothesesSettings, hypotheses_record
from fast_sae.interpretation.settings import InterpretSettings
from fast_sae.params import load_params, parse_section
from fast_sae.progress import say
from fast_sae.sae.settings import SAESettings
from fast_sae.training.settings import TrainSettings, training_record


def main(
    prepared: Path = Path("data/prepared"),
    features: Path = Path("data/features"),
    hypotheses: Path = Path("data/hypotheses"),
    metrics: Path = Path("metrics/generate_hypotheses.json"),
    plots: Path = Path("metrics/plots/generate_hypotheses"),
) -> None:
    """Choose latents on validation, name them, test the names on test; write hypotheses, metrics and tables."""
    params = load_params()
    sae = training_record(
        parse_section(params, "model", ModelSettings),
        parse_section(params, "extract", ExtractSettings),
        parse_section(params, "sae", SAESettings),
        parse_section(params, "train", TrainSettings),
    )
    record = features_record(sae, parse_section(params, "features", FeaturesSettings))
    backend = parse_section(params, "interpret", InterpretSettings)
    settings = parse_section(params, "hypotheses", HypothesesSettings)
    store = FeatureStore.open(features, record)
    examples: dict[Split, list[Example]] = {}
    for split in ("validation", "test"):
        store.require_examples(prepared, split)
        examples[split] = read_prepared(prepared, split)
    with open_backend(backend, hypotheses / "replies.jsonl") as opened:
        report = generate_hypotheses(store, examples, settings, opened, backend.windows_per_request)
        report.write(hypotheses, metrics, plots)
        say(report.summary())
        facts = {"features_sha256": store.manifest.sha256}
        write_manifest(hypotheses, "generate_hypotheses", hypotheses_record(record, backend, settings), facts)


if __name__ == "__main__":
    run(main)
