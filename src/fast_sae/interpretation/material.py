"""What is shown and judged of a latent: windows of validation to name it and to choose a name, of test to score it.

Validation's random windows are dealt into two halves by turns, those in which the latent fires by strength: one half is
shown, the other chooses between names, so that a name is not chosen by the windows that it was read off. Each half
stands for the whole population.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from fast_sae.backends.base import Marked, Showing
from fast_sae.features.store import FeatureStore
from fast_sae.features.windows import Shown
from fast_sae.interpretation.settings import InterpretSettings

RATED = 5
"""Windows that a rating is given on, the strongest: FAST's five contexts (Li et al. 2025, arXiv:2506.07691)."""


@dataclass(frozen=True)
class Fuzzed:
    """A window in which the latent fires, with tokens marked: those on which it fires, or as many others."""

    shown: Shown
    marked: Marked
    active: bool
    """Whether the marked tokens are those on which it fires."""


@dataclass(frozen=True)
class Material:
    """All windows that are put before a backend for one latent."""

    latent: int
    showing: Showing
    choosing: Sequence[Shown]
    """Of validation, none of them shown; weighted like those of test."""
    judged: Sequence[Shown]
    """Of test; `weight` is the number of the split's windows for which each stands."""
    fuzzed: Sequence[Fuzzed]
    """Of test, the judged ones in which it fires."""
    fuzzing_left_out: int
    """Those of them in which it fires on every token, so that no other could be marked."""
    top: Sequence[Shown]
    """Of test, the strongest, of which it fires in all."""


def gather(store: FeatureStore, latent: int, settings: InterpretSettings) -> Material:
    """Collect the windows of one latent; drawing depends on the seed and the latent alone."""
    generator = np.random.default_rng([settings.seed, latent])
    firing, held_firing = _deal(store.windows(latent, "validation", "firing"))
    silent, held_silent = _deal(store.windows(latent, "validation", "silent"))
    judged = draw(store.windows(latent, "test", "firing"), store.windows(latent, "test", "silent"), settings, generator)
    fuzzed = list(_fuzz([one for one in judged if one.fires], store.trained_kinds, generator))
    strongest = _only_shown(store.windows(latent, "validation", "top"), [*firing, *held_firing])
    return Material(
        latent,
        Showing(sorted([*firing, *strongest], key=lambda one: -one.activation), silent, store.trained_kinds),
        draw(held_firing, held_silent, settings, generator),
        judged,
        fuzzed,
        sum(one.fires for one in judged) - len(fuzzed),
        [one for one in store.windows(latent, "test", "top") if one.fires][:RATED],
    )


def draw(
    firing: Sequence[Shown], silent: Sequence[Shown], settings: InterpretSettings, generator: np.random.Generator
) -> list[Shown]:
    """Draw windows to be judged: some of each decile of those in which the latent fires, some of the silent.

    A window drawn stands for those of its decile that were not drawn too: its weight grows by their share, so that the
    weights of each decile, and of the silent, add up to what they were (stratified sampling; Cochran 1977, chapter 5,
    and 12 for the two phases).
    """
    strata = [list(group) for _, group in groupby(sorted(firing, key=_decile), key=_decile)]
    drawn = [one for stratum in strata for one in _some(stratum, settings.scored_per_decile, generator)]
    return drawn + _some(silent, settings.scored_silent, generator)


def _decile(shown: Shown) -> int:
    return shown.decile


def _some(stratum: Sequence[Shown], n: int, generator: np.random.Generator) -> list[Shown]:
    chosen = generator.choice(len(stratum), min(n, len(stratum)), replace=False)
    return _standing_for(stratum, [stratum[i] for i in sorted(chosen)])


def _deal(shown: Sequence[Shown]) -> tuple[list[Shown], list[Shown]]:
    """Deal windows into two halves by turns, the first to the first."""
    first, second = shown[::2], shown[1::2]
    return _standing_for(shown, first), _standing_for(shown, second)


def _standing_for(whole: Sequence[Shown], part: Sequence[Shown]) -> list[Shown]:
    """Weight a part so that it stands for what the whole stood for."""
    weight = sum(one.weight for one in part)
    factor = sum(one.weight for one in whole) / weight if weight else 1.0
    return [replace(one, weight=one.weight * factor) for one in part]


def _only_shown(top: Sequence[Shown], drawn: Sequence[Shown]) -> list[Shown]:
    """Return the strongest windows that were not drawn at random too: those are shown already, or choose."""
    known = {(one.window.example, one.window.start) for one in drawn}
    return [one for one in top if (one.window.example, one.window.start) not in known]


def _fuzz(firing: Sequence[Shown], trained: frozenset[int], generator: np.random.Generator) -> Iterator[Fuzzed]:
    """Mark active tokens of a random half, and others of the other half, of kinds on which a latent may fire.

    As many of either, the fewer of both, so that the number of marks tells nothing.
    """
    possible = []
    for one in firing:
        active = [i for i, activation in enumerate(one.activations) if activation > 0]
        others = [i for i, kind in enumerate(one.window.kinds) if kind in trained and not one.activations[i] > 0]
        if others:
            possible.append((one, active, others))
    truly = {*generator.permutation(len(possible))[: (len(possible) + 1) // 2].tolist()}
    for i, (one, active, others) in enumerate(possible):
        n = min(len(active), len(others))
        chosen = {*generator.choice(active if i in truly else others, n, replace=False).tolist()}
        marked = tuple(token in chosen for token in range(len(one.activations)))
        yield Fuzzed(one, Marked(one.window, marked), i in truly)
