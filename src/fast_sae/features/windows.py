"""Windows: what is kept, shown, labelled and judged of an example, and what a latent does in one.

The tokens of an example are cut into consecutive windows of `features.window_tokens` tokens, the last one shorter; an
example that is no longer is one window. So the windows of a split are a population, of which shares can be estimated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np

from fast_sae.chat.kinds import Kind
from fast_sae.chat.splits import Split

T = TypeVar("T")

Sample = Literal["top", "firing", "silent"]
"""How a window was drawn for a latent: the strongest ones; at random among those in which it fires; at random among
those in which it does not."""


@dataclass(frozen=True)
class Window:
    """Consecutive tokens of one example."""

    split: Split
    example: int
    """Index of the example within its split, in the order of data/prepared."""
    start: int
    """Position of the first token within the example."""
    tokens: tuple[str, ...]
    """The text of each token; put together, the text of the window."""
    kinds: tuple[int, ...]
    """The `Kind` of each token."""
    label: str | None
    """The label of the example."""

    @cached_property
    def text(self) -> str:
        """The whole text, the template's tokens too."""
        return "".join(self.tokens)

    @cached_property
    def content(self) -> str:
        """What the data hold of it; a line break stands where tokens of the template were."""
        parts, inside = [], True
        for token, kind in zip(self.tokens, self.kinds, strict=True):
            if kind == Kind.CONTENT:
                parts.append(token if inside else f"\n{token}")
            inside = kind == Kind.CONTENT
        return "".join(parts).strip("\n")


@dataclass(frozen=True)
class Shown:
    """A window, and what one latent does in it."""

    window: Window
    activations: tuple[float, ...]
    """Of each token; 0 at tokens of a kind that the SAE was not trained on. Empty where the latent is silent."""
    sample: Sample
    decile: int
    """1 to 10, of a window drawn at random among those in which the latent fires: the tenth of them that its
    largest activation falls into, 10 the strongest; 0 otherwise."""
    weight: float
    """Windows of the split for which this one stands: those in which the latent fires (or is silent) over those
    drawn. 0 of a top window, which stands for nothing but itself."""

    @property
    def activation(self) -> float:
        """The largest activation in the window; 0 if the latent is silent."""
        return max(self.activations, default=0.0)

    @property
    def fires(self) -> bool:
        """Whether the latent is above 0 anywhere in the window."""
        return self.activation > 0


def spread(shown: Sequence[T], n: int) -> list[T]:
    """Choose `n` windows at even steps from the first to the last, all if there are no more.

    What is read off the strongest alone is too narrow for windows of every strength.

    >>> spread([10, 8, 6, 4, 2], 3)
    [10, 6, 2]
    """
    return [shown[i] for i in np.linspace(0, len(shown) - 1, min(n, len(shown))).round().astype(int)]
