"""The one seam through which training, evaluation and features see activations."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, UInt8

from fast_sae.artifacts import Json


@dataclass(frozen=True)
class Rows:
    """Activations of some tokens, and what each token is."""

    activations: Float[np.ndarray, "row d_in"]
    """As stored; convert before computing."""
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
class Provenance:
    """What activations come from."""

    settings: Json
    """The sections of params.yaml they hang on."""
    sha256: str
    """Digest of their manifest."""
    prepared_sha256: str
    """Digest of the examples they were computed from."""
    shared_prefix: int
    """Leading positions whose whole prefix is the same in all examples; 0 if the model is not causal."""


@runtime_checkable
class ActivationSource(Protocol):
    """The rows of one split."""

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
        """The kind of every row of the split."""
        ...

    def take(self, index: Int[np.ndarray, " taken"]) -> Float[np.ndarray, "taken d_in"]:
        """Return the activations of the given rows, in the given order."""
        ...

    def chunks(self, rows: int) -> Iterator[Rows]:
        """Go once through the split in order, at most `rows` rows at a time."""
        ...


def trainable(source: ActivationSource, kinds: tuple[int, ...]) -> Bool[np.ndarray, " row"]:
    """Mark the rows whose kind is one of `kinds`."""
    return np.isin(source.kind, kinds)
