"""What a latent's name is read off, and chosen by: whole texts of validation, strong ones against the others.

A target belongs to a text, and so does the activation by which a latent was chosen for it: the largest of its tokens.
Many latents fire somewhere in most texts, and what tells is how strongly. So a name is to be true of the texts in which
the latent is strongest. No label is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from fast_sae.backends.base import Showing
from fast_sae.features.store import FeatureStore
from fast_sae.features.windows import Shown, Window, spread
from fast_sae.hypotheses.settings import HypothesesSettings

_DEALT = 4
"""One in so many texts, by strength, is not shown, and chooses."""


@dataclass(frozen=True)
class Material:
    """What is put before a backend for one latent."""

    latent: int
    showing: Showing
    """The strongest windows, whose tokens are known; strong texts; and as silent ones the others, the weakest first."""
    choosing: Sequence[Shown]
    """Texts that were not shown."""


def gather(
    store: FeatureStore,
    latent: int,
    texts: Sequence[Window],
    strength: Float[np.ndarray, " text"],
    settings: HypothesesSettings,
) -> Material:
    """Deal the texts of validation to what is shown and what chooses.

    Args:
        store: data/features.
        latent: Which is to be named.
        texts: Of validation, without their labels.
        strength: The latent's largest activation in each.
        settings: The `hypotheses` section.
    """
    order = np.argsort(-strength, kind="stable")
    strong = order[: min(round(settings.strong_share * len(texts)), np.count_nonzero(strength))]
    shown, held = zip(*(_deal(part.tolist()) for part in (strong, order[len(strong) :])), strict=True)
    choosing = [spread(part, (settings.choosing_texts + 1) // 2) for part in held]
    known = {texts[i].example for part in held for i in part}
    return Material(
        latent,
        Showing(
            [*_windows(store, latent, known), *(_strong(texts[i], float(strength[i]), 1.0) for i in shown[0])],
            [_weak(texts[i], 1.0) for i in reversed(shown[1])],
        ),
        [
            *(_strong(texts[i], float(strength[i]), len(held[0]) / len(choosing[0])) for i in choosing[0]),
            *(_weak(texts[i], len(held[1]) / len(choosing[1])) for i in choosing[1]),
        ],
    )


def _deal(part: list[int]) -> tuple[list[int], list[int]]:
    """Return what is shown of a part, and what is not; the first is shown: a rare latent is not named unseen."""
    return [i for n, i in enumerate(part) if n % _DEALT != 1], part[1::_DEALT]


def _windows(store: FeatureStore, latent: int, left_out: set[int]) -> list[Shown]:
    """Return the strongest windows, which show at which tokens the latent fires; they stand for themselves alone."""
    top = store.windows(latent, "validation", "top")
    return [replace(one, window=replace(one.window, label=None)) for one in top if one.window.example not in left_out]


def _strong(text: Window, strength: float, weight: float) -> Shown:
    return Shown(text, (strength,), "firing", 0, weight)


def _weak(text: Window, weight: float) -> Shown:
    return Shown(text, (), "silent", 0, weight)
