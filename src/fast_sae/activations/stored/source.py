"""Activations that `extract_activations` has written: memory-mapped shards, read where they lie."""

from collections.abc import Iterator
from typing import cast

import numpy as np
from jaxtyping import Float, Int, UInt8

from fast_sae.activations.source import Provenance, Rows, rows_of_kinds, sampled_rows
from fast_sae.activations.split import SplitFolder

_GATHERED = 2**21
"""Bytes of rows fetched at once, each shard's in its order on disk: so few stay in the cache until they are put in
their order."""
_ROWS = 2048
"""Rows fetched at once, at least: fewer would be a call for a few rows of each shard."""


class StoredActivations:
    """One layer and split on disk; an `ActivationSource`."""

    def __init__(self, folder: SplitFolder) -> None:
        """Read a split whose activations are stored."""
        assert folder.facts.stored
        self.provenance: Provenance = folder.provenance
        self.d_in: int = folder.facts.d_in
        self.kind: UInt8[np.ndarray, " row"] = folder.kind
        self.can_read_ahead: bool = True
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
        """Go once through the rows of some kinds in a random order, at most a batch at a time."""
        index = rows_of_kinds(self, kinds)
        np.random.default_rng([seed, epoch]).shuffle(index)
        at_once = max(_ROWS, _GATHERED // (self.d_in * self._dtype.itemsize))
        for at in range(0, len(index), at_once):
            portion = index[at : at + at_once]
            order = np.argsort(portion)
            place = np.empty_like(order)
            place[order] = np.arange(len(order))
            gathered = self._take(portion[order])
            for first in range(0, len(place), rows):
                yield gathered.take(place[first : first + rows], axis=0)

    def sample(self, kinds: tuple[int, ...], n: int, *, seed: int) -> Float[np.ndarray, "sampled d_in"]:
        """Return n random rows of some kinds, in the order of the split; all of them if there are no more."""
        return self._take(sampled_rows(self, kinds, n, seed))

    def _take(self, index: Int[np.ndarray, " taken"]) -> Float[np.ndarray, "taken d_in"]:
        """Return the given rows, whose numbers rise."""
        taken = np.empty((len(index), self.d_in), self._dtype)
        cuts = np.searchsorted(index, self._starts)
        for shard, start, first, last in zip(self._shards, self._starts, cuts, cuts[1:], strict=False):
            if first < last:  # clip, since numpy would else copy `out` to leave it as it was if a number is wrong
                rows = np.asarray(shard.activations)
                rows.take(index[first:last] - start, axis=0, out=taken[first:last], mode="clip")
        return taken

    @property
    def _dtype(self) -> np.dtype:
        return self._shards[0].activations.dtype
