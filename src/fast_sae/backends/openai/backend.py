"""The backend that asks a language model behind a server of chat completions: OpenAI, Ollama, vLLM, llama.cpp.

What it costs: a request per latent to name it, one per `windows_per_request` windows and name to judge it, and one per
name to rate it; an estimate is said before they are sent. Replies that are stored cost nothing and need no key.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from fast_sae.backends.base import (
    ALL_EVIDENCE,
    Answer,
    Evidence,
    Explanation,
    Marked,
    Rating,
    Showing,
    Unanswered,
)
from fast_sae.backends.openai.asking import Asker, Question
from fast_sae.backends.openai.prompts import Messages, detect_prompt, explain_prompt, fuzz_prompt, rate_prompt
from fast_sae.backends.openai.replies import answers_form, explanations_form, rating_form
from fast_sae.backends.openai.store import ReplyStore, replies_folder
from fast_sae.backends.settings import BackendSettings
from fast_sae.features.windows import Shown, Window, spread

W = TypeVar("W", Window, Marked)

_NAME_TOKENS, _ANSWER_TOKENS, _RATING_TOKENS, _FRAME_TOKENS = 30, 2, 60, 10
"""Tokens of a reply as a rule of thumb, for the estimate: of a name, an answer, a rating, and the JSON around them."""


@contextmanager
def open_backend(settings: BackendSettings, replies: Path) -> Iterator["OpenAIBackend"]:
    """Open the backend; the replies used are in `replies` when the block ends, unless it ends by an error.

    Args:
        settings: Those of the section `interpret`.
        replies: A file of the replies used, a JSON object a line; read first if it is there, and written anew.

    Raises:
        UserError: at the end, if the server left questions unanswered that another run may have answered; what is
            written within the block is then whole but for them, and DVC does not take the stage for done.
    """
    store = ReplyStore(replies_folder(), replies)
    asker = Asker(settings, store)
    try:
        yield OpenAIBackend(settings, asker)
        store.write_used()
        asker.require_answers()
    finally:
        asker.close()


class OpenAIBackend:
    """Names latents and judges names by asking a language model."""

    def __init__(self, settings: BackendSettings, asker: Asker) -> None:
        self._settings, self._asker = settings, asker

    def explain(
        self, latents: Sequence[Showing], candidates: int, evidence: frozenset[Evidence] = ALL_EVIDENCE
    ) -> Sequence[Answer[Sequence[Explanation]]]:
        """Name each latent up to `candidates` times, the likeliest name first."""
        settings, form = self._settings, explanations_form(candidates)
        prompts = (
            explain_prompt(
                settings.task,
                spread(latent.firing, settings.shown_firing),
                spread(latent.silent, settings.shown_silent),
                candidates,
                evidence,
            )
            for latent in latents
        )
        expected = candidates * _NAME_TOKENS + _FRAME_TOKENS
        return self._asker.ask("explain", [Question(prompt, form, expected) for prompt in prompts])

    def detect(self, questions: Sequence[tuple[Explanation, Sequence[Window]]]) -> Sequence[Answer[Sequence[bool]]]:
        """Say of each window whether the explanation fits it."""
        return self._judge("detect", detect_prompt, questions)

    def fuzz(self, questions: Sequence[tuple[Explanation, Sequence[Marked]]]) -> Sequence[Answer[Sequence[bool]]]:
        """Say of each window whether its marked tokens are those that the explanation speaks of."""
        return self._judge("fuzz", fuzz_prompt, questions)

    def rate(self, questions: Sequence[tuple[Explanation, Sequence[Shown]]]) -> Sequence[Answer[Rating]]:
        """Rate how clearly each explanation's pattern shows, by FAST's rubric."""
        prompts = (rate_prompt(self._settings.task, explanation, windows) for explanation, windows in questions)
        form, expected = rating_form(), _RATING_TOKENS + _FRAME_TOKENS
        return self._asker.ask("rate", [Question(prompt, form, expected) for prompt in prompts])

    def _judge(
        self,
        what: str,
        prompt: Callable[[str, Explanation, Sequence[W]], Messages],
        questions: Sequence[tuple[Explanation, Sequence[W]]],
    ) -> Sequence[Answer[Sequence[bool]]]:
        """Ask about the windows in portions, shuffled, and put the answers of each question together again.

        They come sorted, those in which the latent fires first: unshuffled, most portions would be all of one kind.
        """
        size = self._settings.windows_per_request
        orders = [
            np.random.default_rng([self._settings.seed, len(windows)]).permutation(len(windows))
            for _, windows in questions
        ]
        portions = [
            [[windows[i] for i in order[start : start + size]] for start in range(0, len(order), size)]
            for (_, windows), order in zip(questions, orders, strict=True)
        ]
        asked = [
            Question(
                prompt(self._settings.task, explanation, portion),
                answers_form(len(portion)),
                len(portion) * _ANSWER_TOKENS + _FRAME_TOKENS,
            )
            for (explanation, _), of_question in zip(questions, portions, strict=True)
            for portion in of_question
        ]
        answers = iter(self._asker.ask(what, asked))
        return [
            _joined([next(answers) for _ in of_question], np.argsort(order).tolist())
            for of_question, order in zip(portions, orders, strict=True)
        ]


def _joined(portions: Sequence[Answer[Sequence[bool]]], places: Sequence[int]) -> Answer[Sequence[bool]]:
    """Put portions together, each answer in its place; one without an answer leaves the whole question without."""
    joined: list[bool] = []
    for portion in portions:
        if isinstance(portion, Unanswered):
            return portion
        joined += portion
    return tuple(joined[place] for place in places)
