"""What an extraction will take, told before it starts: tokens, bytes and time; and its portions, the shards."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fast_sae.activations.live.batches import cut_portions
from fast_sae.activations.live.model import TruncatedModel
from fast_sae.chat.render import Rendered
from fast_sae.errors import ArtifactError

_ROW_FACTS = 4 + 4 + 4 + 1
"""Bytes beside the activations in one row: example, position, token id, kind."""


_TRIED = 8
"""Examples in the batch whose speed is measured: few, so that it fits where the real batches do not."""


@dataclass(frozen=True)
class Plan:
    """The size of an extraction."""

    examples: int
    tokens: int
    stored: int
    """Tokens whose activations are computed and kept."""
    bytes: int
    """Of all shards of all layers."""

    @classmethod
    def of(cls, rendered: Sequence[Rendered], *, stored_share: float, layers: int, d_in: int, itemsize: int) -> "Plan":
        """Size up the given examples.

        Args:
            rendered: Every example of every split.
            stored_share: Share of their tokens whose activations are kept, 0 to 1.
            layers: Layers kept.
            d_in: Width of one row.
            itemsize: Bytes of one stored number.
        """
        tokens = sum(len(example.token_ids) for example in rendered)
        stored = round(tokens * stored_share)
        return cls(len(rendered), tokens, stored, layers * (stored * d_in * itemsize + tokens * _ROW_FACTS))

    def scaled(self, factor: float) -> "Plan":
        """Return the plan of so many times the examples."""
        return Plan(*(round(number * factor) for number in (self.examples, self.tokens, self.stored, self.bytes)))

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
                "fewer extract.layers, name fewer splits in extract.store, or set data.max_examples"
            )

    def tell(self, tokens_per_second: float | None) -> str:
        """Say in one line what is to come; no speed: no activations are kept."""
        size = f"{self.examples:,} examples, {self.tokens:,} tokens, {_size(self.bytes)} of "
        if tokens_per_second is None:
            return f"{size}tokens, whose activations are computed live"
        seconds = round(self.stored / tokens_per_second)
        return (
            f"{size}activations; about {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} at "
            f"{tokens_per_second:,.0f} tokens/s"
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
    shards = cut_portions(range(len(lengths)), lengths.__getitem__, shard_rows)
    return [range(shard[0], shard[-1] + 1) for shard in shards]


def _size(n_bytes: int | float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:  # what rounds to three digits
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"
