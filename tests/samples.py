"""Params, activation sources and stored splits for the tests, by a few words."""

import copy
import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fast_sae.activations.shards import write_npz
from fast_sae.activations.source import Provenance, Rows, rows_of_kinds, sampled_rows
from fast_sae.activations.split import open_folder
from fast_sae.activations.stored.source import StoredActivations
from fast_sae.artifacts import write_manifest
from fast_sae.chat.kinds import Kind
from fast_sae.chat.render import Rendered
from fast_sae.chat.roles import Role
from fast_sae.evaluation.settings import EvaluateSettings
from fast_sae.params import load_params
from fast_sae.runtime import RuntimeSettings

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models/tiny-instruct"
CORPUS = ROOT / "data/raw/cognitive_actions.jsonl"


class _Absent:
    def __repr__(self) -> str:  # an address would name a test otherwise in each process
        return "ABSENT"


ABSENT = _Absent()
"""As a value in `params`: the key is left out."""


def params(**overrides: object) -> dict:
    """The repository's params.yaml with some values changed: params(**{"sae.K": 300})."""
    sections = copy.deepcopy(load_params(ROOT / "params.yaml"))
    for name, value in overrides.items():
        *folders, key = name.split(".")
        place = sections
        for folder in folders:
            place = place[folder]
        if value is ABSENT:
            del place[key]
        else:
            place[key] = value
    return sections


def copy_model(folder: Path) -> Path:
    """Copy the embedded model without what is written about it and what made it."""
    return shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("recipe", "README.md"))


def model_config(folder: Path, n_blocks: int = 4, d_in: int = 8) -> str:
    """Write the config.json of a model and return its folder's name."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"num_hidden_layers": n_blocks, "hidden_size": d_in}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


def runtime(**overrides: object) -> RuntimeSettings:
    """A runtime section for the CPU."""
    section = {
        "device": "cpu",
        "extract_batch_tokens": 64,
        "extract_rows": "padded",
        "lm_batch_tokens": 64,
        "sae_batch_rows": 3,
    } | overrides
    return RuntimeSettings.model_validate(section)


def evaluate_settings(**overrides: object) -> EvaluateSettings:
    """An evaluate section of few resamples."""
    section = {
        "source": "stored",
        "label_pooling": "max",
        "label_examples": 100,
        "bootstrap_resamples": 20,
        "confidence": 0.9,
        "seed": 0,
    } | overrides
    return EvaluateSettings.model_validate(section)


@dataclass(frozen=True)
class ArraySource:
    """Rows in memory; an `ActivationSource`."""

    rows: Rows
    provenance: Provenance

    @property
    def d_in(self) -> int:
        return self.rows.activations.shape[1]

    @property
    def kind(self) -> np.ndarray:
        return self.rows.kind

    @property
    def can_read_ahead(self) -> bool:
        return True

    def chunks(self, rows: int) -> Iterator[Rows]:
        for at in range(0, len(self.rows), rows):
            yield rows_of({name: array[at : at + rows] for name, array in vars(self.rows).items()})

    def shuffled(self, kinds: tuple[int, ...], rows: int, *, seed: int, epoch: int) -> Iterator[np.ndarray]:
        index = np.random.default_rng([seed, epoch]).permutation(rows_of_kinds(self, kinds))
        for at in range(0, len(index), 2 * rows + 1):
            yield self.rows.activations[index[at : at + 2 * rows + 1]]

    def sample(self, kinds: tuple[int, ...], n: int, *, seed: int) -> np.ndarray:
        return self.rows.activations[sampled_rows(self, kinds, n, seed)]


def rows_of(arrays: dict[str, np.ndarray]) -> Rows:
    """Rows from the arrays of a shard."""
    return Rows(**{name: arrays[name] for name in ("activations", "example", "position", "token_id", "kind")})


def written(report, folder: Path) -> tuple[dict[str, float], dict[str, list[dict[str, str]]]]:
    """What an evaluation's report writes: its metrics, and the rows of its tables."""
    report.write(folder / "metrics.json", folder / "plots")
    (metrics,) = json.loads((folder / "metrics.json").read_text()).values()
    tables = {}
    for path in (folder / "plots").glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            tables[path.stem] = list(csv.DictReader(file))
    return metrics, tables


def rendered_tokens(
    token_ids: Sequence[int], kinds: Sequence[int] | None = None, roles: Sequence[int] | None = None
) -> Rendered:
    """An example of these tokens; of these kinds (content) and roles (none)."""
    n = len(token_ids)
    kinds, roles = [Kind.CONTENT] * n if kinds is None else kinds, [Role.NONE] * n if roles is None else roles
    return Rendered(np.array(token_ids, np.int32), np.array(kinds, np.uint8), False, np.array(roles, np.uint8))


def row_arrays(
    activations: np.ndarray | Sequence, lengths: Sequence[int] | None = None, kinds: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """The arrays of a shard: examples of these lengths (one token each), of these kinds (content)."""
    activations = np.asarray(activations, None if isinstance(activations, np.ndarray) else np.float64)
    n = len(activations)
    lengths = [1] * n if lengths is None else lengths
    return {
        "activations": activations,
        "example": np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        "position": np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
        "token_id": np.arange(n, dtype=np.int32),
        "kind": np.array([Kind.CONTENT] * n if kinds is None else kinds, np.uint8),
    }


def array_source(
    activations: np.ndarray | Sequence,
    lengths: Sequence[int] | None = None,
    kinds: Sequence[int] | None = None,
    *,
    shared_prefix: int = 0,
) -> ArraySource:
    """An in-memory source; see `row_arrays`."""
    return ArraySource(
        rows_of(row_arrays(activations, lengths, kinds)),
        Provenance({}, "0" * 64, "1" * 64, shared_prefix, {"commit": None, "model_sha256": "2" * 64}),
    )


def store(folder: Path, parts: Sequence[dict[str, np.ndarray]], settings: dict, **facts: object) -> None:
    """Write the shards and the manifest of layer 2's train split under `folder`."""
    place = folder / "layer_2" / "train"
    for i, arrays in enumerate(parts):
        write_npz(place / f"shard-{i:05d}.npz", arrays)
    described = [{"file": f"shard-{i:05d}.npz", "rows": len(part["kind"])} for i, part in enumerate(parts)]
    found = {
        "d_in": parts[0]["activations"].shape[1] if "activations" in parts[0] else 0,
        "shared_prefix": 1,
        "prepared_sha256": "1" * 64,
        "stored": "activations" in parts[0],
        "commit": None,
        "model_sha256": "2" * 64,
        "shards": described,
    }
    write_manifest(place, "extract_activations", settings, found | facts)


def open_store(folder: Path, settings: dict) -> StoredActivations:
    """Open what `store` has written."""
    return StoredActivations(open_folder(folder, 2, "train", settings))
