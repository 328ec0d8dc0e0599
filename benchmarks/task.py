"""One training run as every library is given it: the SAE's shape, its rows, and the rows held out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.rows import open_store
from benchmarks.settings import Setting
from fast_sae.chat.kinds import Kind
from fast_sae.training.batches import RowBatches

Reconstruct = Callable[[Float[Tensor, "batch d_in"]], Float[Tensor, "batch d_in"]]
"""The trained SAE by its own rule of inference."""
KINDS = tuple(int(kind) for kind in Kind if kind is not Kind.BEGIN_OF_TEXT)
"""Kinds of tokens trained on: all but begin-of-text, as params.yaml has it."""
HELD_OUT = 8192
"""Rows of validation on which FVU is measured, at most."""


@dataclass(frozen=True)
class Task:
    """What a library's `train` is asked to do."""

    setting: Setting
    store: Path
    """Folder of activations, as `benchmarks.rows` writes them."""
    steps: int
    seed: int
    """Of the SAE's initial weights and of the order of the rows."""
    device: torch.device

    def batches(self, split: str) -> RowBatches:
        """Read a split from disk, as `train_sae` does."""
        return RowBatches(open_store(self.store, split), KINDS, self.setting.batch, torch.float32, self.device)

    def rows(self) -> Float[Tensor, "row d_in"]:
        """Return all rows of the run in memory, in the order in which ours reads them from disk."""
        return torch.cat([x.clone() for x in self.each_batch()])

    def each_batch(self) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Read the batches of the run from disk."""
        return islice(self.batches("train").shuffled(self.seed, 0), self.steps)

    def slices(self, rows: Float[Tensor, "row d_in"]) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Cut rows in memory into the batches of the run; views, which cost nothing."""
        return iter(rows.split(self.setting.batch))

    def held_out(self) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the held-out rows, the same for every library."""
        return islice(self.batches("validation"), HELD_OUT // self.setting.batch)


@torch.no_grad()
def measure_fvu(task: Task, reconstruct: Reconstruct) -> float:
    """Return Σ‖x − x̂‖² / Σ‖x − x̄‖² over the held-out rows, summed in float64; x̄ is their mean."""
    rows = sum(len(x) for x in task.held_out())
    mean = sum(x.double().sum(0) for x in task.held_out()) / rows
    error = sum(float((x.double() - reconstruct(x).double()).square().sum()) for x in task.held_out())
    return error / sum(float((x.double() - mean).square().sum()) for x in task.held_out())
