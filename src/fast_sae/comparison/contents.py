"""What a revision holds of a run: metrics, parameters, curves, the SAE, and what its latents do and are called."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np
import yaml
from jaxtyping import Int

from fast_sae.annotation.origin import Origin, read_origin
from fast_sae.artifacts import Json
from fast_sae.comparison.behaviour import Behaviour, read_behaviour
from fast_sae.comparison.collect import alive_latents, read_metrics
from fast_sae.comparison.revision import Revision
from fast_sae.errors import ArtifactError, UserError
from fast_sae.page.cells import flat
from fast_sae.rows import read_rows
from fast_sae.sae.checkpoint import sae_sha256

_SAE = "models/sae"
_FEATURES = "data/features"
_NAMES = (
    ("interpret_sae", "data/interpretations/interpretations.csv", "neuron_idx"),
    ("generate_hypotheses", "data/hypotheses/hypotheses.csv", "latent"),
)
"""Stage, table and column of the latent's number; the first table that names a latent counts."""
_NAMED = ("explained", "named")
"""What either table says of a latent that has a name."""
_CURVES = "metrics/plots/train_sae"
_DENSITY = "metrics/plots/evaluate_sae/density.csv"


@dataclass(frozen=True)
class Contents:
    """A run, read."""

    revision: Revision
    metrics: Mapping[str, float]
    """By name, such as `evaluate.l0`."""
    params: Mapping[str, str]
    """By flat key, such as `sae.K`, as JSON."""
    curves: Mapping[str, list[tuple[float, float]]]
    """By name, such as `loss`: step and value."""
    density: list[tuple[str, int]]
    """Lower edge of log10 density, or `dead`, and latents."""
    origin: Origin
    alive: Int[np.ndarray, " alive"]
    """Numbers of the latents that are compared, rising."""
    behaviour: Behaviour | None
    """Of exactly these; None where no features of this SAE are at hand."""
    names: Mapping[int, str]
    """By latent, of those that have one."""
    notes: tuple[str, ...]
    """What is left out and why."""

    @property
    def model(self) -> object:
        """What tells the language model from another, whatever it is called here: the digest of its weights."""
        activations = cast(Json, self.origin.manifest.facts.get("activations", {}))
        return activations.get("model_sha256") or (self.origin.model.name, self.origin.model.revision)


def read_contents(revision: Revision, folder: Path) -> Contents:
    """Read a run; DVC's part of it is copied into the folder.

    Raises:
        UserError: if it has no SAE, or one that is not at hand or cannot be read by this code.
    """
    if not revision.holds(_SAE):
        raise UserError(f"{revision} has no SAE ({_SAE}); run there: dvc repro train_sae")
    sae = revision.fetch(_SAE, folder / "sae")
    try:
        origin = read_origin(sae)
    except ArtifactError as error:
        raise UserError(f"{revision}: its SAE cannot be read: {str(error).replace(str(sae), _SAE)}") from None
    stale = stale_stages(revision.text("dvc.lock"))
    notes = [f"{revision}: made of another SAE or not run since, and left out: {', '.join(stale)}"] if stale else []
    behaviour = _behaviour(revision, folder, stale, notes)
    return Contents(
        revision,
        read_metrics(revision, without=stale),
        _params(revision),
        dict(_curves(revision)),
        _density(revision),
        origin,
        _alive(revision, origin, behaviour, folder, notes),
        behaviour,
        _names(revision, folder, stale) if behaviour else {},
        tuple(notes),
    )


def stale_stages(lock: str | None) -> list[str]:
    """Name the stages of a dvc.lock that have read another state of an output than it holds, and those behind them.

    An experiment that ends early, as `make paper`'s do, keeps the later stages' results of the commit that it began at.

    >>> stale_stages("stages: {a: {outs: [{path: x, md5: aa}]}, b: {deps: [{path: x, md5: ab}]}}")
    ['b']
    """
    stages = yaml.safe_load(lock or "stages: {}")["stages"]
    made = {out["path"]: (name, out.get("md5")) for name, stage in stages.items() for out in stage.get("outs", [])}
    stale: list[str] = []
    while found := [name for name in stages if name not in stale and _is_stale(stages[name], made, stale)]:
        stale += found
    return [name for name in stages if name in stale]


def _is_stale(stage: dict, made: Mapping[str, tuple[str, str | None]], stale: list[str]) -> bool:
    read = [(*made[dep["path"]], dep.get("md5")) for dep in stage.get("deps", []) if dep["path"] in made]
    return any(maker in stale or then != now for maker, now, then in read)


def _params(revision: Revision) -> dict[str, str]:
    content = yaml.safe_load(revision.text("params.yaml") or "{}")
    settings = flat(content) if isinstance(content, dict) else ()
    return {key: json.dumps(value, ensure_ascii=False, default=str) for key, value in settings}


def _curves(revision: Revision) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    for path in revision.names(_CURVES):
        name = PurePosixPath(path).stem
        rows = csv.DictReader(io.StringIO(revision.text(path) or ""))
        yield name, [(float(row["step"]), float(row[name])) for row in rows if row.get(name)]


def _density(revision: Revision) -> list[tuple[str, int]]:
    rows = csv.DictReader(io.StringIO(revision.text(_DENSITY) or ""))
    return [(row["log10_density"], int(row["latents"])) for row in rows]


def _behaviour(revision: Revision, folder: Path, stale: list[str], notes: list[str]) -> Behaviour | None:
    if "collect_features" in stale:
        return None
    if not revision.holds(_FEATURES):
        notes.append(f"{revision} has no features ({_FEATURES}): what its latents do is not known")
        return None
    features = revision.fetch(_FEATURES, folder / "features")
    try:
        return read_behaviour(features, sae_sha256(folder / "sae"))
    except ArtifactError as error:
        notes.append(f"{revision}: its features are left out: {str(error).replace(str(features), _FEATURES)}")
        return None


def _alive(
    revision: Revision, origin: Origin, behaviour: Behaviour | None, folder: Path, notes: list[str]
) -> Int[np.ndarray, " alive"]:
    if behaviour:
        return behaviour.latents.index.to_numpy()
    try:
        fired = alive_latents(revision, origin, folder)
    except UserError:
        fired = None  # the activations are not at hand
    if fired is None:
        notes.append(f"{revision}: no held-out activations show which latents fire: all are compared, dead ones too")
        return np.arange(origin.sae.settings.M)
    return np.flatnonzero(fired)


def _names(revision: Revision, folder: Path, stale: list[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for stage, path, column in _NAMES:
        if stage in stale or not revision.holds(path):
            continue
        for row in read_rows(revision.fetch(path, folder / f"{stage}.csv")):
            if row["status"] in _NAMED:
                names.setdefault(int(row[column]), row["interpretation"])
    return names
