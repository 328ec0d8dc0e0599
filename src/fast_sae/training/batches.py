"""Rows of an activation source as tensors: shuffled for training, in order for validation."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fast_sae.activations.source import ActivationSource, rows_of_kinds
from fast_sae.training.prefetch import made_ahead, sent_ahead


@dataclass(frozen=True)
class RowBatches:
    """The rows of some kinds of a source, in batches; satisfies `fast_sae.sae.base.Batches`."""

    source: ActivationSource
    kinds: tuple[int, ...]
    """As `fast_sae.chat.kinds.Kind` numbers them."""
    batch_rows: int
    dtype: torch.dtype
    device: torch.device
    scale: float = 1.0
    """What every row is multiplied by."""

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(self._sizes)

    def __len__(self) -> int:
        """Count the batches of one pass."""
        return len(self._sizes)

    def __iter__(self) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the rows in the order of the split."""
        chunks = self.source.chunks(self.batch_rows)
        portions = (chunk.activations[np.isin(chunk.kind, self.kinds)] for chunk in chunks)
        return self._sent(self._put_together(portions, self._sizes))

    def shuffled(self, seed: int, epoch: int) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the rows once in an order that hangs on nothing but seed and epoch."""
        portions = self.source.shuffled(self.kinds, self.batch_rows, seed=seed, epoch=epoch)
        batches = self._put_together(portions, self._sizes)
        return self._sent(made_ahead(batches) if self.source.can_read_ahead else batches)

    def sample(self, n: int, seed: int) -> Float[Tensor, "row d_in"]:
        """Return n random rows, in the order of the split; all of them if there are no more."""
        sampled = self.source.sample(self.kinds, n, seed=seed)
        return next(self._sent(self._put_together(iter([sampled]), [len(sampled)])))

    @cached_property
    def _sizes(self) -> list[int]:
        """Rows of each batch; counted once, for a step may ask how many are left."""
        return _portions(len(rows_of_kinds(self.source, self.kinds)), self.batch_rows)

    def _sent(self, batches: Iterator[Float[Tensor, "batch d_in"]]) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Bring batches to a GPU, if there is one, and to their scale."""
        on_gpu = self.device.type == "cuda"
        for batch in sent_ahead(batches, self.device, self.dtype) if on_gpu else batches:
            yield batch if self.scale == 1 else batch.mul_(self.scale)

    def _put_together(
        self, portions: Iterator[Float[np.ndarray, "_ d_in"]], sizes: Iterable[int]
    ) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Copy rows into batches once: converted, or for a GPU as they are stored, into memory that it can read."""
        portion, gpu = np.empty((0, self.source.d_in), np.float32), self.device.type == "cuda"
        for size in sizes:
            portion = portion if len(portion) else next(portions)
            dtype = torch.from_numpy(portion).dtype if gpu else self.dtype
            batch = torch.empty(size, self.source.d_in, dtype=dtype, pin_memory=gpu)
            filled = 0
            while filled < size:
                portion = portion if len(portion) else next(portions)
                taken, portion = portion[: size - filled], portion[size - filled :]
                batch[filled : filled + len(taken)] = torch.from_numpy(taken)
                filled += len(taken)
            yield batch


def _portions(rows: int, size: int) -> list[int]:
    """Cut rows into portions of one size and the rest; one row left over joins the portion before it.

    A batch of one row has no variance around its mean, by which the training loss divides.

    >>> _portions(7, 3), _portions(8, 3)
    ([3, 4], [3, 3, 2])
    """
    portions = [size] * (rows // size) + ([rows % size] if rows % size else [])
    return portions if len(portions) < 2 or portions[-1] > 1 else [*portions[:-2], portions[-2] + 1]
