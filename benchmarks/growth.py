"""How cost grows with tokens, latents and width: seconds and anonymous memory, each point in a process of its own.

`python -m benchmarks.growth training 128 256 10240 FOLDER` is one point. All stay on the CPU.
"""

import json
import os
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.holes import EXAMPLE_ROWS, write_split
from benchmarks.rows import changed
from benchmarks.watch import watch
from fast_sae.activations.held import Held
from fast_sae.activations.settings import STAGE
from fast_sae.activations.split import open_folder
from fast_sae.activations.stored.source import StoredActivations
from fast_sae.artifacts import read_manifest
from fast_sae.chat.kinds import Kind
from fast_sae.evaluation.evaluate import evaluate_sae
from fast_sae.evaluation.settings import EvaluateSettings
from fast_sae.params import load_params, parse_section
from fast_sae.progress import say
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.build import build_sae
from fast_sae.sae.settings import SAESettings
from fast_sae.training.batches import RowBatches
from fast_sae.training.loop import train_sae
from fast_sae.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[1]
PLOT = ROOT / "docs/images/growth.svg"
_SHARD_ROWS = 10240
_KINDS = tuple(int(kind) for kind in Kind if kind is not Kind.BEGIN_OF_TEXT)
_ENOUGH = 10.0
"""Seconds of one point's runs after which it is not repeated again."""
_LONGEST = 300.0
"""Seconds after which a run is ended, and counted as so many."""
_FEW = 32
"""Latents in the warm-up."""


@dataclass(frozen=True)
class Point:
    """One size of the problem."""

    d_in: int = 128
    M: int = 256
    tokens: int = _SHARD_ROWS


_AXES: Mapping[str, list[Point]] = {
    "tokens": [Point(tokens=_SHARD_ROWS * n) for n in (1, 3, 10, 30, 100, 300, 1000)],
    "M": [Point(M=2**n) for n in range(8, 17)],
    "d_in": [Point(d_in=2**n) for n in range(7, 13)],
}
_PARTS = {"training": ("tokens", "M", "d_in"), "evaluation": ("tokens", "M", "d_in"), "loading": ("tokens", "d_in")}
"""What is measured along which axes."""


def measure(asked: Namespace, results: dict) -> None:
    """Measure every point, fit the exponents, put them into `results` and draw the plot."""
    found: dict[str, dict] = {}
    for axis, points in _AXES.items():
        for part in (part for part, axes in _PARTS.items() if axis in axes):
            measured = [_measure(part, point, asked.repeats) for point in points]
            sizes = [getattr(point, axis) for point in points]
            exponents = {name: fit_exponent(sizes, [m[name] for m in measured]) for name in ("seconds", "peak_anon_gb")}
            found.setdefault(part, {})[axis] = {axis: sizes, "points": measured, "exponents": exponents}
    results["growth"] = found
    draw(found, PLOT)


