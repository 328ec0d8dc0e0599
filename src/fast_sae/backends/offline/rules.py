"""Rules: what the offline backend says of a latent, and checks in a window."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from jaxtyping import Bool

from fast_sae.artifacts import Json
from fast_sae.backends.base import Evidence, Explanation
from fast_sae.backends.offline.items import items_of
from fast_sae.features.windows import Shown, Window

OF_TOKENS: frozenset[Evidence] = frozenset({"token", "kind", "position"})
"""Evidence of which a window tells where in it a latent should fire, and not only whether."""


@dataclass(frozen=True)
class Rule:
    """True of a window that has any of the items; `none` is true of no window."""

    evidence: Evidence | Literal["none"]
    any_of: tuple[str, ...]

    @classmethod
    def of(cls, explanation: Explanation) -> "Rule":
        """Take the rule out of an explanation of this backend's own."""
        assert explanation.rule is not None, "the offline backend judges no names but its own"
        rule = explanation.rule
        return cls(cast(Evidence, rule["evidence"]), tuple(cast(Sequence[str], rule["any_of"])))

    def json(self) -> Json:
        """Return what `of` reads back."""
        return {"evidence": self.evidence, "any_of": list(self.any_of)}

    def holds(self, window: Window) -> bool:
        """Return whether the window has any of the items."""
        return self.evidence != "none" and not items_of(window, self.evidence).keys().isdisjoint(self.any_of)

    def tokens(self, window: Window) -> Bool[np.ndarray, " token"]:
        """Mark the tokens that the rule speaks of; a label speaks of none."""
        marked = np.zeros(len(window.tokens), bool)
        if self.evidence != "none":
            found = items_of(window, self.evidence)
            for item in self.any_of:
                marked[list(found.get(item, ()))] = True
        return marked

    def fits_marks(self, window: Window, marked: Sequence[bool]) -> bool:
        """Return whether the marked tokens are those that the rule speaks of.

        True if a larger share of the marked tokens than of the others is what the rule speaks of. A label says nothing
        of tokens: there the answer is whether the window has it, whatever is marked.
        """
        if self.evidence == "label":
            return self.holds(window)
        spoken, of_marked = self.tokens(window), np.array(marked, bool)
        inside, outside = (float(spoken[side].mean()) if side.any() else 0.0 for side in (of_marked, ~of_marked))
        return inside > outside

    def shows_in(self, shown: Shown) -> bool:
        """Return whether a window in which the latent fires shows the pattern.

        The rule must hold, and one that speaks of tokens must speak of the one on which the latent is strongest.
        """
        if self.evidence not in OF_TOKENS:
            return self.holds(shown.window)
        return bool(self.tokens(shown.window)[int(np.argmax(shown.activations))])

    @property
    def sentence(self) -> str:
        """What the rule checks, in words."""
        items = _listed(self.any_of, quoted=self.evidence in {"ngram", "token", "label"})
        match self.evidence:
            case "ngram":
                return f"the text mentions {items}"
            case "token":
                return f"the token {items}"
            case "kind":
                return f"tokens of the kind {items}"
            case "position":
                return items
            case "label":
                return f"texts labelled {items}"
            case "none":
                return "no pattern found"


def _listed(items: Sequence[str], *, quoted: bool) -> str:
    """Join by commas and `or`.

    >>> _listed(["a", "b", "c"], quoted=True)
    '"a", "b" or "c"'
    """
    words = [json.dumps(item, ensure_ascii=False) if quoted else item for item in items]
    return " or ".join([", ".join(words[:-1]), *words[-1:]] if len(words) > 1 else words)
