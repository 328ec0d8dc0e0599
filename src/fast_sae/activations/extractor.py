"""FAST extraction: each example alone through the truncated model, its rows into shards.

"Alone" is about attention, not batch size: a length-sorted batch under an attention mask gives each example the
activations of a pass of its own. Batches never cross a shard, so that resuming changes nothing.

Cost: one pass of the blocks up to the deepest layer per token; memory: the model, one batch and one shard per layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from transformers import PreTrainedTokenizerBase

from fast_sae.activations.model import TruncatedModel
from fast_sae.activations.plan import plan_batches, plan_shards
from fast_sae.activations.scratch import Scratch
from fast_sae.activations.settings import ExtractSettings
from fast_sae.activations.shards import write_npz
from fast_sae.artifacts import Json
from fast_sae.chat.render import Rendered
from fast_sae.errors import ModelError
from fast_sae.progress import progress_bar, say


@dataclass
class Extractor:
    """One model and how to keep what it computes."""

    model: TruncatedModel
    settings: ExtractSettings
    batch_tokens: int
    """Tokens in one batch, padding included; halved when the GPU runs out of memory."""
    pad_left: bool
    """Whether shorter examples of a batch are padded in front, as the tokenizer has it."""

    @classmethod
    def of(
        cls, model: TruncatedModel, tokenizer: PreTrainedTokenizerBase, settings: ExtractSettings, batch_tokens: int
    ) -> "Extractor":
        """Make one that pads as the tokenizer does; a model that is not causal is padded behind."""
        return cls(model, settings, batch_tokens, tokenizer.padding_side == "left" and model.is_causal())

    def extract(self, rendered: Sequence[Rendered], ids: Sequence[str], split: str, scratch: Scratch) -> list[Json]:
        """Write the shards of one split for every layer into the scratch folder, and describe them.

        Args:
            rendered: The examples of the split as tokens.
            ids: Their names.
            split: Its name.
            scratch: Where the shards wait until all are there; whole ones of an earlier, killed run are kept.
        """
        lengths = [len(example.token_ids) for example in rendered]
        shards = plan_shards(lengths, self.settings.shard_rows)
        with progress_bar(f"extract {split}", "token", sum(lengths)) as progress:
            for number, examples in enumerate(shards):
                paths = {n: scratch.path / f"layer_{n}" / split / shard_name(number) for n in self.model.layers}
                if not all(path.exists() for path in paths.values()):
                    arrays = self.compute(rendered, examples, progress.update)
                    facts = row_facts(rendered, examples) | {"example_ids": np.array([ids[i] for i in examples])}
                    for layer, path in paths.items():
                        write_npz(path, {"activations": arrays[layer]} | facts)
                else:
                    progress.update(sum(lengths[i] for i in examples))
        return [
            {"file": shard_name(number), "rows": sum(lengths[i] for i in examples), "examples": len(examples)}
            for number, examples in enumerate(shards)
        ]

    def compute(
        self, rendered: Sequence[Rendered], examples: range, done: Callable[[int], object]
    ) -> dict[int, Float[np.ndarray, "_ d_in"]]:
        """Compute the rows of one shard for every layer, in order and rounded as they are stored.

        Args:
            rendered: The examples of the split as tokens.
            examples: Which of them the shard holds.
            done: Told the number of tokens of each batch when it is computed.
        """
        starts = np.cumsum([0, *(len(rendered[i].token_ids) for i in examples)])
        kept = {n: np.empty((starts[-1], self.model.d_in), self.settings.dtype) for n in self.model.layers}
        lengths = [len(example.token_ids) for example in rendered[: examples.stop]]
        pending = set(examples)
        while pending:
            for batch in plan_batches(sorted(pending), lengths, self.batch_tokens):
                states = self._compute([rendered[i].token_ids.tolist() for i in batch])
                if states is None:
                    self._back_off(batch, lengths)
                    break  # and plan what is left in smaller batches
                pending -= set(batch)
                for layer, rows in states.items():
                    for i, row in zip(batch, rows, strict=True):
                        at = starts[i - examples.start]
                        kept[layer][at : at + lengths[i]] = self._store(row, layer)
                done(sum(lengths[i] for i in batch))
        return kept

    def _compute(self, sequences: list[list[int]]) -> dict[int, list[torch.Tensor]] | None:
        """Compute one batch; None if the device has no memory for it."""
        try:
            return self.model.hidden_states(sequences, pad_left=self.pad_left)
        except torch.OutOfMemoryError:
            return None  # the memory is free again only when the exception is gone

    def _back_off(self, batch: Sequence[int], lengths: Sequence[int]) -> None:
        """Make batches smaller; an example that does not fit by itself ends the run."""
        if len(batch) == 1:
            raise ModelError(
                f"the device has no memory for one example of {lengths[batch[0]]} tokens; lower extract.max_length"
            )
        torch.cuda.empty_cache()
        self.batch_tokens = min(self.batch_tokens, lengths[batch[0]] * len(batch)) // 2
        say(f"out of memory: going on with runtime.extract_batch_tokens={self.batch_tokens}")

    def _store(self, row: torch.Tensor, layer: int) -> Float[np.ndarray, "position d_in"]:
        """Round to the stored type; a number that it cannot hold ends the run."""
        stored = row.to(getattr(torch, self.settings.dtype))
        if not bool(torch.isfinite(stored).all()):
            if not bool(torch.isfinite(row).all()):
                raise ModelError(f"layer {layer} gives NaN or infinity; use another model.dtype")
            raise ModelError(
                f"layer {layer} reaches {row.abs().max().item():.0f}, more than {self.settings.dtype} holds; "
                "set extract.dtype: float32"
            )
        return stored.cpu().numpy()


def shard_name(number: int) -> str:
    """Name a shard file."""
    return f"shard-{number:05d}.npz"


def row_facts(rendered: Sequence[Rendered], examples: range) -> dict[str, np.ndarray]:
    """Return what each row of a shard is: example (its number in `rendered`), position, token_id and kind."""
    lengths = [len(rendered[i].token_ids) for i in examples]
    return {
        "example": np.repeat(np.array(examples, np.int32), lengths),
        "position": np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
        "token_id": np.concatenate([rendered[i].token_ids for i in examples]),
        "kind": np.concatenate([rendered[i].kinds for i in examples]),
    }
