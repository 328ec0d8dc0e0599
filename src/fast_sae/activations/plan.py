"""What an extraction will take, told before it starts: tokens, bytes and time; and its portions, shards and batches."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fast_sae.activations.model import TruncatedModel
from fast_sae.chat.render import Rendered
from fast_sae.errors import ArtifactError

T = TypeVar("T")
_ROW_FACTS = 4 + 4 + 4 + 1
"""Bytes beside the activations in one row: example, position, token id, kind."""


_TRIED = 8
"""Examples in the batch whose speed is measured: few, so that it fits where the real batches do not."""


@dataclass(frozen=True)
class Plan:
    """The size of an extraction."""

    examples: int
    tokens: int
    bytes: int
    """Of all shards of all layers."""

    @classmethod
    def of(cls, rendered: Sequence[Rendered], *, layers: int, d_in: int, itemsize: int) -> "Plan":
        """Size up the given examples.

        Args:
            rendered: Every example of every split.
            layers: Layers kept.
            d_in: Width of one row.
            itemsize: Bytes of one stored number.
        """
        tokens = sum(len(example.token_ids) for example in rendered)
        return cls(len(rendered), tokens, tokens * layers * (d_in * itemsize + _ROW_FACTS))

    def require_disk(self, folder: Path) -> None:
        """Refuse a disk that cannot hold the shards that are not in `folder` yet.

        Raises:
            ArtifactError: if they are larger than what is free where `folder` lies.
        """
        free = shutil.disk_usage(folder).free
        missing = self.bytes - sum(path.stat().st_size for path in folder.rglob("*.npz"))
        if missing > free:
            raise ArtifactError(
                f"{folder}: {_size(missing)} of activations will not fit, {_size(free)} are free; free some, keep "
                "fewer extract.layers, or set data.max_examples"
            )

    def tell(self, tokens_per_second: float) -> str:
        """Say in one line what is to come."""
        seconds = round(self.tokens / tokens_per_second)
        return (
            f"{self.examples:,} examples, {self.tokens:,} tokens, {_size(self.bytes)} of activations; about "
            f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} at {tokens_per_second:,.0f} tokens/s"
        )


def measure_speed(model: TruncatedModel, rendered: Sequence[Rendered]) -> float:
    """Measure tokens per second on a small batch of middling examples; the first of two passes warms up."""
    middling = sorted(rendered, key=lambda example: len(example.token_ids))[len(rendered) // 2].token_ids
    batch = [middling.tolist()] * min(_TRIED, len(rendered))

    def seconds() -> float:
        start = time.perf_counter()
        model.hidden_states(batch)[model.layers[-1]][0].sum().item()  # .item() waits for a GPU
        return time.perf_counter() - start

    seconds()
    return len(batch) * len(middling) / seconds()


def plan_shards(lengths: Sequence[int], shard_rows: int) -> list[range]:
    """Cut the examples, in order, into shards; each ends with the example that fills it.

    >>> plan_shards([3, 3, 3, 1], shard_rows=5)
    [range(0, 2), range(2, 4)]
    """
    shards = cut_shards(range(len(lengths)), lengths.__getitem__, shard_rows)
    return [range(shard[0], shard[-1] + 1) for shard in shards]


def cut_shards(examples: Iterable[T], length: Callable[[T], int], shard_rows: int) -> Iterator[list[T]]:
    """Cut a stream of examples as `plan_shards` does, with no more than one shard of them in memory."""
    shard: list[T] = []
    rows = 0
    for example in examples:
        shard.append(example)
        rows += length(example)
        if rows >= shard_rows:
            yield shard
            shard, rows = [], 0
    if shard:
        yield shard


def plan_batches(examples: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Group the examples of one shard by length, the longest first, so that little is padding.

    A batch holds at most `batch_tokens` tokens, padding included, but always one example.

    >>> list(plan_batches([0, 1, 2], [2, 4, 3], batch_tokens=8))
    [[1, 2], [0]]
    """
    batch: list[int] = []
    for example in sorted(examples, key=lambda i: -lengths[i]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch


def _size(n_bytes: int | float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:  # what rounds to three digits
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"
