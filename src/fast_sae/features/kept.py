"""The windows kept of a split: for each latent some of the strongest, some at random, and some where it is silent.

Each window draws one number; of the windows in which a latent fires, and of those in which it does not, the ones with
the smallest numbers are a random sample without replacement (Vitter 1985, algorithm R, gives the same distribution).
So latents share windows where they can, and a part of a split gives the same numbers however it is cut into batches.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, Int32, Int64, UInt8

from fast_sae.features.encoded import Encoded
from fast_sae.features.settings import FeaturesSettings

_POOL = 20
"""Windows drawn, for each that is wanted of a silent latent: enough for latents that fire in 95 % of all windows."""


@dataclass(frozen=True)
class WindowTokens:
    """The tokens of one window."""

    example: int
    start: int
    token_ids: Int32[np.ndarray, " token"]
    kinds: UInt8[np.ndarray, " token"]


class BestWindows:
    """For each latent, the windows of the lowest keys and what it does in them; the first of equals.

    Memory: 4 bytes per latent, window kept and token of a window.
    """

    def __init__(self, M: int, n: int, window_tokens: int) -> None:
        """Keep n windows of each of M latents."""
        self.key: Float[np.ndarray, "M n"] = np.full((M, n), np.inf)
        self.window: Int64[np.ndarray, "M n"] = np.full((M, n), -1)
        self.activations: Float32[np.ndarray, "M n token"] = np.zeros((M, n, window_tokens), np.float32)
        self._worst = np.full(M, np.inf)

    def add(self, encoded: Encoded, key: Float[np.ndarray, " peak"]) -> Int64[np.ndarray, " kept"]:
        """Take the latents' windows of a batch, whose numbers are higher than those of all before.

        Args:
            encoded: The batch.
            key: Of each window and latent that fires in it, as `encoded.by_window` lists them; the lowest are kept.

        Returns:
            The windows taken.
        """
        peaks = encoded.by_window
        able = np.flatnonzero(key < self._worst[peaks.latent])
        able = able[np.lexsort((able, key[able], peaks.latent[able]))]
        latents, group, rank = _ranks(peaks.latent[able])
        n = self.key.shape[1]
        able, group, rank = able[rank < n], group[rank < n], rank[rank < n]
        offered = np.full((len(latents), n), np.inf)
        offered[group, rank] = key[able]
        entry = np.zeros((len(latents), n), np.int64)
        entry[group, rank] = able
        kept_slots, row, rank = _lowest(self.key[latents], offered)
        slot = np.nonzero(~kept_slots)[1]
        chosen = entry[row, rank]
        latent = latents[row]
        self.key[latent, slot], self.window[latent, slot] = offered[row, rank], peaks.group[chosen]
        self.activations[latent, slot] = _activations(encoded, chosen, self.activations.shape[2])
        self._worst[latents] = self.key[latents].max(1)
        return peaks.group[chosen]

    def of(self, latent: int) -> tuple[Int64[np.ndarray, " kept"], Float32[np.ndarray, "kept token"]]:
        """Return a latent's windows and what it does in them, those of the strongest peak first."""
        there = np.flatnonzero(self.window[latent] >= 0)
        windows, activations = self.window[latent, there], self.activations[latent, there]
        order = np.lexsort((windows, -activations.max(1, initial=0)))
        return windows[order], activations[order]


class SilentPool:
    """Windows drawn at random, with the latents that fire in them: a latent's silent windows are those without it."""

    def __init__(self, n: int) -> None:
        """Keep n windows."""
        self._n = n
        self._held: dict[int, tuple[float, Int64[np.ndarray, " latent"]]] = {}
        self._worst = np.inf

    def add(self, encoded: Encoded, key: Float[np.ndarray, " window"]) -> list[int]:
        """Take the windows of a batch and return those that were taken."""
        peaks, windows = encoded.by_window, encoded.windows
        bounds = np.searchsorted(peaks.group, np.arange(windows.start, windows.stop + 1))
        taken = [i for i in range(len(windows)) if key[i] < self._worst]
        for i in taken:
            self._held[windows[i]] = (
                float(key[i]),
                peaks.latent[bounds[i] : bounds[i + 1]].copy(),
            )  # a view would keep its batch
        if len(self._held) > self._n:
            self._held = dict(sorted(self._held.items(), key=lambda item: item[1][0])[: self._n])
            self._worst = max(drawn for drawn, _ in self._held.values())
        return [windows[i] for i in taken]

    def windows(self) -> list[int]:
        """Return the windows held."""
        return [*self._held]

    def silent(self, M: int, n: int) -> list[Int64[np.ndarray, " kept"]]:
        """Return, for each of M latents, the n windows drawn first in which it is silent; fewer if there are not."""
        order = sorted(self._held, key=lambda window: self._held[window][0])
        fires = np.zeros((len(order), M), bool)
        for i, window in enumerate(order):
            fires[i, self._held[window][1]] = True
        numbers = np.array(order, np.int64)
        return [numbers[~fires[:, latent]][:n] for latent in range(M)]


