"""What names a latent and judges a name: an `offline` one that reads the data, or a language model behind `openai`.

A backend is a folder here with a `backend.py` whose `open_backend(settings)` gives one. interpretation and hypotheses
know a backend only by the protocol below; a question that could not be answered comes back as `Unanswered`, so that it
is counted, and never taken for a no.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

from fast_sae.artifacts import Json
from fast_sae.chat.kinds import Kind
from fast_sae.features.windows import Shown, Window

T = TypeVar("T")

Evidence = Literal["ngram", "token", "kind", "position", "label"]
"""What a name may speak of: words of the text, single tokens, kinds of token, places in the example, its label."""
ALL_EVIDENCE: frozenset[Evidence] = frozenset({"ngram", "token", "kind", "position", "label"})


@dataclass(frozen=True)
class Unanswered:
    """Why a question has no answer."""

    status: Literal["refused", "invalid", "failed"]
    """The model declined; its reply did not fit the schema, however often it was asked; the server gave none."""
    reason: str


Answer = T | Unanswered


@dataclass(frozen=True)
class Explanation:
    """What a latent is said to stand for."""

    text: str
    rule: Json | None = None
    """What the offline backend checks; None of a text that a language model wrote."""
    pattern: bool = True
    """False if the text says that no pattern was found."""


@dataclass(frozen=True)
class Showing:
    """What is shown of one latent for a name to be found: windows of validation only."""

    firing: Sequence[Shown]
    """Windows in which it fires, the strongest first."""
    silent: Sequence[Shown]
    """Windows in which it does not."""
    trained: frozenset[int] = frozenset(Kind) - {Kind.BEGIN_OF_TEXT}
    """Kinds of tokens on which it may fire: those that the SAE was trained on; by default as params.yaml has them."""


@dataclass(frozen=True)
class Marked:
    """A window with some tokens marked: those on which a latent fires, or others."""

    window: Window
    marked: tuple[bool, ...]


@dataclass(frozen=True)
class Rating:
    """A score from 1 (no pattern) to 5 (a clear pattern, no deviating example) by FAST's rubric."""

    score: int
    reason: str


@runtime_checkable
class Backend(Protocol):
    """Names latents and judges names. Answers come in the order of the questions, whatever order they were had in."""

    def explain(
        self, latents: Sequence[Showing], candidates: int, evidence: frozenset[Evidence] = ALL_EVIDENCE
    ) -> Sequence[Answer[Sequence[Explanation]]]:
        """Name each latent up to `candidates` times, the likeliest name first.

        Args:
            latents: What is shown of each.
            candidates: Names wanted; at least one comes, or the latent is unanswered.
            evidence: What a name may speak of.
        """
        ...

    def detect(self, questions: Sequence[tuple[Explanation, Sequence[Window]]]) -> Sequence[Answer[Sequence[bool]]]:
        """Say of each window whether the explanation fits it; one answer per question, for all its windows or none."""
        ...

    def fuzz(self, questions: Sequence[tuple[Explanation, Sequence[Marked]]]) -> Sequence[Answer[Sequence[bool]]]:
        """Say of each window whether its marked tokens are those that the explanation speaks of."""
        ...

    def rate(self, questions: Sequence[tuple[Explanation, Sequence[Shown]]]) -> Sequence[Answer[Rating]]:
        """Rate how clearly each explanation's pattern shows in the windows in which its latent is strongest."""
        ...
