"""What `src/steer.py` does: continue some prompts with some latents at some doses, and tell what was written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fast_sae.activations.live.identity import identify
from fast_sae.activations.rendering import render_examples
from fast_sae.annotation.origin import Origin
from fast_sae.chat.prepared import read_prepared
from fast_sae.errors import UserError
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.lineage import require_same_model
from fast_sae.steering.choosing import residual_norm
from fast_sae.steering.directions import Direction, latent_direction, random_directions
from fast_sae.steering.model import SteeredModel
from fast_sae.steering.settings import SteerSettings
from fast_sae.steering.steer import draw
from fast_sae.steering.trials import Trial, perplexity, write_all


@dataclass(frozen=True)
class Asked:
    """A command line."""

    latents: Sequence[int]
    alphas: Sequence[float]
    by_norm: bool
    """Whether the doses are in units of the mean norm of the residual stream."""
    prompts: Sequence[str]
    random_control: bool
    """Whether a random direction is tried beside the latents."""
    prepared: Path
    """data/prepared, whose validation chats give that norm."""


def steer_prompts(origin: Origin, asked: Asked, settings: SteerSettings, runtime: RuntimeSettings) -> Iterator[str]:
    """Yield, line by line, what is written of each prompt with each direction at each dose.

    Args:
        origin: The SAE, and the language model that it was trained on.
        asked: What to try.
        settings: The `steer` section, for the length of a continuation and the random direction.
        runtime: The `runtime` section.

    Raises:
        UserError: for a latent that does not exist, an empty or too long prompt, a model without LM head or another one
            than the SAE was trained on.
    """
    directions = [latent_direction(origin.sae, latent) for latent in asked.latents]
    if asked.random_control:
        directions += random_directions(origin.sae.d_in, 1, settings.seed)
    if not all(prompt.strip() for prompt in asked.prompts):
        raise UserError("a prompt is empty; give it some words")
    require_same_model(origin.manifest, identify(origin.model))
    model = SteeredModel.open(origin.model, origin.extract, origin.sae, runtime)
    norm = _norm(model, origin, asked, settings) if asked.by_norm else None
    if norm is not None:
        yield f"the mean norm of the residual stream is {norm:.6g}; alpha is a length, and in brackets in units of it"
    unit = norm or 1.0
    trials = _trials(directions, [alpha * unit for alpha in asked.alphas])
    told = write_all(model, asked.prompts, trials, None, settings, scored=True)
    for number, prompt in enumerate(asked.prompts):
        yield f"prompt: {prompt}"
        for one in (one for one in told if one.prompt == number):
            yield f"  {_named(one.trial, norm)}, perplexity {perplexity([one]):.4g}: {one.text}"


def _named(trial: Trial, norm: float | None) -> str:
    in_units = f" ({trial.alpha / norm:g})" if norm else ""
    return f"{trial.name}, alpha {trial.alpha:g}{in_units}" if trial.direction else "unsteered, alpha 0"


def _norm(model: SteeredModel, origin: Origin, asked: Asked, settings: SteerSettings) -> float:
    chats = draw(read_prepared(asked.prepared, "validation"), settings.chats, settings.seed)
    rendered = render_examples({"validation": chats}, model.tokenizer, origin.extract)["validation"]
    return residual_norm(model, rendered, origin.kinds)


def _trials(directions: Sequence[Direction], alphas: Sequence[float]) -> list[Trial]:
    """Try each direction at each dose; at dose 0 they are all the unsteered model, which is tried once."""
    unsteered = [Trial(None, 0.0)] if 0 in alphas else []
    return [*unsteered, *(Trial(direction, alpha) for direction in directions for alpha in alphas if alpha)]
