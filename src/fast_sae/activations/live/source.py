"""Activations computed when they are read: no disk, and memory that `train.buffer_tokens` bounds.

`extract_activations` has written what the tokens are; the model that its manifest names goes over them again in each
pass, sequence by sequence as it would for the store, and rounds as it would. In float64 the rows are the stored ones
to the bit, in lesser types to within what the batches change.

Cost: one pass of the truncated model per token and pass over the split. Memory: the buffer, an eighth of it, and one
batch of the model; `sample` holds what it returns.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32, UInt8

from fast_sae.activations.live.batches import cut_portions, example_lengths, pass_lengths
from fast_sae.activations.live.buffer import mix
from fast_sae.activations.live.extractor import Extractor
from fast_sae.activations.live.identity import identify
from fast_sae.activations.live.model import load_model
from fast_sae.activations.settings import STAGE, ExtractSettings, ModelSettings
from fast_sae.activations.source import Provenance, Rows, sampled_rows
from fast_sae.activations.split import SplitFolder
from fast_sae.chat.splits import Split
from fast_sae.errors import ArtifactError
from fast_sae.runtime import RuntimeSettings, torch_threads

_WINDOW = 8
"""A buffer holds so many of the windows in which sequences are sorted by length, so that it mixes them."""


@dataclass(frozen=True)
class LiveModel:
    """The language model of one layer, loaded once for all splits that are read live."""

    extractor: Extractor
    identity: dict[str, str | None]
    """Which model it is."""
    buffer_tokens: int

    def read(self, folder: SplitFolder, split: Split) -> "LiveActivations":
        """Read a split whose tokens are on disk.

        Raises:
            ArtifactError: if another model than this one is the split's.
        """
        if folder.provenance.model != self.identity:
            raise ArtifactError(f"{folder.path} is of another state of the model than now; run: dvc repro {STAGE}")
        return LiveActivations(folder, self.extractor.settings.block_of(split), self.extractor, self.buffer_tokens)


def open_live(
    layer: int, model: ModelSettings, extract: ExtractSettings, runtime: RuntimeSettings, buffer_tokens: int
) -> LiveModel:
    """Load the language model up to a layer."""
    identity = identify(model)
    loaded = load_model(model, identity["commit"], [layer], runtime.torch_device())
    extractor = Extractor.of(loaded, extract, runtime)
    return LiveModel(extractor, identity, buffer_tokens)


class LiveActivations:
    """One layer and split, computed; an `ActivationSource`."""

    def __init__(self, folder: SplitFolder, block_size: int | None, extractor: Extractor, buffer_tokens: int) -> None:
        """Take the tokens and what computes their activations.

        Args:
            folder: The split's tokens.
            block_size: Tokens in one block; None: each example is fed alone.
            extractor: Of one layer.
            buffer_tokens: Rows in the mixing buffer.
        """
        self.provenance: Provenance = folder.provenance
        self.d_in: int = extractor.model.d_in
        self.can_read_ahead: bool = False
        self.kind: UInt8[np.ndarray, " row"] = folder.kind
        self._shards = folder.shards
        self._extractor = extractor
        self._buffer_tokens = buffer_tokens
        self._threads = torch.get_num_threads()  # training leaves one to the operations around its steps
        passes = [pass_lengths(example_lengths(shard.position), block_size) for shard in folder.shards]
        self._first = np.cumsum([0, *map(len, passes)])
        """The first sequence of each shard."""
        self._starts = np.cumsum([0, *(n for of_shard in passes for n in of_shard)])
        """The first row of each sequence."""

    def chunks(self, rows: int) -> Iterator[Rows]:
        """Go once through the split in order, at most `rows` rows at a time, computing about as many at once."""
        for shard, first, last in zip(self._shards, self._first, self._first[1:], strict=False):
            for index, activations in self._compute(np.arange(first, last), rows):
                for at in range(0, len(index), rows):
                    here = index[at : at + rows] - self._starts[first]
                    facts = {name: array[here] for name, array in vars(shard).items()}
                    yield Rows(activations=activations[at : at + rows], **facts)

    def shuffled(
        self, kinds: tuple[int, ...], rows: int, *, seed: int, epoch: int
    ) -> Iterator[Float[np.ndarray, "portion d_in"]]:
        """Go once through the rows of some kinds: sequences in a random order, their rows through the mixing buffer."""
        generator = np.random.default_rng([seed, epoch])
        wanted = np.isin(self.kind, kinds)
        capacity = max(1, min(self._buffer_tokens, int(wanted.sum())))
        portions = self._select(generator.permutation(len(self._starts) - 1), wanted)
        return mix(portions, capacity, rows, generator)

    def sample(self, kinds: tuple[int, ...], n: int, *, seed: int) -> Float[np.ndarray, "sampled d_in"]:
        """Return n random rows of some kinds, in the order of the split; only their sequences are computed."""
        index = sampled_rows(self, kinds, n, seed)
        wanted = np.zeros(len(self.kind), bool)
        wanted[index] = True
        sequences = np.unique(np.searchsorted(self._starts, index, "right") - 1)
        nothing = np.empty((0, self.d_in), self._extractor.settings.dtype)
        return np.concatenate([nothing, *self._select(sequences, wanted)])

    def _select(
        self, sequences: Int[np.ndarray, " sequence"], wanted: Bool[np.ndarray, " row"]
    ) -> Iterator[Float[np.ndarray, "_ d_in"]]:
        window = max(1, self._buffer_tokens // _WINDOW)
        return (activations[wanted[index]] for index, activations in self._compute(sequences, window))

    def _compute(
        self, sequences: Int[np.ndarray, " sequence"], tokens: int
    ) -> Iterator[tuple[Int[np.ndarray, " row"], Float[np.ndarray, "row d_in"]]]:
        """Compute sequences in the given order, about so many tokens at once: the numbers of the rows, and the rows."""
        (layer,) = self._extractor.model.layers
        lengths = np.diff(self._starts).tolist()
        for window in cut_portions(sequences.tolist(), lengths.__getitem__, tokens):
            index = np.concatenate([np.arange(int(self._starts[i]), int(self._starts[i + 1])) for i in window])
            with torch_threads(self._threads):
                activations = self._extractor.compute([self._tokens(i) for i in window])[layer]
            yield index, activations

    def _tokens(self, sequence: int) -> Int32[np.ndarray, " position"]:
        shard = np.searchsorted(self._first, sequence, "right") - 1
        start, end = self._starts[sequence : sequence + 2] - self._starts[self._first[shard]]
        return self._shards[shard].token_id[start:end]
