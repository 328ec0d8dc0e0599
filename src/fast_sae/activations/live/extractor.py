"""The pass of the truncated model over some tokens, sequence by sequence, rounded as activations are stored.

A sequence is an example alone (FAST) or a block. "Alone" is about attention, not batch size: a length-sorted batch
whose padding no token attends to gives each sequence the activations of a pass of its own, and so do several sequences
in one row that each attend to themselves.

Cost: one pass of the blocks up to the deepest layer per token; memory: the model, one batch, and what is returned.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor

from fast_sae.activations.live.batches import Row, plan_batches, plan_packed
from fast_sae.activations.live.model import TruncatedModel
from fast_sae.activations.settings import ExtractSettings
from fast_sae.errors import ModelError
from fast_sae.progress import say
from fast_sae.runtime import RuntimeSettings

Tokens = Int32[np.ndarray, "_"]
_CHECKED = 4
"""Sequences on which packed rows are compared with a pass of each alone."""
_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Largest ‖packed − alone‖ / ‖alone‖ of a token: rounding over tens of blocks; attention to another's tokens shows as
much more."""


@dataclass
class Extractor:
    """One model and how to keep what it computes."""

    model: TruncatedModel
    settings: ExtractSettings
    batch_tokens: int
    """Tokens in one batch, padding included; halved when the GPU runs out of memory."""
    packed: bool = False
    """Whether several sequences share a row of a batch."""
    _compared: bool = field(default=False, init=False)

    @classmethod
    def of(
        cls,
        model: TruncatedModel,
        settings: ExtractSettings,
        runtime: RuntimeSettings,
    ) -> "Extractor":
        """Make one that works in the portions of the runtime section.

        Raises:
            ModelError: if rows shall be packed, and the model is not causal or takes no positions.
        """
        packed = runtime.extract_rows == "packed"
        if packed and not (model.causal and model.takes_positions):
            raise ModelError("this model is not causal or takes no positions; set runtime.extract_rows: padded")
        return cls(model, settings, runtime.extract_tokens(), packed)

    def compute(
        self, passes: Sequence[Tokens], done: Callable[[int], object] = lambda tokens: None
    ) -> dict[int, Float[np.ndarray, "_ d_in"]]:
        """Compute the rows of some sequences for every layer, one sequence behind another, rounded as they are stored.

        Args:
            passes: Token ids of each sequence, none empty.
            done: Told the number of tokens of each batch when it is computed.
        """
        lengths = [len(tokens) for tokens in passes]
        starts = np.cumsum([0, *lengths])
        kept = {n: np.empty((starts[-1], self.model.d_in), self.settings.dtype) for n in self.model.layers}
        self._compare(passes)
        pending = set(range(len(passes)))
        while pending:
            for batch in self._plan(sorted(pending), lengths):
                states = self._compute([[passes[i].tolist() for i in row] for row in batch])
                if states is None:
                    self._back_off(batch, lengths)
                    break  # and plan what is left in smaller batches
                members = [i for row in batch for i in row]
                pending -= set(members)
                for layer, parts in states.items():
                    stored = np.split(self._store(torch.cat(parts), layer), np.cumsum([lengths[i] for i in members]))
                    for i, rows in zip(members, stored, strict=False):  # behind the last cut, nothing is left
                        kept[layer][starts[i] : starts[i + 1]] = rows
                done(sum(lengths[i] for i in members))
        return kept

    def _plan(self, sequences: Sequence[int], lengths: Sequence[int]) -> Iterator[list[Row]]:
        return (plan_packed if self.packed else plan_batches)(sequences, lengths, self.batch_tokens)

    def _compute(self, rows: list[list[list[int]]]) -> dict[int, list[Tensor]] | None:
        """Compute one batch; None if the device has no memory for it."""
        try:
            return self._states(rows)
        except torch.OutOfMemoryError:
            return None  # the memory is free again only when the exception is gone

    def _states(self, rows: list[list[list[int]]]) -> dict[int, list[Tensor]]:
        if self.packed:
            return self.model.packed_states(rows)
        return self.model.hidden_states([sequence for row in rows for sequence in row])

    def _back_off(self, batch: Sequence[Row], lengths: Sequence[int]) -> None:
        """Make batches smaller; a row that does not fit by itself ends the run."""
        longest = sum(lengths[i] for i in batch[0])
        if len(batch) == 1:
            row, mend = ("row", ", or set runtime.extract_rows: padded") if self.packed else ("sequence", "")
            raise ModelError(
                f"the device has no memory for one {row} of {longest} tokens; lower extract.max_length or, where "
                f"examples are packed into blocks, extract.block_size{mend}"
            )
        torch.cuda.empty_cache()
        self.batch_tokens = min(self.batch_tokens, longest * len(batch)) // 2
        say(f"out of memory: going on with runtime.extract_batch_tokens={self.batch_tokens}")

    def _store(self, rows: Float[Tensor, "row d_in"], layer: int) -> Float[np.ndarray, "row d_in"]:
        """Round to the stored type; a number that it cannot hold ends the run."""
        stored = rows.to(getattr(torch, self.settings.dtype))
        if not _all_finite(stored):
            if not _all_finite(rows):
                raise ModelError(f"layer {layer} gives NaN or infinity; use another model.dtype")
            raise ModelError(
                f"layer {layer} reaches {rows.abs().max().item():.0f}, more than {self.settings.dtype} holds; "
                "set extract.dtype: float32"
            )
        return stored.cpu().numpy()

    def _compare(self, passes: Sequence[Tokens]) -> None:
        """Compare packed rows, once, with a pass of each sequence alone.

        Raises:
            ModelError: if a token's activations differ by more than rounding: the model does not tell packed sequences
                apart.
        """
        if not self.packed or self._compared or len(passes) < 2:
            return
        few = [tokens.tolist() for tokens in sorted(passes, key=len)[: len(passes) // 2 + 1][-_CHECKED:]]
        packed = self.model.packed_states([few])
        alone = [self.model.hidden_states([sequence]) for sequence in few]
        for layer in self.model.layers:
            for part, single in zip(packed[layer], alone, strict=True):
                difference, norm = ((x.double()).norm(dim=1) for x in (part - single[layer][0], single[layer][0]))
                if not bool((difference <= _TOLERANCE[part.dtype] * norm).all()):
                    raise ModelError(
                        f"packed rows change the activations of layer {layer} of this model by up to "
                        f"{float((difference / norm).max()):.1g} of their norm; set runtime.extract_rows: padded"
                    )
        self._compared = True


def _all_finite(rows: Float[Tensor, "row d_in"]) -> bool:
    """Whether no number is NaN or infinite: the least and the largest are not, found in one pass without a mask."""
    return bool(torch.stack(torch.aminmax(rows)).isfinite().all())
