"""The run's own figures: metrics with their intervals, training curves, and latents by density."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fast_sae.artifacts import Json, read_json
from fast_sae.errors import ArtifactError
from fast_sae.page.cells import shorts
from fast_sae.rows import read_rows, reading

_STAGES = {
    **{"prepare_data": "prepare", "train_sae": "train", "evaluate_sae": "evaluate", "evaluate_in_model": "in_model"},
    **{"interpret_sae": "interpret", "generate_hypotheses": "hypotheses", "steer_features": "steer"},
}
"""The metrics files, each a stage's, and the section of each."""
_CURVES = ("loss", "validation_loss", "l0", "dead_fraction")
_BOUNDS = ("_low", "_high")


@dataclass(frozen=True)
class Figures:
    """`metrics`, `curves` and `density` of the contract."""

    metrics: list[list[object]]
    curves: Json
    density: list[list[object]]


def read_figures(metrics: Path) -> Figures:
    """Read what the stages measured.

    Args:
        metrics: The folder of the metrics files, with the tables of plots below it.

    Raises:
        ArtifactError: if one is missing or damaged.
    """
    found = [
        line
        for stage, section in _STAGES.items()
        for line in _metrics(section, read_json(metrics / f"{stage}.json", stage).get(section))
    ]
    curves = {name: _table(metrics / f"plots/train_sae/{name}.csv", "train_sae") for name in _CURVES}
    density = _table(metrics / "plots/evaluate_sae/density.csv", "evaluate_sae", texts=1)
    return Figures(found, {name: table for name, table in curves.items() if table}, density)


def _metrics(section: str, values: object) -> Iterator[list[object]]:
    """Yield section, name, value and bounds; a bound stands by its figure alone."""
    if not isinstance(values, Mapping):
        raise ArtifactError(f"the metrics of {section} are no section of numbers; run: dvc repro")
    for name, value in values.items():
        if not any(name.endswith(end) and name.removesuffix(end) in values for end in _BOUNDS):
            yield [section, name, value, *(values.get(f"{name}{end}") for end in _BOUNDS)]


def _table(path: Path, stage: str, texts: int = 0) -> list[list[object]]:
    """Read rows of numbers, behind so many columns of texts."""
    with reading(path, stage):
        rows = [[*row.values()] for row in read_rows(path)]
        return [[*row[:texts], *shorts(row[texts:])] for row in rows]
