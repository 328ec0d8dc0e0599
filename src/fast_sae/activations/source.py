"""The one seam through which training, evaluation and features see activations."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Int32, UInt8

from fast_sae.artifacts import Json

_LOOKED_AT = 2**20
"""Rows whose kinds are compared at once: numpy takes 8 bytes for each meanwhile, and a split may have 10⁸."""


@dataclass(frozen=True)
class Tokens:
    """What some tokens are."""

    example: Int32[np.ndarray, " row"]
    """Index of the example within its split, in the order of data/prepared."""
    position: Int32[np.ndarray, " row"]
    """Index of the token within its example."""
    token_id: Int32[np.ndarray, " row"]
    kind: UInt8[np.ndarray, " row"]
    """A `fast_sae.chat.kinds.Kind`."""

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.example)


@dataclass(frozen=True)
class Rows(Tokens):
    """Activations of some tokens, and what each token is."""

    activations: Float[np.ndarray, "row d_in"]
    """As stored; convert before computing."""


@dataclass(frozen=True)
class Provenance:
    """What activations come from."""

    settings: Json
    """The sections of params.yaml they hang on."""
    sha256: str
    """Digest of their manifest."""
    prepared_sha256: str
    """Digest of the examples they were computed from."""
    shared_prefix: int
    """Leading positions whose whole prefix is the same in all examples; 0 if the model is not causal or the examples
    were not fed alone."""
    model: Json
    """Which state of the language model: its `commit` on the hub or the `model_sha256` of its files, the other null."""


@runtime_checkable
class ActivationSource(Protocol):
    """The rows of one split: in order, or all of them once in a random order; never by number, which needs a store."""

    @property
    def provenance(self) -> Provenance:
        """What the rows come from."""
        ...

    @property
    def d_in(self) -> int:
        """Width of one row."""
        ...

    @property
    def kind(self) -> UInt8[np.ndarray, " row"]:
        """The kind of every row of the split; known without computing any."""
        ...

    @property
    def can_read_ahead(self) -> bool:
        """Whether a thread of its own may go through it while another takes samples: not where a model computes it."""
        ...

    def chunks(self, rows: int) -> Iterator[Rows]:
        """Go once through the split in order, at most `rows` rows at a time."""
        ...

    def shuffled(
        self, kinds: tuple[int, ...], rows: int, *, seed: int, epoch: int
    ) -> Iterator[Float[np.ndarray, "portion d_in"]]:
        """Go once through the rows of some kinds, in an order that hangs on nothing but seed and epoch.

        Args:
            kinds: Which rows.
            rows: Size of the batches that will be cut; portions come in the sizes that suit the source.
            seed: Together with `epoch`, decides the order.
            epoch: Number of the pass.
        """
        ...

    def sample(self, kinds: tuple[int, ...], n: int, *, seed: int) -> Float[np.ndarray, "sampled d_in"]:
        """Return n random rows of some kinds, in the order of the split; all of them if there are no more."""
        ...


def rows_of_kinds(source: ActivationSource, kinds: tuple[int, ...]) -> Int[np.ndarray, " row"]:
    """Number the rows whose kind is one of `kinds`; 4 bytes a row, where that is enough, and no more on the way."""
    kind, dtype = source.kind, np.int32 if len(source.kind) < 2**31 else np.int64
    starts = range(0, len(kind), _LOOKED_AT)
    index = np.empty(sum(int(np.isin(kind[at : at + _LOOKED_AT], kinds).sum()) for at in starts), dtype)
    filled = 0
    for at in starts:
        found = np.flatnonzero(np.isin(kind[at : at + _LOOKED_AT], kinds)) + at
        index[filled : filled + len(found)] = found
        filled += len(found)
    return index


def sampled_rows(source: ActivationSource, kinds: tuple[int, ...], n: int, seed: int) -> Int[np.ndarray, " row"]:
    """Draw n numbers of rows of some kinds, rising; the same from every source of the split."""
    index = rows_of_kinds(source, kinds)
    return index if len(index) <= n else np.sort(np.random.default_rng(seed).choice(index, n, replace=False))
