"""Training, ours and each peer in turn: tokens/s of the loop, FVU on held-out rows, and rooflines of that minute."""

import statistics
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.peak import measure_peaks, rooflines
from benchmarks.results import write_results
from benchmarks.rows import mixture_store, text_store
from benchmarks.settings import SETTINGS, Setting
from benchmarks.task import HELD_OUT
from benchmarks.worker import Worker
from fast_sae.progress import say

_SEED = 0


def measure(asked: Namespace, results: dict) -> None:
    """Run every setting that was asked for, and put what was found into `results`, setting by setting."""
    workers: dict[str, Worker] = {}
    try:
        for setting in _settings(asked):
            runs, peaks = _alternate(setting, workers, asked)
            found = results.setdefault("training", {}).setdefault(setting.name, {})
            found |= {library: _summarise(of_library) for library, of_library in runs.items()}
            described = asdict(setting) | {"device": asked.device, "seed": _SEED, "peaks": peaks}
            results.setdefault("machine", {}).setdefault("training", {})[setting.name] = described
            write_results(results)  # a setting takes minutes: what is done stays
    finally:
        for worker in workers.values():
            worker.close()


def _settings(asked: Namespace) -> list[Setting]:
    chosen = asked.settings or [name for name, setting in SETTINGS.items() if setting.device == asked.device]
    return [SETTINGS[name] for name in chosen]


def _alternate(
    setting: Setting, workers: dict[str, Worker], asked: Namespace
) -> tuple[dict[str, list[dict]], list[dict]]:
    store, device = _store(setting, asked), torch.device(asked.device)
    libraries = [name for name in setting.libraries if name in asked.libraries]
    runs: dict[str, list[dict]] = {name: [] for name in libraries}
    peaks = []
    for repeat in range(asked.repeats):
        found = measure_peaks(setting, device)
        peaks.append(found | rooflines(setting, found))
        for name in libraries:
            if name not in workers:
                workers[name] = Worker(name)
            run = workers[name].run(setting, store, _SEED, setting.steps, asked.device)
            runs[name].append(run)
            cores = run["cpu_seconds"] / run["seconds"]
            say(
                f"{setting.name} {repeat + 1}/{asked.repeats} {name:20} {run['tokens_per_s']:10,.0f} tokens/s, "
                f"FVU {run['fvu']:.3f}, {cores:.2f} cores"
            )
    return runs, peaks


def _store(setting: Setting, asked: Namespace) -> Path:
    if setting.source == "texts":
        return text_store(asked.texts, asked.model)
    wanted = [s for s in SETTINGS.values() if (s.source, s.d_in, s.device) == ("mixture", setting.d_in, setting.device)]
    return mixture_store(setting.d_in, max(s.batch * s.steps for s in wanted), HELD_OUT)


def _summarise(runs: list[dict]) -> dict:
    middle = {name: statistics.median(run[name] for run in runs) for name in ("tokens_per_s", "fvu")}
    return middle | {"runs": runs}
