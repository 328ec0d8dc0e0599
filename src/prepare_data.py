"""Check, de-duplicate and split the data: `dvc repro prepare_data` (seconds for thousands of examples)."""

from pathlib import Path

from fast_sae.artifacts import whole_folder, write_metrics
from fast_sae.chat.gather import gather_examples
from fast_sae.chat.prepared import write_prepared
from fast_sae.chat.settings import DataSettings
from fast_sae.chat.split import split_examples
from fast_sae.errors import run
from fast_sae.params import load_params, parse_section


def main(prepared: Path = Path("data/prepared"), metrics: Path = Path("metrics/prepare_data.json")) -> None:
    """Write train, validation and test, and count what was left out."""
    settings = parse_section(load_params(), "data", DataSettings)
    gathered = gather_examples(Path(settings.path), settings)
    with whole_folder(prepared) as folder:
        splits = split_examples(gathered.examples, settings)
        counts = write_prepared(splits, gathered.bad_lines, gathered.duplicates, folder)
    write_metrics(metrics, "prepare", counts)


if __name__ == "__main__":
    run(main)
