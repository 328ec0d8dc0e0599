"""Make a page on which to look at the run and at each latent: `dvc repro build_dashboard`, then open the page.

reports/dashboard/index.html is opened by a double-click: it needs no server and no network.
"""

from pathlib import Path

from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.dashboard.build import build_dashboard
from fast_sae.dashboard.figures import read_figures
from fast_sae.dashboard.material import Material
from fast_sae.dashboard.names import read_names
from fast_sae.dashboard.settings import DashboardSettings
from fast_sae.dashboard.steered import read_steered
from fast_sae.errors import run
from fast_sae.features.settings import FeaturesSettings, features_record
from fast_sae.features.store import FeatureStore
from fast_sae.params import load_params, parse_section
from fast_sae.sae.checkpoint import load_sae, sae_sha256
from fast_sae.sae.settings import SAESettings
from fast_sae.training.settings import TrainSettings, training_record


def main(  # noqa: PLR0917  (its paths are its wiring)
    sae: Path = Path("models/sae"),
    features: Path = Path("data/features"),
    interpretations: Path = Path("data/interpretations"),
    hypotheses: Path = Path("data/hypotheses"),
    steering: Path = Path("data/steering"),
    metrics: Path = Path("metrics"),
    dashboard: Path = Path("reports/dashboard"),
) -> None:
    """Read what the stages have found, make sure that it is of one SAE, and write the page."""
    params = load_params()
    record = training_record(
        parse_section(params, "model", ModelSettings),
        parse_section(params, "extract", ExtractSettings),
        parse_section(params, "sae", SAESettings),
        parse_section(params, "train", TrainSettings),
    )
    store = FeatureStore.open(features, features_record(record, parse_section(params, "features", FeaturesSettings)))
    store.require_sae(sae_sha256(sae))
    for folder, stage in (
        (interpretations, "interpret_sae"),
        (hypotheses, "generate_hypotheses"),
        (steering, "steer_features"),
    ):
        store.require_made_of(folder, stage)
    material = Material(
        store,
        load_sae(sae).W_dec.detach().numpy(),
        read_names(interpretations / "interpretations.csv", hypotheses / "hypotheses.csv"),
        read_steered(steering),
        read_figures(metrics),
    )
    build_dashboard(material, parse_section(params, "dashboard", DashboardSettings), dashboard)


if __name__ == "__main__":
    run(main)
