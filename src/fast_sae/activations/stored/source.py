"""Activations that `extract_activations` has written: memory-mapped shards, read where they lie."""

from collections.abc import Iterator
from typing import cast

import numpy as np
from jaxtyping import Float, Int, UInt8

from fast_sae.activations.source import Provenance, Rows, rows_of_kinds, sampled_rows
from fast_sae.activations.split import SplitFolder

_GATHERED = 32
"""Batches fetched from disk at once, so that each shard is read in order for many of them."""


class StoredActivations:
    """One layer and split on disk; an `ActivationSource`."""

    def __init__(self, folder: SplitFolder) -> None:
        """Read a split whose activations are stored."""
        assert folder.facts.stored
        self.provenance: Provenance = folder.provenance
        self.d_in: int = folder.facts.d_in
        self.kind: UInt8[np.ndarray, " row"] = folder.kind
        self._shards = cast(list[Rows], folder.shards)
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])

    def chunks(self, rows: int) -> Iterator[Rows]:
        """Go once through the split in order, at most `rows` rows at a time."""
        for shard in self._shards:
            for at in range(0, len(shard), rows):
                yield Rows(**{name: array[at : at + rows] for name, array in vars(shard).items()})

    def shuffled(
        self, kinds: tuple[int, ...], rows: int, *, seed: int, epoch: int
    ) -> Iterator[Float[np.ndarray, "portion d_in"]]:
        """Go once through the rows of some kinds in a random order, as many batches at once as are gathered."""
        index = np.random.default_rng([seed, epoch]).permutation(rows_of_kinds(self, kinds))
        for at in range(0, len(index), rows * _GATHERED):
            yield self._take(index[at : at + rows * _GATHERED])

    def sample(self, kinds: tuple[int, ...], n: int, *, seed: int) -> Float[np.ndarray, "sampled d_in"]:
        """Return n random rows of some kinds, in the order of the split; all of them if there are no more."""
        return self._take(sampled_rows(self, kinds, n, seed))

    def _take(self, index: Int[np.ndarray, " taken"]) -> Float[np.ndarray, "taken d_in"]:
        """Return the given rows, in the given order; shard by shard in the order on disk."""
        taken = np.empty((len(index), self.d_in), self._shards[0].activations.dtype)
        order = np.argsort(index, kind="stable")
        cuts = np.searchsorted(index[order], self._starts)
        for shard, start, first, last in zip(self._shards, self._starts, cuts, cuts[1:], strict=False):
            here = order[first:last]
            taken[here] = shard.activations[index[here] - start]
        return taken
