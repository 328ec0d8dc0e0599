"""The windows of a showing as numbers: which items they have, where the latent fires, what each window stands for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from fast_sae.backends.base import Evidence, Showing
from fast_sae.backends.offline.items import Items, items_of
from fast_sae.backends.offline.rules import Rule
from fast_sae.features.windows import Shown
from fast_sae.statistics import weighted_correlation


@dataclass(frozen=True)
class Sample:
    """Windows in which a latent fires, then those in which it is silent."""

    shown: Sequence[Shown]
    fires: Bool[np.ndarray, " window"]
    weight: Float[np.ndarray, " window"]
    """Windows of the population for which each stands."""
    trained: frozenset[int]
    """Kinds of tokens on which the latent may fire."""

    @classmethod
    def of(cls, showing: Showing) -> "Sample":
        """Take the windows that were drawn at random; all of a side of which none was, each for itself.

        The strongest windows stand for nothing but themselves: they would make a latent seem clearer than it is.
        """
        firing, silent = (_drawn(side) for side in (showing.firing, showing.silent))
        shown = [*firing, *silent]
        weight = np.array([one.weight or 1.0 for one in shown], np.float64)
        return cls(shown, np.arange(len(shown)) < len(firing), weight, showing.trained)

    @property
    def firing(self) -> Sequence[Shown]:
        """The windows in which it fires."""
        return [one for one, fires in zip(self.shown, self.fires, strict=True) if fires]

    def items(self, evidence: Evidence) -> list[Items]:
        """Return the items of each window."""
        return [items_of(one.window, evidence) for one in self.shown]

    def correlation(self, holds: Bool[np.ndarray, " window"]) -> float:
        """Correlation φ of a rule that holds in these windows with the latent's firing, over the population.

        Unlike F1 it does not prefer, for a latent that fires in most windows, what is true everywhere. 0 where either
        is the same in all windows. Rounded to a billionth, so that no processor's last digits decide which rule comes
        first.
        """
        said, fires = holds.astype(np.float64), self.fires.astype(np.float64)
        return round(weighted_correlation(said, fires, self.weight) or 0.0, 9)

    @cached_property
    def tells_tokens(self) -> bool:
        """Whether it is known at which tokens the latent fires, in every window in which it does."""
        return bool(self.firing) and all(len(one.activations) == len(one.window.tokens) for one in self.firing)

    def possible(self, one: Shown) -> set[int]:
        """Return the tokens of a window on which the latent may fire."""
        return {i for i, kind in enumerate(one.window.kinds) if kind in self.trained}

    def token_f1(self, rule: Rule) -> float:
        """F1 of the tokens that a rule speaks of against those on which the latent fires, where it fires at all."""
        both = either = 0
        for one in self.firing:
            spoken, active = rule.tokens(one.window), np.array(one.activations) > 0
            both += int((spoken & active).sum())
            either += int(spoken.sum() + active.sum())
        return round(2 * both / either, 9) if either else 0.0


def _drawn(side: Sequence[Shown]) -> Sequence[Shown]:
    return [one for one in side if one.weight > 0] or side
