"""A name for each latent: asked for on the windows shown, and chosen on windows of validation that were not shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from fast_sae.backends.base import ALL_EVIDENCE, Answer, Backend, Evidence, Explanation, Showing, Unanswered
from fast_sae.features.windows import Shown
from fast_sae.statistics import weighted_correlation


@runtime_checkable
class Asked(Protocol):
    """A latent that is to be named."""

    @property
    def latent(self) -> int:
        """Its number."""
        ...

    @property
    def showing(self) -> Showing:
        """What names are read off."""
        ...

    @property
    def choosing(self) -> Sequence[Shown]:
        """What names are chosen by: of validation, none of it shown; weighted."""
        ...


@dataclass(frozen=True)
class Named:
    """What came of asking for a latent's name."""

    name: Answer[Explanation]
    """The one chosen, or why there is none."""
    candidates: int = 0
    """Names that it was chosen from."""
    choosing_phi: float | None = None
    """Its correlation φ with the firing over validation, by the windows that chose; None where nothing was judged."""
    asked: int = 0
    """Judgements of candidates that were asked for."""
    unanswered: int = 0
    """Those of them that were not had."""


def find_names(
    backend: Backend, materials: Sequence[Asked], candidates: int, evidence: frozenset[Evidence] = ALL_EVIDENCE
) -> dict[int, Named]:
    """Ask for names of each latent, and choose among those of each by φ over validation.

    A candidate that was not judged is chosen only if none was: the first one then. Nothing is judged where there is one
    candidate.
    """
    offered = backend.explain([one.showing for one in materials], candidates, evidence)
    questions = [
        (i, name, [shown.window for shown in one.choosing])
        for i, (one, names) in enumerate(zip(materials, offered, strict=True))
        if not isinstance(names, Unanswered) and len(names) > 1 and one.choosing
        for name in names
    ]
    answers = backend.detect([question[1:] for question in questions])
    judged: list[list[Answer[Sequence[bool]]]] = [[] for _ in materials]
    for (i, *_), answer in zip(questions, answers, strict=True):
        judged[i].append(answer)
    return {
        one.latent: Named(names) if isinstance(names, Unanswered) else _choose(names, judged[i], one.choosing)
        for i, (one, names) in enumerate(zip(materials, offered, strict=True))
    }


def _choose(
    names: Sequence[Explanation], answers: Sequence[Answer[Sequence[bool]]], choosing: Sequence[Shown]
) -> Named:
    scores = {
        i: _correlation(answer, choosing) for i, answer in enumerate(answers) if not isinstance(answer, Unanswered)
    }
    best = max(scores, key=lambda i: scores[i], default=0)  # the first of equals
    asked, had = len(answers) * len(choosing), len(scores) * len(choosing)
    return Named(names[best], len(names), scores.get(best), asked, asked - had)


def _correlation(answer: Sequence[bool], choosing: Sequence[Shown]) -> float:
    """Correlation φ of the answers with the latent's firing over validation; 0 if either is the same everywhere.

    To a billionth, so that the last digits of a processor choose nothing.
    """
    says, fires = np.array(answer, np.float64), np.array([one.fires for one in choosing], np.float64)
    return round(weighted_correlation(says, fires, np.array([one.weight for one in choosing])) or 0.0, 9)
