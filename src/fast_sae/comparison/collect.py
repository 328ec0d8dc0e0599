"""What experiments hold: metrics from git, SAEs and activations from DVC's cache."""

import csv
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Bool, Float

from fast_sae.activations.settings import STAGE as EXTRACT
from fast_sae.activations.split import open_folder
from fast_sae.activations.stored.source import StoredActivations
from fast_sae.annotation.origin import Origin, read_origin
from fast_sae.artifacts import read_manifest
from fast_sae.chat.splits import Split
from fast_sae.comparison.experiments import known_experiments
from fast_sae.comparison.matching import MOST
from fast_sae.comparison.measures import FROM_TABLE, with_derived
from fast_sae.comparison.plan import Run
from fast_sae.comparison.revision import Revision
from fast_sae.comparison.stability import firing_latents, match_decoders
from fast_sae.errors import UserError
from fast_sae.progress import with_progress

_SPLITS: tuple[Split, ...] = ("test", "validation")
"""Where to look whether a latent fires: in the first one that is stored."""
_BY_KIND = "metrics/plots/evaluate_sae/by_kind.csv"


@dataclass(frozen=True)
class Result:
    """What one run has given."""

    run: Run
    metrics: Mapping[str, float]
    """By name, such as `evaluate.l0`."""
    target_l0: float
    """sae.K: the L0 that it was to have."""
    decoder: Float[np.ndarray, "alive d_in"] | None
    """Decoder rows of the latents that fire; None if there are too many of them to match."""
    held_out: bool
    """Whether held-out activations are stored, on which to see what fires; if not, the decoder is of all latents."""


def collect(runs: Sequence[Run], commit: str) -> list[Result]:
    """Read what the experiments of a commit hold.

    Raises:
        UserError: naming a run that the commit does not have.
    """
    known = known_experiments(commit)
    if lacking := [run.name for run in runs if run.name not in known]:
        raise UserError(f"{commit[:7]} has no experiment {lacking[0]}")
    return [_read(run, Revision(run.name, known[run.name])) for run in with_progress(runs, "collect", "run")]


def read_metrics(revision: Revision, without: Collection[str] = ()) -> dict[str, float]:
    """Read all metrics files of a revision, flat: `evaluate.l0` is the key l0 of a section evaluate.

    Args:
        revision: Where.
        without: Stages whose metrics are not read.
    """
    files = [path for path in revision.names("metrics") if path.endswith(".json")]
    texts = [revision.text(path) or "{}" for path in files if PurePosixPath(path).stem not in without]
    sections = [section for text in texts for section in json.loads(text).items()]
    return {f"{name}.{key}": float(value) for name, values in sections for key, value in values.items()}


def read_varying(revision: Revision) -> dict[str, float]:
    """Read the scores without constant rows from the table by kind of token; nothing where it has no such line."""
    table = revision.text(_BY_KIND) or ""
    lines = {line["kind"]: line for line in csv.DictReader(table.splitlines())}
    cells = {name: lines.get(kind, {}).get(column) for (kind, column), name in FROM_TABLE.items()}
    return {name: float(cell) for name, cell in cells.items() if cell}


def seed_pairs(results: Sequence[Result]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each pair of seeds of runs that differ in nothing else, and the stability of the two."""
    for a, b in combinations(results, 2):
        if a.decoder is not None and b.decoder is not None and (found := match_decoders(a.decoder, b.decoder)):
            values = {"stability.mean_cosine": found.mean_cosine, "stability.shared": found.shared}
            yield f"{a.run.seed} and {b.run.seed}", values


def alive_latents(revision: Revision, origin: Origin, folder: Path) -> Bool[np.ndarray, " M"] | None:
    """Tell which latents of a revision's SAE fire on held-out tokens; None if no activations of those are stored.

    Args:
        revision: Where the activations are.
        origin: The SAE.
        folder: Where they are copied to.

    Raises:
        UserError: if they are known but not at hand.
    """
    sae = origin.sae
    for split in _SPLITS:
        path = f"data/activations/layer_{sae.settings.layer}/{split}"
        if revision.holds(path):
            place = revision.fetch(path, folder / path)
            made = read_manifest(place, EXTRACT).settings  # of one revision, they are the SAE's
            held = open_folder(folder / "data/activations", sae.settings.layer, split, made)
            if held.facts.stored:
                return firing_latents(sae, StoredActivations(held), origin.kinds)
    return None


def _read(run: Run, revision: Revision) -> Result:
    with TemporaryDirectory() as folder:
        origin = read_origin(revision.fetch("models/sae", Path(folder) / "sae"))
        rows = origin.sae.W_dec.detach().numpy()
        alive = alive_latents(revision, origin, Path(folder)) if len(rows) <= MOST else None
    decoder = None if len(rows) > MOST else rows if alive is None else rows[alive]
    metrics = with_derived(read_metrics(revision) | read_varying(revision))
    return Result(run, metrics, origin.sae.settings.K, decoder, alive is not None)
