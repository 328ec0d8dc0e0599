"""Anonymous memory of training and evaluation over 20 GB of stored activations, beyond the SAE and its optimiser.

The stages themselves run, each in a process of its own and in a folder of its own with its own params.yaml, over shards
of `benchmarks.holes`. Training counts and shuffles all rows, and then steps until its time is up; a training on one
shard comes before, whose validation, saving and SAE are what evaluation goes on with. Evaluation reads all rows.
"""

import os
import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks.holes import EXAMPLE_ROWS, SHARD_ROWS, write_split
from benchmarks.rows import changed
from benchmarks.watch import Watched, watch
from fast_sae.activations.settings import ExtractSettings, ModelSettings, activation_record
from fast_sae.artifacts import file_sha256
from fast_sae.chat.examples import Example, Message
from fast_sae.chat.prepared import split_path, write_prepared
from fast_sae.chat.splits import Split
from fast_sae.errors import UserError
from fast_sae.params import load_params, parse_section
from fast_sae.progress import say
from fast_sae.sae.settings import SAESettings

ROOT = Path(__file__).resolve().parents[1]
_STORED = 20 * 10**9
"""Bytes of activations in train, and in test; a fortieth of it in validation."""
_DISK = 4 * 10**9
"""Bytes of disk that they take at most."""
_LABELS = 20
_TRAINING = {"dtype": "float32", "gradient_bits": None, "epochs": 1}
_HELD_BY_TRAINING = 5
"""Weights, gradients, Adam's two moments, and the best epoch's weights."""
_WEIGHT = 4
"""Bytes of float32."""


@dataclass(frozen=True)
class Case:
    """One width of rows, and the SAE on them: large where rows are wide, small where they are many."""

    d_in: int
    M: int
    K: int
    batch: int
    training_seconds: int = 60
    evaluation_seconds: int = 400

    @property
    def shards(self) -> int:
        """Shards that hold 20 GB of float16."""
        return _STORED // (2 * self.d_in * SHARD_ROWS) + 1

    @property
    def held_out(self) -> int:
        """Shards of validation."""
        return -(-self.shards // 40)

    @property
    def sae_bytes(self) -> int:
        """Bytes of one copy of the SAE's weights."""
        return _WEIGHT * (2 * self.d_in * self.M + self.d_in + self.M)


CASES = (Case(4096, 4096, 32, 1024), Case(384, 256, 8, 512), Case(128, 256, 8, 512))


def measure(asked: Namespace, results: dict) -> None:
    """Run every case and put what was found into `results`."""
    for case in CASES:
        with _workplace(case) as folder:
            results.setdefault("memory", {})[f"d_in_{case.d_in}"] = _measure(case, folder)


def _measure(case: Case, folder: Path) -> dict[str, object]:
    record, prepared = _write_params(case, folder), folder / "data/prepared"
    write_split(
        _split(folder, "validation"), case.d_in, case.held_out, record, prepared_sha256=_prepare(case, prepared)
    )
    write_split(_split(folder, "train"), case.d_in, 1, record)
    found = {"rows": case.shards * SHARD_ROWS, "stored_gb": case.shards * SHARD_ROWS * case.d_in * 2 / 1e9, "M": case.M}
    small = _run("train_sae", folder, case.evaluation_seconds)
    write_split(_split(folder, "train"), case.d_in, case.shards, record)
    whole = _run("train_sae", folder, case.training_seconds)
    peak = max(small.peak_anon, whole.peak_anon)
    found["train_sae"] = _told(peak, _HELD_BY_TRAINING * case.sae_bytes, whole)
    shutil.rmtree(_split(folder, "train"))
    examples = file_sha256(split_path(prepared, "test"))
    write_split(_split(folder, "test"), case.d_in, case.shards, record, prepared_sha256=examples)
    whole = _run("evaluate_sae", folder, case.evaluation_seconds)
    found["evaluate_sae"] = _told(whole.peak_anon, case.sae_bytes, whole)
    return found


def _told(peak: int, held: int, run: Watched) -> dict[str, object]:
    gb: dict[str, object] = {
        "peak_anon_gb": peak / 1e9,
        "sae_and_optimiser_gb": held / 1e9,
        "beyond_gb": (peak - held) / 1e9,
    }
    return gb | {"seconds": run.seconds, "finished": run.finished}


def _run(stage: str, folder: Path, seconds: float) -> Watched:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    found = watch([str(ROOT / f"src/{stage}.py")], folder, environment, seconds)
    say(f"{stage}: {found.peak_anon / 1e9:.2f} GB of anonymous memory, {found.seconds:.0f} s in {folder.name}")
    return found


@contextmanager
def _workplace(case: Case) -> Iterator[Path]:
    """Give a folder for one case, removed in the end."""
    place = ROOT / ".scratch/bench"
    place.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(place).free) < _DISK:
        raise UserError(f"{place} has {free / 1e9:.1f} GB of free disk; the memory benchmark needs {_DISK / 1e9:.0f}")
    with TemporaryDirectory(prefix=f"memory-{case.d_in}-", dir=place) as folder:
        yield Path(folder)


def _split(folder: Path, split: Split) -> Path:
    layer = parse_section(load_params(ROOT / "params.yaml"), "sae", SAESettings).layer
    return folder / f"data/activations/layer_{layer}/{split}"


def _write_params(case: Case, folder: Path) -> dict[str, object]:
    """Write params.yaml of the case, and return what its activations' manifests say of it."""
    params = load_params(ROOT / "params.yaml")
    params |= changed(params, "sae", {"M": case.M, "K": case.K, "matryoshka": None})
    params |= changed(params, "train", {**_TRAINING, "batch_size": case.batch})
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    sections = parse_section(params, "model", ModelSettings), parse_section(params, "extract", ExtractSettings)
    return dict(activation_record(*sections))


def _prepare(case: Case, folder: Path) -> str:
    """Write examples with labels for validation and test, and return the digest of those of validation."""
    folder.mkdir(parents=True)
    of_shard = SHARD_ROWS // EXAMPLE_ROWS
    splits: dict[Split, list[Example]] = {
        "train": [],
        "validation": _examples(of_shard * case.held_out),
        "test": _examples(of_shard * case.shards),
    }
    write_prepared(splits, [], 0, folder)
    return file_sha256(split_path(folder, "validation"))


def _examples(n: int) -> list[Example]:
    messages = (Message(role="user", content="text"),)
    return [Example(str(i), messages, is_text=True, label=f"label {i * 7 % _LABELS}") for i in range(n)]
