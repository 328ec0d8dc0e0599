"""Trials: each prompt continued with each direction at each dose, and what is measured of each continuation.

Cost: a continuation per prompt, direction and dose, and one pass of the unsteered model over each that is scored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
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
"""Name of the direction of the continuations at dose 0."""


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

    def shift(self, d_in: int) -> Float[Tensor, " d_in"]:
        """Return α·d."""
        return self.alpha * self.direction.vector if self.direction else torch.zeros(d_in, dtype=torch.float64)


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
    part: str,
) -> pd.DataFrame:
    """Continue every prompt in every trial and measure what is written.

    Args:
        model: What writes.
        prompts: What is asked.
        trials: Directions and doses.
        recogniser: Names the label that a continuation shows; None for data without labels.
        settings: The `steer` section.
        part: `choosing` or `scoring`.

    Returns:
        A row per trial and prompt: part, prompt (its number), direction, role, latent, alpha, text, tokens, ended,
        repetition, sound, recognised, nats.
    """
    asked = [model.prompt(prompt) for prompt in prompts]
    tasks = [(trial, i) for trial in trials for i in range(len(prompts))]
    ids = [asked[i] for _, i in tasks]
    shifts = torch.stack([trial.shift(model.lm.d_in) for trial, _ in tasks])
    with progress_bar(f"steer, {part}", "continuation", len(tasks)) as progress:
        written = model.write(ids, shifts, settings.max_new_tokens, progress.update)
    nats = model.nats([a + b for a, b in zip(ids, written, strict=True)], [*map(len, ids)])
    rows = [
        {"part": part, "prompt": i, **_described(trial), **_measured(model, tokens, recogniser, settings), "nats": cost}
        for (trial, i), tokens, cost in zip(tasks, written, nats.tolist(), strict=True)
    ]
    return pd.DataFrame(rows).astype({"latent": "Int64"})


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


def sound(continuations: pd.DataFrame, label: str) -> pd.Series:
    """Say which continuations show a label and are no mere repetition of its words."""
    return (continuations["recognised"] == label) & continuations["sound"]


def records(continuations: pd.DataFrame, prompts: dict[str, Sequence[str]]) -> Iterator[dict[str, object]]:
    """Yield each continuation for generations.jsonl, numbers rounded so that no processor changes them."""
    for row in continuations.to_dict("records"):
        perplexity = float(np.exp(row["nats"] / row["tokens"]))
        yield {
            "part": row["part"],
            "prompt": prompts[row["part"]][row["prompt"]],
            "direction": row["direction"],
            "role": row["role"],
            "alpha": _rounded(row["alpha"]),
            "continuation": row["text"],
            "tokens": row["tokens"],
            "ended": row["ended"],
            "recognised": row["recognised"],
            "perplexity": _rounded(perplexity),
            "repetition": _rounded(row["repetition"]),
        }


def _described(trial: Trial) -> dict[str, object]:
    direction = trial.direction
    latent = None if direction is None else direction.latent
    return {"direction": trial.name, "role": direction.role if direction else UNSTEERED, "latent": latent} | {
        "alpha": trial.alpha
    }


def _measured(
    model: SteeredModel, tokens: Sequence[int], recogniser: Recogniser | None, settings: SteerSettings
) -> dict[str, object]:
    text, repeated = model.text(tokens), repetition(tokens, settings.ngram)
    return {
        "text": text,
        "tokens": len(tokens),
        "ended": model.ended(tokens),
        "repetition": repeated,
        "sound": repeated <= settings.max_repetition,
        "recognised": recogniser.predict(text) if recogniser else None,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
