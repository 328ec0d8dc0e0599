"""Evaluation, whole: choose on validation, score on test."""

import torch

from fast_sae.evaluation.labels import score_labels
from fast_sae.evaluation.measure import Evaluator, Held
from fast_sae.evaluation.report import Report
from fast_sae.evaluation.settings import EvaluateSettings
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.base import SparseAutoencoder


def evaluate_sae(
    sae: SparseAutoencoder,
    validation: Held,
    test: Held,
    settings: EvaluateSettings,
    *,
    kinds: tuple[int, ...],
    dtype: torch.dtype,
    runtime: RuntimeSettings,
) -> Report:
    """Measure an SAE on test; validation only chooses each label's latent.

    Args:
        sae: As loaded.
        validation: The split that chooses.
        test: The split that is scored.
        settings: The `evaluate` section.
        kinds: Kinds of tokens the SAE was trained on.
        dtype: What to compute in.
        runtime: The `runtime` section.
    """
    evaluator = Evaluator(sae.to(runtime.torch_device(), dtype), settings, kinds, runtime.sae_batch_rows)
    measured = evaluator.measure(test)
    labels = []
    if any(label is not None for label in test.labels):
        chosen_on = evaluator.measure(validation).pooled
        labels = score_labels(chosen_on, validation.labels, measured.pooled, test.labels)
    return Report(measured, labels, kinds, sae.settings.prefixes, sae.settings.K)
