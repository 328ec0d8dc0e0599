"""How often and how strongly each latent fires in a split, in sums that add up over parts of it."""

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer

from fast_sae.chat.kinds import Kind
from fast_sae.features.encoded import Encoded

PER_OCTAVE = 16
"""Bins of activation per doubling: 4.4 % wide."""
_LOWEST, _HIGHEST = -20, 20
"""Exponents of 2 between which activations are told apart."""
_BINS = (_HIGHEST - _LOWEST) * PER_OCTAVE
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def bin_edges() -> Float64[np.ndarray, " edge"]:
    """Return where the bins begin, and where the last one ends."""
    return 2.0 ** (_LOWEST + np.arange(_BINS + 1) / PER_OCTAVE)


class FiringSums:
    """Counts of a split or a part of it, over tokens of the trained kinds.

    Memory: 5 kB per latent, nearly all of it the histogram.
    """

    def __init__(self, M: int) -> None:
        """Start at 0."""
        self.tokens = self.windows = self.examples = 0
        self.fired: Int64[np.ndarray, " M"] = np.zeros(M, np.int64)
        """Tokens on which each latent fires; below, windows and examples in which it does."""
        self.windows_fired: Int64[np.ndarray, " M"] = np.zeros(M, np.int64)
        self.examples_fired: Int64[np.ndarray, " M"] = np.zeros(M, np.int64)
        self.by_kind: Int64[np.ndarray, "M kind"] = np.zeros((M, len(Kind)), np.int64)
        self.histogram: Int64[np.ndarray, "M bin"] = np.zeros((M, _BINS), np.int64)
        """Firings by activation; see `bin_edges`."""
        self.total: Float64[np.ndarray, " M"] = np.zeros(M)
        """Sum of the activations."""
        self.largest: Float64[np.ndarray, " M"] = np.zeros(M)

    def add(self, encoded: Encoded) -> None:
        """Count whole examples."""
        latent, value, tokens, M = encoded.latent, encoded.value.astype(np.float64), encoded.tokens, len(self.fired)
        self.tokens += int(encoded.trained.sum())
        self.windows += len(encoded.windows)
        self.examples += len(np.unique(tokens.example))
        self.fired += np.bincount(latent, minlength=M)
        self.total += np.bincount(latent, value, M)
        np.maximum.at(self.largest, latent, value)
        self.windows_fired += np.bincount(encoded.by_window.latent, minlength=M)
        self.examples_fired += np.bincount(encoded.by_example.latent, minlength=M)
        np.add.at(self.by_kind, (latent, tokens.kind[encoded.row]), 1)
        np.add.at(self.histogram, (latent, _bin(value)), 1)

    def merge(self, other: "FiringSums") -> None:
        """Add another part of the same split."""
        largest = np.maximum(self.largest, other.largest)
        for name, sums in vars(other).items():
            setattr(self, name, getattr(self, name) + sums)
        self.largest = largest

    @property
    def mean(self) -> Float64[np.ndarray, " M"]:
        """The mean activation where a latent fires; 0 of one that does not."""
        return self.total / np.maximum(self.fired, 1)

    def quantiles(self) -> Float64[np.ndarray, "M quantile"]:
        """Return the `QUANTILES` of each latent's activations where it fires, 2.2 % off at most; 0 if it does not.

        Equation: within the bin that holds the wanted rank, activations are taken to lie evenly by their logarithm.
        """
        below = np.cumsum(self.histogram, 1)
        edges = np.log2(bin_edges())
        found = np.zeros((len(self.fired), len(QUANTILES)))
        for latent in np.flatnonzero(self.fired):
            wanted = np.array(QUANTILES) * self.fired[latent]
            at = np.searchsorted(below[latent], wanted)
            inside = (wanted - (below[latent, at] - self.histogram[latent, at])) / self.histogram[latent, at]
            found[latent] = 2.0 ** (edges[at] + inside * (edges[at + 1] - edges[at]))
        return np.minimum(found, self.largest[:, None])


def _bin(value: Float[np.ndarray, " entry"]) -> Integer[np.ndarray, " entry"]:
    """Find the bin of each activation; what lies beyond either end counts in the last one there."""
    return np.clip(np.floor((np.log2(value) - _LOWEST) * PER_OCTAVE).astype(np.int64), 0, _BINS - 1)
