"""Evaluation within the language model, whole: draw examples, render, load, measure."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from fast_sae.activations.live.identity import identify
from fast_sae.activations.live.model import load_tokenizer
from fast_sae.activations.rendering import render_examples
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import Manifest
from fast_sae.chat.examples import Example
from fast_sae.chat.render import Rendered
from fast_sae.chat.splits import Split
from fast_sae.errors import ArtifactError, ModelError
from fast_sae.evaluation.in_model.measure import InModel
from fast_sae.evaluation.in_model.report import InModelReport
from fast_sae.evaluation.in_model.settings import InModelSettings
from fast_sae.evaluation.in_model.sums import PredictionSums
from fast_sae.progress import progress_bar, say
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.sae.lineage import require_same_model
from fast_sae.splice.causal_lm import CausalLM, NoCausalLMError, Replace, load_causal_lm


def evaluate_in_model(
    sae: SparseAutoencoder,
    examples: Mapping[Split, Sequence[Example]],
    settings: InModelSettings,
    *,
    made: Manifest,
    model: ModelSettings,
    extract: ExtractSettings,
    kinds: tuple[int, ...],
    dtype: torch.dtype,
    runtime: RuntimeSettings,
) -> InModelReport:
    """Measure what an SAE costs the language model that it reads, on test; validation gives the mean activation.

    Args:
        sae: As loaded.
        examples: Those of validation and test.
        settings: The `in_model` section; if it is not enabled, nothing is loaded and the report is empty.
        made: The SAE's manifest, which tells the language model that it was trained on.
        model: The `model` section.
        extract: The `extract` section, which says how examples are rendered.
        kinds: Kinds of tokens the SAE was trained on: where it is put in.
        dtype: What the SAE computes in.
        runtime: The `runtime` section.

    Raises:
        ModelError: if the model does not predict the next token.
        ArtifactError: if the SAE was trained on another model, or is not as wide as this one.
    """
    if not settings.enabled:
        say("in_model.enabled is false: no language model is run, and the metrics hold no more than counts of 0")
        return InModelReport(PredictionSums(0), settings)
    identity, device = identify(model), runtime.torch_device()
    require_same_model(made, identity)
    commit = identity["commit"]
    tokenizer = load_tokenizer(model, commit)
    drawn: dict[Split, list[Example]] = {split: draw(part, settings) for split, part in examples.items()}
    rendered = render_examples(drawn, tokenizer, extract)
    lm = _load(model, commit, device)
    if sae.d_in != lm.d_in:
        raise ArtifactError(f"the SAE reads activations of width {sae.d_in}, and the model gives {lm.d_in}")
    in_model = InModel(lm, sae.settings.layer, kinds, runtime.lm_batch_tokens, tokenizer.padding_side == "left")
    sums = _measure(in_model, rendered, _reconstruction(sae.to(device, dtype)))
    return InModelReport(sums, settings)


def draw(examples: Sequence[Example], settings: InModelSettings) -> list[Example]:
    """Draw examples at random, in their order."""
    n = len(examples) if settings.examples is None else min(settings.examples, len(examples))
    chosen = np.random.default_rng(settings.seed).choice(len(examples), n, replace=False)
    return [examples[i] for i in sorted(chosen)]


def _load(model: ModelSettings, commit: str | None, device: torch.device) -> CausalLM:
    try:
        return load_causal_lm(model, commit, device)
    except NoCausalLMError as error:
        raise ModelError(
            f"{error}; evaluate_in_model needs a model with an LM head: set in_model.enabled: false"
        ) from None


def _reconstruction(sae: SparseAutoencoder) -> Replace:
    return lambda states: sae(states.to(sae.b_dec))


def _measure(in_model: InModel, rendered: Mapping[Split, Sequence[Rendered]], reconstruct: Replace) -> PredictionSums:
    validation, test = rendered["validation"], rendered["test"]
    tokens = {split: sum(len(example.token_ids) for example in part) for split, part in rendered.items()}
    with progress_bar("mean activation on validation", "token", tokens["validation"]) as progress:
        mean = in_model.mean(validation, progress.update)
    with progress_bar("evaluate in the model on test", "token", tokens["test"]) as progress:
        return in_model.measure(test, reconstruct, mean, progress.update)