class KeptWindows:
    """All that is kept of one split's windows."""

    def __init__(self, M: int, settings: FeaturesSettings, seed: list[int]) -> None:
        """Start with nothing."""
        self.top = BestWindows(M, settings.top_windows, settings.window_tokens)
        self.firing = BestWindows(M, settings.sampled_windows, settings.window_tokens)
        self._silent_wanted = settings.silent_windows
        self._pool = SilentPool(_POOL * settings.silent_windows)
        self._generator = np.random.default_rng(seed)
        self.tokens: dict[int, WindowTokens] = {}
        """The tokens of each window that is kept, and of some that no longer are."""
        self._prune_at = 2 * _POOL * settings.silent_windows

    def add(self, encoded: Encoded) -> None:
        """Take whole examples."""
        peaks, windows = encoded.by_window, encoded.windows
        drawn = self._generator.random(len(windows))
        taken = {
            *self.top.add(encoded, -peaks.peak.astype(np.float64)).tolist(),
            *self.firing.add(encoded, drawn[peaks.group - windows.start]).tolist(),
            *self._pool.add(encoded, drawn),
        }
        bounds = np.searchsorted(encoded.window, np.arange(windows.start, windows.stop + 1))
        for window in taken:
            here = slice(*bounds[window - windows.start : window - windows.start + 2])
            example, start = int(encoded.tokens.example[here.start]), int(encoded.tokens.position[here.start])
            ids, kinds = encoded.tokens.token_id[here].copy(), encoded.tokens.kind[here].copy()
            self.tokens[window] = WindowTokens(example, start, ids, kinds)
        if len(self.tokens) > self._prune_at:
            self._prune()

    def silent(self) -> list[Int64[np.ndarray, " kept"]]:
        """Return the windows kept of each latent in which it is silent, in the order they were drawn."""
        return self._pool.silent(len(self.top.key), self._silent_wanted)

    def _prune(self) -> None:
        """Forget the tokens of windows that are kept no longer."""
        kept = {*self.top.window.ravel().tolist(), *self.firing.window.ravel().tolist(), *self._pool.windows()}
        self.tokens = {window: tokens for window, tokens in self.tokens.items() if window in kept}
        self._prune_at = max(self._prune_at, 2 * len(self.tokens))


def _ranks(
    group: Int[np.ndarray, " entry"],
) -> tuple[Int64[np.ndarray, " group"], Int64[np.ndarray, " entry"], Int64[np.ndarray, " entry"]]:
    """Return the distinct groups of sorted entries, which of them each entry is in, and its place there.

    >>> _ranks(np.array([4, 4, 7]))
    (array([4, 7]), array([0, 0, 1]), array([0, 1, 0]))
    """
    groups, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    return groups.astype(np.int64), inverse, np.arange(len(group)) - first[inverse]


def _lowest(
    held: Float[np.ndarray, "group n"], offered: Float[np.ndarray, "group n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose the n lowest of 2n keys in each group; of equals those held, then those offered first.

    Returns:
        Which of those held stay, and group and place of those offered that are chosen: as many as do not stay.
    """
    n = held.shape[1]
    order = np.argsort(np.hstack([held, offered]), axis=1, kind="stable")[:, :n]
    chosen = np.zeros((len(held), 2 * n), bool)
    np.put_along_axis(chosen, order, values=True, axis=1)
    group, place = np.nonzero(chosen[:, n:])
    return chosen[:, :n], group, place


def _activations(
    encoded: Encoded, chosen: Int64[np.ndarray, " chosen"], width: int
) -> Float32[np.ndarray, "chosen token"]:
    """Return what the latents of some peaks do at each token of their windows."""
    peaks = encoded.by_window
    length = np.diff(peaks.start, append=len(peaks.order))[chosen]
    which = np.repeat(np.arange(len(chosen)), length)
    entry = peaks.order[np.repeat(peaks.start[chosen], length) + _counted(length)]
    first = np.searchsorted(encoded.window, peaks.group[chosen])
    found = np.zeros((len(chosen), width), np.float32)
    found[which, encoded.row[entry] - first[which]] = encoded.value[entry]
    return found


def _counted(length: Int64[np.ndarray, " group"]) -> Int64[np.ndarray, " entry"]:
    """Count from 0 within each group.

    >>> _counted(np.array([2, 0, 3]))
    array([0, 1, 0, 1, 2])
    """
    return np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
