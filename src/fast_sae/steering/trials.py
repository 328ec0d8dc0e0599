"""Trials: each prompt continued with each direction at each dose, and what is measured of each continuation.

Cost: a continuation per prompt, direction and dose, and one pass of the unsteered model over each that is scored.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fast_sae.chat.render import Rendered
from fast_sae.progress import progress_bar
from fast_sae.steering.directions import Direction
from fast_sae.steering.model import SteeredModel
from fast_sae.steering.recogniser import Recogniser
from fast_sae.steering.settings import SteerSettings

UNSTEERED = "none"
"""Name and role of what is added at dose 0: nothing."""


@dataclass(frozen=True)
class Trial:
    """One direction at one dose."""

    direction: Direction | None
    """None: unsteered."""
    alpha: float

    @property
    def name(self) -> str:
        """The direction's name."""
        return self.direction.name if self.direction else UNSTEERED

    @property
    def role(self) -> str:
        """The direction's role."""
        return self.direction.role if self.direction else UNSTEERED

    def shift(self, d_in: int) -> Float[Tensor, " d_in"]:
        """Return α·d."""
        return self.alpha * self.direction.vector if self.direction else torch.zeros(d_in, dtype=torch.float64)


@dataclass(frozen=True)
class Continuation:
    """What was written of one prompt in one trial."""

    trial: Trial
    prompt: int
    """Its number."""
    text: str
    tokens: int
    """With the one that ended it."""
    ended: bool
    """Whether it came to an end by itself."""
    repetition: float
    """Share of its n-grams that stood in it before."""
    recognised: str | None
    """The label that its words show."""
    nats: float
    """Σ −log p of its tokens under the unsteered model; NaN if it is not scored."""


def plan(directions: Sequence[Direction], alphas: Sequence[float]) -> list[Trial]:
    """Try the unsteered model once, then each direction at each dose."""
    return [Trial(None, 0.0), *(Trial(direction, alpha) for direction in directions for alpha in alphas)]


def write_all(
    model: SteeredModel,
    prompts: Sequence[str],
    trials: Sequence[Trial],
    recogniser: Recogniser | None,
    settings: SteerSettings,
    *,
    scored: bool,
) -> list[Continuation]:
    """Continue every prompt in every trial and measure what is written, trial behind trial.

    Args:
        model: What writes.
        prompts: What is asked.
        trials: Directions and doses.
        recogniser: Names the label that a continuation shows; None for data without labels.
        settings: The `steer` section.
        scored: Whether what the continuations cost the unsteered model is measured too.
    """
    asked = [model.prompt(prompt) for prompt in prompts]
    tasks = [(trial, i) for trial in trials for i in range(len(prompts))]
    ids = [asked[i] for _, i in tasks]
    shifts = torch.stack([trial.shift(model.lm.d_in) for trial, _ in tasks])
    with progress_bar("steer", "continuation", len(tasks)) as progress:
        written = model.write(ids, shifts, settings.max_new_tokens, progress.update)
    nats = [math.nan] * len(tasks)
    if scored:
        nats = model.nats([a + b for a, b in zip(ids, written, strict=True)], [*map(len, ids)]).tolist()
    return [
        Continuation(
            trial,
            i,
            text := model.text(tokens),
            len(tokens),
            model.ended(tokens),
            repetition(tokens, settings.ngram),
            recogniser.predict(text) if recogniser else None,
            cost,
        )
        for (trial, i), tokens, cost in zip(tasks, written, nats, strict=True)
    ]


def perplexity_of_chats(
    model: SteeredModel, chats: Sequence[Rendered], trials: Sequence[Trial]
) -> dict[tuple[str, float], float]:
    """Return exp(mean −log p) per token of some chats under the model as each trial steers it, teacher-forced."""
    sequences = [chat.token_ids.tolist() for chat in chats if len(chat.token_ids) > 1]
    tokens = sum(len(sequence) - 1 for sequence in sequences)
    shifts = torch.stack([trial.shift(model.lm.d_in) for trial in trials for _ in sequences])
    with progress_bar("steer, held-out chats", "chat", len(shifts)) as progress:
        nats = model.nats(sequences * len(trials), [1] * len(shifts), shifts, progress.update)
    sums = nats.reshape(len(trials), len(sequences)).sum(1)
    return {(t.name, t.alpha): float(np.exp(total / tokens)) for t, total in zip(trials, sums, strict=True)}


def repetition(tokens: Sequence[int], n: int) -> float:
    """Return the share of a text's n-grams that stood in it before, in [0, 1]; 0 if it is shorter than n.

    >>> repetition([1, 2, 1, 2, 1], n=2)
    0.5
    """
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def record(continuation: Continuation, part: str, prompt: str) -> dict[str, object]:
    """Return a line of generations.jsonl, numbers rounded so that no processor changes them."""
    trial = continuation.trial
    found: dict[str, object] = {
        "part": part,
        "prompt": prompt,
        "direction": trial.name,
        "role": trial.role,
        "alpha": round_number(trial.alpha),
        "continuation": continuation.text,
        "tokens": continuation.tokens,
        "ended": continuation.ended,
        "recognised": continuation.recognised,
        "repetition": round_number(continuation.repetition),
    }
    if not math.isnan(continuation.nats):
        found["perplexity"] = round_number(perplexity([continuation]))
    return found


def perplexity(continuations: Sequence[Continuation]) -> float:
    """Return exp(Σ −log p / Σ tokens) over some continuations, under the unsteered model."""
    return math.exp(sum(one.nats for one in continuations) / sum(one.tokens for one in continuations))


def round_number(value: float) -> float:
    """Round to 6 significant digits."""
    return float(f"{value:.6g}")
