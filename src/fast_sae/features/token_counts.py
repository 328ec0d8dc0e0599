"""On which tokens of the vocabulary each latent fires, counted in bounded memory."""

import numpy as np
from jaxtyping import Float64, Int64

from fast_sae.features.encoded import Encoded

_MOST = 2**24
"""Pairs of latent and token counted at once: 256 MB, and as much again while they are merged."""


class TokenCounts:
    """Firings by latent and token.

    Pairs are counted exactly as long as there are no more than `most`; beyond that the rarest are dropped, and a pair
    may then be counted too low by as much as `short_by` (lossy counting: Manku & Motwani 2002).
    """

    def __init__(self, M: int, most: int = _MOST) -> None:
        """Start at 0."""
        self._M, self._most = M, most
        self._pair: Int64[np.ndarray, " pair"] = np.empty(0, np.int64)
        self._count: Int64[np.ndarray, " pair"] = np.empty(0, np.int64)
        self._new: list[Int64[np.ndarray, " entry"]] = []
        self._by_latent = (self._pair, self._pair, self._count)
        self._tokens = np.zeros(0, np.int64)
        self.short_by = 0
        """By how much a pair may be counted too low."""

    def add(self, encoded: Encoded) -> None:
        """Count whole examples."""
        ids = encoded.tokens.token_id.astype(np.int64)
        self._tokens = _sum(self._tokens, np.bincount(ids[encoded.trained]))
        self._new.append(ids[encoded.row] * self._M + encoded.latent)
        if sum(map(len, self._new)) > max(len(self._pair), 2**20):  # merge seldom: each merge sorts all pairs
            self._merge_new()

    def of(self, latent: int) -> tuple[Int64[np.ndarray, " token"], Int64[np.ndarray, " token"]]:
        """Return the tokens that a latent fires on, rising, and how often it does."""
        token, latents, count = self._sorted()
        here = slice(*np.searchsorted(latents, [latent, latent + 1]))
        return token[here], count[here]

    def lift(
        self, latent: int, least: int
    ) -> tuple[Int64[np.ndarray, " token"], Int64[np.ndarray, " token"], Float64[np.ndarray, " token"]]:
        """Return tokens, firings on them, and lifts, the highest lift first.

        Equation: P(fires | token) / P(fires): 1 for a token that tells nothing of the latent.

        Args:
            latent: Its number.
            least: Firings on a token for it to be listed.
        """
        token, fired = self.of(latent)
        rate = fired.sum() / self._tokens.sum()
        often = fired >= least
        token, fired = token[often], fired[often]
        lift = fired / self._tokens[token] / rate
        order = np.lexsort((token, -fired, -np.round(lift, 9)))
        return token[order], fired[order], lift[order]

    def count(self, token: Int64[np.ndarray, " token"]) -> Int64[np.ndarray, " token"]:
        """Return how often tokens occur, of the trained kinds."""
        return self._tokens[token]

    def _sorted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self._new:
            self._merge_new()
            token, latent = np.divmod(self._pair, self._M)
            order = np.argsort(latent, kind="stable")
            self._by_latent = token[order], latent[order], self._count[order]
        return self._by_latent

    def _merge_new(self) -> None:
        pair, count = np.unique(np.concatenate(self._new), return_counts=True)
        together = np.concatenate([self._pair, pair])
        self._pair, where = np.unique(together, return_inverse=True)
        self._count = np.bincount(where, np.concatenate([self._count, count])).astype(np.int64)
        self._new = []
        if len(self._pair) > self._most:
            rarest = int(np.partition(self._count, -self._most - 1)[-self._most - 1])  # at most so many are commoner
            common = self._count > rarest
            self._pair, self._count = self._pair[common], self._count[common]
            self.short_by += rarest


def _sum(first: Int64[np.ndarray, " n"], second: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " longer"]:
    """Add counts of which one may be longer."""
    longer, shorter = (first, second) if len(first) > len(second) else (second, first)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total
