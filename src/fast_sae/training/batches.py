"""Rows of an activation source as tensors: shuffled for training, in order for validation."""

import math
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
    index: Int[np.ndarray, " row"]
    """The rows, by their number in the split."""
    batch_rows: int
    dtype: torch.dtype
    device: torch.device

    @property
    def rows(self) -> int:
        """Rows in all."""
        return len(self.index)

    def __len__(self) -> int:
        """Count the batches of one pass."""
        return math.ceil(self.rows / self.batch_rows)

    def __iter__(self) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the rows in the order of `index`."""
        return self._pass(self.index)

    def shuffled(self, seed: int, epoch: int) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the rows once in an order that hangs on nothing but seed and epoch."""
        return self._pass(np.random.default_rng([seed, epoch]).permutation(self.index))

    def _pass(self, index: Int[np.ndarray, " row"]) -> Iterator[Float[Tensor, "batch d_in"]]:
        for at in range(0, len(index), self.batch_rows * _GATHERED):
            taken = self.source.take(index[at : at + self.batch_rows * _GATHERED])
            yield from torch.from_numpy(taken).to(self.device, self.dtype).split(self.batch_rows)
