"""Rows of an activation source as tensors: shuffled for training, in order for validation."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fast_sae.activations.source import ActivationSource

_GATHERED = 32
"""Batches fetched from disk at once, so that each shard is read in order for many of them."""


@dataclass(frozen=True)
class RowBatches:
    """Some rows of a source in portions; satisfies `fast_sae.sae.base.Batches`."""

    source: ActivationSource
    kinds: tuple[int, ...]
    batch_rows: int
    dtype: torch.dtype
    device: torch.device
    scale: float = 1.0

    @property
    def index(self):
        return np.flatnonzero(np.isin(self.source.kind, self.kinds))

    def sample(self, n, seed):
        index = self.index
        if len(index) > n:
            index = np.sort(np.random.default_rng(seed).choice(index, n, replace=False))
        return torch.from_numpy(self.source.take(index)).to(self.device, self.dtype)

    @property
    def rows(self) -> int:
        """Rows in all."""
        return len(self.index)

    def __len__(self) -> int:
        """Count the batches of one pass."""
        return len(_portions(self.rows, self.batch_rows))

    def __iter__(self) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the rows in the order of `index`."""
        return self._pass(self.index)

    def shuffled(self, seed: int, epoch: int) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the rows once in an order that hangs on nothing but seed and epoch."""
        return self._pass(np.random.default_rng([seed, epoch]).permutation(self.index))

    def _pass(self, index: Int[np.ndarray, " row"]) -> Iterator[Float[Tensor, "batch d_in"]]:
        at, gathered = 0, self.batch_rows * _GATHERED
        while at < len(index):
            end = at + gathered
            end = len(index) if len(index) - end <= 1 else end
            taken = self.source.take(index[at:end])
            x = torch.from_numpy(taken).to(self.device, self.dtype)
            yield from (x if self.scale == 1 else x * self.scale).split(_portions(end - at, self.batch_rows))
            at = end


def _portions(rows: int, size: int) -> list[int]:
    """Cut rows into portions of one size and the rest; one row left over joins the portion before it.

    A batch of one row has no variance around its mean, by which the training loss divides.

    >>> _portions(7, 3), _portions(8, 3)
    ([3, 4], [3, 3, 2])
    """
    portions = [size] * (rows // size) + ([rows % size] if rows % size else [])
    return portions if len(portions) < 2 or portions[-1] > 1 else [*portions[:-2], portions[-2] + 1]
