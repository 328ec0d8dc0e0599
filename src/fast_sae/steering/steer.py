"""Steering, whole: choose latents and doses on some prompts, score them on others beside controls of equal norm."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fast_sae.activations.live.identity import identify
from fast_sae.activations.rendering import render_examples
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import Manifest
from fast_sae.chat.examples import Example
from fast_sae.chat.render import Rendered
from fast_sae.chat.splits import Split
from fast_sae.errors import ModelError
from fast_sae.features.store import FeatureStore
from fast_sae.progress import say
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.sae.lineage import require_same_model
from fast_sae.splice.causal_lm import NoCausalLMError
from fast_sae.steering.choosing import LabelLatent, best_latents, residual_norm, special_latents
from fast_sae.steering.directions import Direction, latent_direction, other_latents, random_directions
from fast_sae.steering.effects import Chosen, Effects, choose
from fast_sae.steering.model import SteeredModel
from fast_sae.steering.recogniser import Recogniser
from fast_sae.steering.report import SteerReport
from fast_sae.steering.settings import SteerSettings
from fast_sae.steering.trials import perplexity_of_chats, plan, write_all


@dataclass(frozen=True)
class Material:
    """What steering looks at."""

    sae: SparseAutoencoder
    """In the type to compute with."""
    made: Manifest
    """The SAE's, which tells the language model that it was trained on."""
    features: FeatureStore
    examples: Mapping[Split, Sequence[Example]]
    """Train teaches the recogniser, validation chooses, test scores."""
    kinds: tuple[int, ...]
    """Kinds of tokens the SAE was trained on."""


def steer(
    material: Material,
    settings: SteerSettings,
    *,
    model: ModelSettings,
    extract: ExtractSettings,
    runtime: RuntimeSettings,
) -> SteerReport:
    """Steer latents that tell a label, latents of special tokens and listed ones; measure what each dose does.

    Args:
        material: The SAE and the data.
        settings: The `steer` section; if it is not enabled, nothing is loaded and the report is empty.
        model: The `model` section.
        extract: The `extract` section, which says how prompts and chats are rendered.
        runtime: The `runtime` section.

    Raises:
        ModelError: if the model does not predict the next token.
        ArtifactError: if the SAE was trained on another model, or is not as wide as this one.
        UserError: if a listed latent does not exist, or a prompt is too long.
    """
    if not settings.enabled:
        say("steer.enabled is false: no language model is run, and the results are empty")
        return SteerReport(settings)
    require_same_model(material.made, identify(model))
    try:
        steered = SteeredModel.open(model, extract, material.sae, runtime)
    except NoCausalLMError as error:
        raise ModelError(f"{error}; steer_features needs a model with an LM head: set steer.enabled: false") from None
    sae = material.sae.to(steered.lm.model.device)
    chats: dict[Split, list[Example]] = {
        split: draw(material.examples[split], n, settings.seed) for split, n in _chats(settings).items()
    }
    rendered = render_examples(chats, steered.tokenizer, extract)
    norm = residual_norm(steered, rendered["validation"], material.kinds)
    alphas = sorted({*settings.alphas, *(units * norm for units in settings.norm_alphas)})
    recogniser = Recogniser.fit(material.examples["train"])
    candidates = _candidates(material.features, settings) if recogniser else []

    tried = [latent_direction(sae, latent) for latent in dict.fromkeys(one.latent for one in candidates)]
    choosing = write_all(steered, settings.choosing_prompts, plan(tried, alphas), recogniser, settings, scored=False)
    ordered = choose(candidates, choosing, alphas, settings.max_repetition)
    chosen = ordered[: settings.label_latents]
    unlabelled = _unlabelled(steered, sae, rendered["validation"], chosen, settings)
    scored = [*dict.fromkeys([*(one.latent for one in chosen), *unlabelled])]
    spared = {*scored, *(one.latent for one in candidates)}
    trials = plan(_directions(sae, scored, _living(material.features, spared), settings), alphas)
    scoring = write_all(steered, settings.prompts, trials, recogniser, settings, scored=True)
    return SteerReport(
        settings,
        Effects(scoring, chosen, settings),
        choosing,
        ordered,
        unlabelled,
        alphas,
        norm,
        recogniser.accuracy(material.examples["test"]) if recogniser else None,
        perplexity_of_chats(steered, rendered["test"], trials),
    )


def _candidates(features: FeatureStore, settings: SteerSettings) -> list[LabelLatent]:
    prompts = [*settings.prompts, *settings.choosing_prompts]
    return best_latents(features.table("labels"), settings.candidate_labels, prompts)


def draw(examples: Sequence[Example], n: int, seed: int) -> list[Example]:
    """Draw examples at random, in their order; all of them if there are no more."""
    return [examples[i] for i in sorted(np.random.default_rng(seed).permutation(len(examples))[:n])]


def _chats(settings: SteerSettings) -> dict[Split, int]:
    return {"validation": settings.chats, "test": settings.test_chats}


def _unlabelled(
    steered: SteeredModel,
    sae: SparseAutoencoder,
    chats: Sequence[Rendered],
    chosen: Sequence[Chosen],
    settings: SteerSettings,
) -> dict[int, str]:
    """Return the latents steered for no label, and how each was chosen."""
    found = dict.fromkeys(special_latents(steered, sae, chats, settings), "special tokens")
    found |= {latent: "listed" for latent in settings.listed if latent not in found}
    return {latent: by for latent, by in found.items() if latent not in {one.latent for one in chosen}}


def _living(features: FeatureStore, but: Collection[int]) -> list[int]:
    return sorted({*map(int, features.latents.index)} - {*but})


def _directions(
    sae: SparseAutoencoder, scored: Sequence[int], living: Sequence[int], settings: SteerSettings
) -> list[Direction]:
    """Return each latent once, then the controls; no label is told by a latent that is one."""
    return [
        *(latent_direction(sae, latent) for latent in scored),
        *random_directions(sae.d_in, settings.random_controls, settings.seed),
        *other_latents(sae, living, settings.latent_controls, settings.seed),
    ]
