"""Train the sparse autoencoder that params.yaml describes: `dvc repro train_sae`."""

from pathlib import Path

from fast_sae.activations.opening import Activations
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import round_metrics, whole_folder, write_manifest, write_metrics
from fast_sae.errors import run
from fast_sae.params import load_params, parse_section
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.checkpoint import STAGE, save_sae
from fast_sae.sae.settings import SAESettings
from fast_sae.training.loop import train_sae
from fast_sae.training.settings import TrainSettings, training_record


def main(
    activations: Path = Path("data/activations"),
    sae: Path = Path("models/sae"),
    metrics: Path = Path("metrics/train_sae.json"),
    plots: Path = Path("metrics/plots/train_sae"),
) -> None:
    """Fit on train, stop and calibrate on validation; write the best weights, the metrics and the curves."""
    params = load_params()
    model = parse_section(params, "model", ModelSettings)
    extract = parse_section(params, "extract", ExtractSettings)
    sae_settings = parse_section(params, "sae", SAESettings)
    settings = parse_section(params, "train", TrainSettings)
    runtime = parse_section(params, "runtime", RuntimeSettings)
    opened = Activations(
        activations, sae_settings.layer, model, extract, settings.source, settings.buffer_tokens, runtime
    )
    train, validation = opened.open("train"), opened.open("validation")
    trained = train_sae(sae_settings, settings, train, validation, runtime)
    record = training_record(model, extract, sae_settings, settings)
    used = {"train_sha256": train.provenance.sha256, "validation_sha256": validation.provenance.sha256}
    used["validation_prepared_sha256"] = validation.provenance.prepared_sha256
    facts = {"activations": {**used, **train.provenance.model}, **round_metrics(trained.metrics)}
    with whole_folder(sae) as folder:
        save_sae(trained.sae, folder)
        write_manifest(folder, STAGE, record, facts, versions=("torch",))
    write_metrics(metrics, "train", trained.metrics)
    trained.history.write(plots)


if __name__ == "__main__":
    run(main)
