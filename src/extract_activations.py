"""Read activations with FAST, each example alone: `dvc repro extract_activations` (one model pass over the data)."""

from pathlib import Path

from fast_sae.activations.extract import extract_activations
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.chat.prepared import read_prepared
from fast_sae.chat.splits import SPLITS
from fast_sae.errors import run
from fast_sae.params import load_params, parse_section
from fast_sae.runtime import RuntimeSettings


def main(prepared: Path = Path("data/prepared"), activations: Path = Path("data/activations")) -> None:
    """Render every example, say what is to come, and write the shards of every layer and split."""
    params = load_params()
    extract_activations(
        {split: read_prepared(prepared, split) for split in SPLITS},
        parse_section(params, "model", ModelSettings),
        parse_section(params, "extract", ExtractSettings),
        runtime=parse_section(params, "runtime", RuntimeSettings),
        prepared=prepared,
        destination=activations,
    )


if __name__ == "__main__":
    run(main)
