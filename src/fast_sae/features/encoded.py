"""A split, whole examples at a time, and which latents are above 0 on which tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Int64

from fast_sae.activations.source import ActivationSource, Rows, Tokens
from fast_sae.features.tables import stored_number
from fast_sae.sae.base import SparseAutoencoder

_NONE = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True)
class Encoded:
    """Some whole examples as tokens, and an entry for each latent above 0 on a token of the trained kinds."""

    tokens: Tokens
    trained: Bool[np.ndarray, " row"]
    window: Int64[np.ndarray, " row"]
    """The number of the token's window within the split, rising from one batch to the next."""
    row: Int64[np.ndarray, " entry"]
    latent: Int64[np.ndarray, " entry"]
    value: Float32[np.ndarray, " entry"]
    """The activation, of 11 significant bits."""

    @property
    def windows(self) -> range:
        """The numbers of the windows."""
        return range(int(self.window[0]), int(self.window[-1]) + 1)

    @cached_property
    def by_window(self) -> "Grouped":
        """The entries by window and latent."""
        return Grouped.of(self, self.window)

    @cached_property
    def by_example(self) -> "Grouped":
        """The entries by example and latent."""
        return Grouped.of(self, self.tokens.example)


@dataclass(frozen=True)
class Grouped:
    """The entries of a batch by the group of their token (window or example) and by latent, with each peak."""

    order: Int64[np.ndarray, " entry"]
    """The entries by group, then latent, then token."""
    start: Int64[np.ndarray, " peak"]
    """Where those of each group and latent start in it."""
    group: Int64[np.ndarray, " peak"]
    """Rising."""
    latent: Int64[np.ndarray, " peak"]
    """Rising within a group."""
    peak: Float32[np.ndarray, " peak"]
    """The largest activation."""

    @classmethod
    def of(cls, encoded: Encoded, group: Int[np.ndarray, " row"]) -> "Grouped":
        """Group the entries of a batch."""
        width = int(encoded.latent.max(initial=0)) + 1
        key = group[encoded.row].astype(np.int64) * width + encoded.latent
        order = np.argsort(key, kind="stable")
        key = key[order]
        start = np.flatnonzero(np.diff(key, prepend=-1))
        groups, latents = np.divmod(key[start], width)
        value = encoded.value[order]
        return cls(order, start, groups, latents, np.maximum.reduceat(value, start) if len(start) else value)


@dataclass(frozen=True)
class Encoder:
    """An SAE, and how its latents are read."""

    sae: SparseAutoencoder
    """In the type and on the device to compute with."""
    kinds: tuple[int, ...]
    """Kinds of tokens that it was trained on; its latents on others are not looked at."""
    window_tokens: int
    batch_rows: int

    def batches(self, source: ActivationSource) -> Iterator[Encoded]:
        """Go once through a split."""
        first = 0
        for rows in whole_examples(source, self.batch_rows):
            encoded = self._encode(rows, first)
            first = encoded.windows.stop
            yield encoded

    @torch.no_grad()
    def _encode(self, rows: Rows, first_window: int) -> Encoded:
        trained = np.isin(rows.kind, self.kinds)
        index = np.flatnonzero(trained)
        parts = [self._active(rows, index[at : at + self.batch_rows]) for at in range(0, len(index), self.batch_rows)]
        row, latent, value = (np.concatenate(part) for part in zip(_NONE, *parts, strict=True))
        tokens = Tokens(rows.example, rows.position, rows.token_id, rows.kind)
        window = first_window + number_windows(rows, self.window_tokens)
        return Encoded(tokens, trained, window, row, latent, stored_number(value))

    def _active(self, rows: Rows, index: Int64[np.ndarray, " trained"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return row, latent and activation of each latent above 0 on some rows."""
        latents = self.sae.encode(torch.from_numpy(rows.activations[index]).to(self.sae.b_dec))
        row, latent = (latents > 0).nonzero(as_tuple=True)
        value = latents[row, latent].double()
        return index[row.cpu().numpy()], latent.cpu().numpy(), value.cpu().numpy()


def whole_examples(source: ActivationSource, rows: int) -> Iterator[Rows]:
    """Go once through a split in order, about `rows` rows at a time, and cut no example.

    Memory: so many rows, or the longest example if that is longer.
    """
    left: Rows | None = None
    for chunk in source.chunks(rows):
        joined = _join(left, chunk) if left else chunk
        cut = int(np.searchsorted(joined.example, joined.example[-1]))
        if cut:
            yield _part(joined, slice(cut))
        left = _part(joined, slice(cut, None))
    if left:
        yield left


def number_windows(tokens: Tokens, window_tokens: int) -> Int64[np.ndarray, " row"]:
    """Number the windows of whole examples from 0: so many tokens each, the last of an example shorter."""
    part = tokens.position // window_tokens
    differs = np.zeros(len(tokens), bool)
    differs[1:] = (tokens.example[1:] != tokens.example[:-1]) | (part[1:] != part[:-1])
    return np.cumsum(differs)


def _part(rows: Rows, which: slice) -> Rows:
    return Rows(**{name: array[which] for name, array in vars(rows).items()})


def _join(first: Rows, second: Rows) -> Rows:
    return Rows(**{name: np.concatenate([array, getattr(second, name)]) for name, array in vars(first).items()})
