"""A process in which one library runs: asked and answered in lines of JSON, so that runs can alternate.

Each library keeps its process, and with it its own threads, kernels compiled and memory pools.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import torch

from benchmarks.clock import Clock
from benchmarks.settings import LIBRARIES, SETTINGS, Setting
from benchmarks.task import Task, measure_fvu

ROOT = Path(__file__).resolve().parents[1]
_WARM_UP = 3
"""Steps on an SAE of the same shape before the measured run."""


class Worker:
    """The parent's side."""

    def __init__(self, library: str) -> None:
        """Start the process of a library."""
        self.library = library
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", **_QUIET}
        command = [sys.executable, "-m", "benchmarks.worker", library]
        self._process = Popen(command, stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT, env=environment)

    def run(self, setting: Setting, store: Path, seed: int, steps: int, device: str) -> dict[str, float]:
        """Train once.

        Raises:
            RuntimeError: if the library's process has ended; what it said stands above.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"setting": setting.name, "store": str(store), "seed": seed, "steps": steps, "device": device}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"{self.library} ended in {setting.name}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


_QUIET = {"WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}


def serve(library: str) -> None:
    """Answer every line of standard input until it ends; whatever a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    train = importlib.import_module(LIBRARIES[library]).train
    for line in sys.stdin:
        answers.write(json.dumps(answer(train, **json.loads(line))) + "\n")
        answers.flush()


def answer(train, *, setting: str, store: str, seed: int, steps: int, device: str) -> dict[str, float]:  # noqa: ANN001  (a library's train)
    """Warm up, train, and measure what came of it."""
    place = torch.device(device)
    told = (SETTINGS[setting], Path(store))
    train(Task(*told, _WARM_UP, seed, place), Clock(place))
    clock, task = Clock(place), Task(*told, steps, seed, place)
    reconstruct = train(task, clock)
    fvu = measure_fvu(task, reconstruct)
    del reconstruct
    if place.type == "cuda":
        torch.cuda.empty_cache()
    tokens_per_s = steps * task.setting.batch / clock.seconds
    spent = {"seconds": clock.seconds, "cpu_seconds": clock.cpu_seconds}
    return {"tokens_per_s": tokens_per_s, "fvu": fvu, "steps": steps, **spent}


if __name__ == "__main__":
    serve(sys.argv[1])
