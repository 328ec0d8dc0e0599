"""A hypothesis, and the texts that were looked at for what it speaks of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int8, Int64

from fast_sae.backends.base import Unanswered
from fast_sae.backends.naming import Named
from fast_sae.hypotheses.annotations import UNANSWERED
from fast_sae.hypotheses.targets import Held


@dataclass(frozen=True)
class Hypothesis:
    """A latent that goes with a target on validation, and its name."""

    target: int
    """Its place among the targets."""
    latent: int
    score: float
    """By which it was chosen; the sign says whether the target is larger where the latent fires."""
    named: Named

    @property
    def status(self) -> str:
        """What came of naming: named, no_pattern, refused, invalid or failed."""
        if isinstance(self.named.name, Unanswered):
            return self.named.name.status
        return "named" if self.named.name.pattern else "no_pattern"


@dataclass(frozen=True)
class Annotated:
    """Which texts of a split have what the names speak of."""

    held: Held
    rows: Int64[np.ndarray, " text"]
    """Which of the split's labelled examples were annotated."""
    latents: Sequence[int]
    """Those whose names were looked for."""
    has: Int8[np.ndarray, "text latent"]
    """1, 0, or `UNANSWERED`."""

    def of(self, latents: Sequence[int]) -> Int8[np.ndarray, "text latent"]:
        """Return the annotations of some latents' names."""
        return self.has[:, [self._place[latent] for latent in latents]]

    def activations(self, latents: Sequence[int]) -> Float[np.ndarray, "text latent"]:
        """Return what the latents themselves do in the texts."""
        return self.held.latents[self.rows][:, list(latents)].toarray().astype(np.float64)

    def knows(self, latent: int) -> bool:
        """Return whether the latent has a name of which at least one text has an answer."""
        return latent in self._place and bool((self.of([latent]) != UNANSWERED).any())

    def whole(self, latents: Sequence[int]) -> Bool[np.ndarray, " text"]:
        """Return which texts have an answer for all of some latents' names."""
        return (self.of(latents) != UNANSWERED).all(1)

    @cached_property
    def _place(self) -> Mapping[int, int]:
        return {latent: i for i, latent in enumerate(self.latents)}
