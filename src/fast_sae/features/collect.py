"""One pass over validation and one over test, and all that is kept of what the latents do there.

Cost: one encoding per row, no gradients. Memory does not grow with a split, but for 1 byte per row (the source's
kinds), the labels, and the pooled latents of `features.pooled_examples` examples; what is kept of each latent is named
in `FeaturesSettings`.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int64

from fast_sae.activations.held import Held
from fast_sae.activations.source import sampled_rows
from fast_sae.chat.splits import Split
from fast_sae.features.encoded import Encoded, Encoder
from fast_sae.features.firing import FiringSums
from fast_sae.features.kept import KeptWindows
from fast_sae.features.neighbours import CoFiring
from fast_sae.features.settings import FeaturesSettings
from fast_sae.features.token_counts import TokenCounts
from fast_sae.progress import progress_bar

_SPLITS: tuple[Split, ...] = ("validation", "test")


class PooledLatents:
    """The largest activation of each latent in each of some examples, drawn beforehand."""

    def __init__(self, n_examples: int, M: int, settings: FeaturesSettings) -> None:
        """Draw the examples."""
        n = min(settings.pooled_examples, n_examples)
        drawn = np.random.default_rng(settings.seed).choice(n_examples, n, replace=False)
        self.examples: Int64[np.ndarray, " pooled"] = np.sort(drawn)
        self._M = M
        self._found: list[tuple[np.ndarray, ...]] = []

    def add(self, encoded: Encoded) -> None:
        """Take whole examples."""
        found = encoded.by_example
        here = np.isin(found.group, self.examples)
        place = np.searchsorted(self.examples, found.group[here])
        self._found.append((place, found.latent[here], found.peak[here]))

    def result(self) -> sp.csr_array:
        """Return them as (pooled example, M)."""
        place, latent, value = (np.concatenate(parts) for parts in zip(*self._found, strict=True))
        return sp.csr_array((value, (place, latent)), shape=(len(self.examples), self._M))


@dataclass(frozen=True)
class SplitFeatures:
    """What one pass over a split gives."""

    held: Held
    sums: FiringSums
    kept: KeptWindows
    pooled: PooledLatents


@dataclass(frozen=True)
class Collected:
    """What both passes give."""

    validation: SplitFeatures
    test: SplitFeatures
    tokens: TokenCounts
    """Of validation, as co-firing."""
    cofiring: CoFiring

    @property
    def living(self) -> Int64[np.ndarray, " living"]:
        """The latents that fire in either split."""
        return np.flatnonzero(self.validation.sums.fired + self.test.sums.fired)


def collect_features(encoder: Encoder, validation: Held, test: Held, settings: FeaturesSettings) -> Collected:
    """Go over both splits, once each.

    Args:
        encoder: The SAE.
        validation: What explains.
        test: What scores.
        settings: The `features` section.
    """
    M = encoder.sae.settings.M
    rows = sampled_rows(validation.source, encoder.kinds, settings.cofiring_rows, settings.seed)
    tokens, cofiring = TokenCounts(M), CoFiring(rows, M)
    seen = _collect(encoder, validation, settings, tokens, cofiring), _collect(encoder, test, settings)
    return Collected(*seen, tokens, cofiring)


def _collect(encoder: Encoder, held: Held, settings: FeaturesSettings, *more: TokenCounts | CoFiring) -> SplitFeatures:
    M = encoder.sae.settings.M
    kept = KeptWindows(M, settings, [settings.seed, _SPLITS.index(held.split)])
    sums, pooled = FiringSums(M), PooledLatents(len(held.labels), M, settings)
    with progress_bar(f"collect features on {held.split}", "row", len(held.source.kind)) as progress:
        for encoded in encoder.batches(held.source):
            for part in (sums, kept, pooled, *more):
                part.add(encoded)
            progress.update(len(encoded.tokens))
    return SplitFeatures(held, sums, kept, pooled)
