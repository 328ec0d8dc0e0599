"""The backend that needs no language model: a name is a rule read off the data, and a judgement is whether it holds.

Deterministic, without a key or a network. A name is only as rich as what a rule can speak of: docs/interpretation.md.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fast_sae.artifacts import whole_file
from fast_sae.backends.base import ALL_EVIDENCE, Evidence, Explanation, Marked, Rating, Showing
from fast_sae.backends.offline.rules import Rule
from fast_sae.backends.offline.search import explanations
from fast_sae.backends.settings import BackendSettings
from fast_sae.features.windows import Shown, Window


class OfflineBackend:
    """A `Backend` of rules; every question has an answer."""

    def explain(
        self, latents: Sequence[Showing], candidates: int, evidence: frozenset[Evidence] = ALL_EVIDENCE
    ) -> list[list[Explanation]]:
        """Find rules for each latent, the best φ first, over the population that the windows shown stand for.

        A latent for which nothing is significant is named too, by a rule that is never true: it was asked about and
        answered, so it is scored like the others and lowers their mean.
        """
        return [explanations(showing, candidates, evidence) for showing in latents]

    def detect(self, questions: Sequence[tuple[Explanation, Sequence[Window]]]) -> list[list[bool]]:
        """Say whether the rule holds in each window."""
        return [[Rule.of(name).holds(window) for window in windows] for name, windows in questions]

    def fuzz(self, questions: Sequence[tuple[Explanation, Sequence[Marked]]]) -> list[list[bool]]:
        """Say whether a larger share of the marked tokens than of the others is what the rule speaks of."""
        return [[Rule.of(name).fits_marks(one.window, one.marked) for one in marked] for name, marked in questions]

    def rate(self, questions: Sequence[tuple[Explanation, Sequence[Shown]]]) -> list[Rating]:
        """Count the windows that deviate from the rule, by FAST's rubric."""
        return [_rate(Rule.of(name), shown) for name, shown in questions]


@contextmanager
def open_backend(_settings: BackendSettings, replies: Path) -> Iterator[OfflineBackend]:
    """Open the backend; `replies` is left empty, since nobody was asked."""
    yield OfflineBackend()
    with whole_file(replies) as part:
        part.write_text("", encoding="utf-8")


def _rate(rule: Rule, shown: Sequence[Shown]) -> Rating:
    """Count: 5 for no window that deviates, 4 for one or two, 3 for three, 2 for more, 1 for all of them.

    FAST (Li et al. 2025, arXiv:2506.07691) has a language model judge this; its 2 is a broad theme without structure.
    """
    deviating = sum(not rule.shows_in(one) for one in shown)
    score = 1 if deviating == len(shown) else {0: 5, 1: 4, 2: 4, 3: 3}.get(deviating, 2)
    return Rating(score, f"counted, not judged: {deviating} of {len(shown)} windows deviate from the rule")
