"""A `steer` section and continuations for the tests, by a few words."""

from collections.abc import Sequence

import torch
from samples import params

from fast_sae.params import parse_section
from fast_sae.steering.directions import Direction
from fast_sae.steering.settings import SteerSettings
from fast_sae.steering.trials import Continuation, Trial

CHEAP = {
    "candidate_labels": 2,
    "label_latents": 1,
    "choosing_prompts": ["Write a short text about cooking.", "Write a short text about walks."],
    "prompts": ["Write a short text about music.", "Write a short text about friends.", "Write a short text."],
    "alphas": [50.0],
    "norm_alphas": [0.5],
    "random_controls": 1,
    "latent_controls": 1,
    "max_new_tokens": 6,
    "chats": 4,
    "test_chats": 2,
    "bootstrap_resamples": 50,
    "seed": 0,
}


def steer_settings(**overrides: object) -> SteerSettings:
    """A steer section of few prompts and doses."""
    section = {f"steer.{key}": value for key, value in (CHEAP | overrides).items()}
    return parse_section(params(**section), "steer", SteerSettings)


def written(role: str, alpha: float, recognised: Sequence[str], *, latent: int | None = None, repetition: float = 0.0):
    """One continuation of each prompt: what is recognised in each."""
    direction = None if role == "none" else Direction(f"{role} {latent}", role, torch.ones(1), latent)
    trial = Trial(direction, alpha)
    return [
        Continuation(trial, i, f"text {i}", 4, ended=True, repetition=repetition, recognised=label, nats=4.0)
        for i, label in enumerate(recognised)
    ]