def fit_exponent(sizes: list[int], costs: list[float]) -> dict[str, float]:
    """Fit cost = c · size^exponent to the upper half of the points, by least squares of the logarithms.

    Returns:
        The exponent, and the root mean square of what is left of log(cost).

    >>> fit_exponent([1, 2, 4, 8], [9.0, 9.0, 16.0, 64.0])["exponent"]
    2.0
    """
    x, y = (np.log(np.array(values, float)[len(sizes) // 2 :]) for values in (sizes, costs))
    slope, offset = np.polyfit(x, y, 1)
    return {"exponent": float(round(slope, 6)), "residual": float(np.sqrt(np.mean((y - slope * x - offset) ** 2)))}


def draw(found: Mapping[str, Mapping[str, dict]], path: Path) -> None:
    """Draw cost against size, a column for each axis; the same figures give the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "growth", "svg.fonttype": "none"}):
        figure = Figure(figsize=(11, 6), layout="constrained")
        panels = figure.subplots(2, len(_AXES), sharey="row")
        for row, (cost, label) in enumerate({"seconds": "seconds", "peak_anon_gb": "anonymous memory, GB"}.items()):
            for panel, axis in zip(panels[row], _AXES, strict=True):
                for part, by_axis in found.items():
                    if axis in by_axis:
                        _line(panel, part, by_axis[axis], axis, cost)
                panel.set(xscale="log", yscale="log", xlabel=axis, ylabel=label)
                panel.legend(frameon=False, fontsize="small")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})


def _line(panel, part: str, found: dict, axis: str, cost: str) -> None:  # noqa: ANN001  (matplotlib's Axes)
    exponent = found["exponents"][cost]["exponent"]
    values = [point[cost] for point in found["points"]]
    panel.plot(found[axis], values, marker="o", markersize=3, label=f"{part} ∝ {axis}^{exponent:.2f}")


def _measure(part: str, point: Point, repeats: int) -> dict[str, float | int]:
    """Run a point up to `repeats` times, and return medians."""
    runs, begun = [], time.monotonic()
    with TemporaryDirectory(prefix="growth-") as folder:
        for split, tokens in (("train", point.tokens), ("validation", _SHARD_ROWS)):
            write_split(Path(folder) / f"layer_0/{split}", point.d_in, tokens // _SHARD_ROWS, {}, rows=_SHARD_ROWS)
        while len(runs) < repeats and (not runs or time.monotonic() - begun < _ENOUGH):
            runs.append(_run(part, point, folder))
    found = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    say(f"{part} {point}: {found['seconds']:.3f} s, {found['peak_anon_gb']:.3f} GB, {len(runs)} runs")
    return found | {"runs": len(runs)}


def _run(part: str, point: Point, folder: str) -> dict[str, float]:
    arguments = ["-m", "benchmarks.growth", part, str(point.d_in), str(point.M), str(point.tokens), folder]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", "TQDM_DISABLE": "1"}
    found = watch(arguments, ROOT, environment, _LONGEST)
    if not found.finished:
        return {"seconds": _LONGEST, "peak_anon_gb": found.peak_anon / 1e9}
    return json.loads(found.output) | {"peak_anon_gb": found.peak_anon / 1e9}


def _train(point: Point, folder: Path, split: str) -> None:
    params = load_params(ROOT / "params.yaml")
    how = {"dtype": "float32", "gradient_bits": None, "epochs": 1}
    settings = parse_section(changed(params, "train", how), "train", TrainSettings)
    train_sae(_sae_settings(point), settings, _open(folder, split), _open(folder, "validation"), _runtime())


def _evaluate(point: Point, folder: Path, split: str) -> None:
    sae = build_sae(point.d_in, _sae_settings(point))
    sae.initialise(torch.zeros(point.d_in, dtype=torch.float64), torch.Generator().manual_seed(0), tied=True)
    settings = parse_section(load_params(ROOT / "params.yaml"), "evaluate", EvaluateSettings)
    validation, test = (_held(folder, "validation"), replace(_held(folder, split), split="test"))
    evaluate_sae(sae, validation, test, settings, kinds=_KINDS, dtype=torch.float32, runtime=_runtime())


def _load(point: Point, folder: Path, split: str) -> None:
    for _ in RowBatches(_open(folder, split), _KINDS, 512, torch.float32, torch.device("cpu")).shuffled(0, 0):
        pass


_CHILD: Mapping[str, Callable[[Point, Path, str], None]] = {
    "training": _train,
    "evaluation": _evaluate,
    "loading": _load,
}


def _sae_settings(point: Point) -> SAESettings:
    shape = {"architecture": "topk", "M": point.M, "K": 8, "matryoshka": None}
    return parse_section(changed(load_params(ROOT / "params.yaml"), "sae", shape), "sae", SAESettings)


def _runtime() -> RuntimeSettings:
    return parse_section(load_params(ROOT / "params.yaml"), "runtime", RuntimeSettings).model_copy(
        update={"device": "cpu"}
    )


def _open(folder: Path, split: str) -> StoredActivations:
    place = folder / "layer_0" / split
    return StoredActivations(open_folder(folder, 0, split, read_manifest(place, STAGE).settings))


def _held(folder: Path, split: str) -> Held:
    source = _open(folder, split)
    return Held("validation", source, [None] * (len(source.kind) // EXAMPLE_ROWS))


def _main(part: str, d_in: str, m: str, tokens: str, folder: str) -> None:
    """Measure one point in this process, warmed up on a few rows and latents, and print its seconds."""
    point = Point(int(d_in), int(m), int(tokens))
    _CHILD[part](replace(point, M=_FEW), Path(folder), "validation")  # modules that load late, and compiled kernels
    begun, cpu = time.perf_counter(), time.process_time()
    _CHILD[part](point, Path(folder), "train")
    spent = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - cpu}
    sys.stdout.write(json.dumps(spent) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
