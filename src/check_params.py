"""Check params.yaml and the model's config before anything costly runs: `dvc repro check_params` (seconds)."""

from pathlib import Path

from fast_sae.artifacts import write_json
from fast_sae.errors import run
from fast_sae.params import load_params
from fast_sae.preflight import check


def main(stamp: Path = Path("data/params_checked.json")) -> None:
    """Parse every section, apply every rule, and write the stamp that the other stages wait for."""
    write_json(stamp, check(load_params()))


if __name__ == "__main__":
    run(main)
