"""A split, whole examples at a time, and which latents are above 0 on which tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Int64

from fast_sae.activations.source import ActivationSource, Rows, Tokens
from fast_sae.features.tables import stored_number
from fast_sae.sae.base import SparseAutoencoder


class Peaks(NamedTuple):
    """The largest activation of each latent that fires in each group of tokens (window or example)."""

    group: Int64[np.ndarray, " peak"]
    """Rising."""
    latent: Int64[np.ndarray, " peak"]
    """Rising within a group."""
    value: Float32[np.ndarray, " peak"]
    start: Int64[np.ndarray, " peak"]
    """Where its entries start, in the order by group and latent."""


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

    def order_by(self, group: Int[np.ndarray, " row"]) -> Int64[np.ndarray, " entry"]:
        """Order the entries by the group of their token, then by latent, then by token."""
        return np.lexsort((self.row, self.latent, group[self.row]))

    def peaks(self, group: Int[np.ndarray, " row"]) -> Peaks:
        """Return the largest activation of each latent in each group of tokens."""
        order = self.order_by(group)
        groups, latents = group[self.row[order]].astype(np.int64), self.latent[order]
        differs = np.ones(len(order), bool)
        differs[1:] = (groups[1:] != groups[:-1]) | (latents[1:] != latents[:-1])
        start = np.flatnonzero(differs)
        value = np.maximum.reduceat(self.value[order], start) if len(start) else self.value
        return Peaks(groups[start], latents[start], value, start)


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
        found = [np.empty((0, 2), np.int64)], [np.empty(0)]
        for at in range(0, len(rows), self.batch_rows):
            x = torch.from_numpy(np.array(rows.activations[at : at + self.batch_rows])).to(self.sae.b_dec)
            latents = self.sae.encode(x)
            active = (latents > 0) & torch.from_numpy(trained[at : at + self.batch_rows]).to(x.device)[:, None]
            found[0].append(active.nonzero().cpu().numpy() + np.array([at, 0]))
            found[1].append(latents[active].double().cpu().numpy())
        row, latent = np.concatenate(found[0]).T
        tokens = Tokens(rows.example, rows.position, rows.token_id, rows.kind)
        window = first_window + number_windows(rows, self.window_tokens)
        return Encoded(tokens, trained, window, row, latent, stored_number(np.concatenate(found[1])))


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
