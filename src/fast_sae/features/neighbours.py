"""The latents nearest to each: by the direction they write, and by the tokens they fire on."""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Float64, Int, Int64

from fast_sae.features.encoded import Encoded

_BLOCK = 512
"""Latents compared with all others at once."""
_DIGITS = 6
"""Decimals of a similarity that decide an order: no processor's last digits do."""

Neighbours = tuple[Int64[np.ndarray, " near"], Float64[np.ndarray, " near"]]
"""Numbers of latents, the most similar first, and how similar they are."""


class CoFiring:
    """On which of some tokens, drawn beforehand, each latent fires. Memory: 8 bytes per token drawn and latent there.

    Similarity: |A ∩ B| / |A ∪ B| of the tokens on which two latents fire (Jaccard 1901).
    """

    def __init__(self, rows: Int[np.ndarray, " drawn"], M: int) -> None:
        """Look at the given rows of a split, whose numbers rise."""
        self._rows, self._M, self._at = rows, M, 0
        self._found: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, encoded: Encoded) -> None:
        """Take the next whole examples of the split."""
        row = encoded.row + self._at
        place = np.searchsorted(self._rows, row)
        here = place < len(self._rows)
        here[here] = self._rows[place[here]] == row[here]
        self._found.append((place[here].astype(np.int32), encoded.latent[here].astype(np.int32)))
        self._at += len(encoded.tokens)

    def nearest(self, latents: Int64[np.ndarray, " living"], n: int) -> Iterator[Neighbours]:
        """Yield the n latents most similar to each; fewer where fewer ever fire together with it."""
        row, latent = (np.concatenate(parts) for parts in zip(*self._found, strict=True))
        shape = (len(self._rows), self._M)
        fires = sp.csc_array((np.ones(len(row), np.int64), (row, latent)), shape=shape)[:, latents]
        count = np.asarray(fires.sum(0))
        for at in range(0, len(latents), _BLOCK):
            both = (fires[:, at : at + _BLOCK].T @ fires).toarray()
            either = count[at : at + _BLOCK, None] + count - both
            yield from _nearest(both / np.maximum(either, 1), at, latents, n, above=0.0)


def nearest_directions(
    directions: Float[np.ndarray, "living d_in"], latents: Int64[np.ndarray, " living"], n: int
) -> Iterator[Neighbours]:
    """Yield, for each latent, the n others whose decoder rows, of norm 1, have the largest cosine with its own."""
    for at in range(0, len(latents), _BLOCK):
        yield from _nearest(directions[at : at + _BLOCK] @ directions.T, at, latents, n, above=-np.inf)


def _nearest(
    similarity: Float[np.ndarray, "block living"],
    first: int,
    latents: Int64[np.ndarray, " living"],
    n: int,
    *,
    above: float,
) -> Iterator[Neighbours]:
    similarity = np.round(similarity, _DIGITS) + 0.0  # no −0, whose sign hangs on the last digits
    for i, row in enumerate(similarity):
        row[first + i] = -np.inf
        order = np.argsort(-row, kind="stable")[:n]
        order = order[row[order] > above]
        yield latents[order], row[order]
