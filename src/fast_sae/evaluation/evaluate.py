"""Evaluation, whole: choose on validation, score on test."""

import torch

from fast_sae.activations.held import Held
from fast_sae.evaluation.labels import LabelScores, choose
from fast_sae.evaluation.measure import Evaluator
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
    """Measure an SAE on test; validation chooses what tells each label, and says where outliers begin.

    Args:
        sae: As loaded.
        validation: The split that chooses.
        test: The split that is scored.
        settings: The `evaluate` section.
        kinds: Kinds of tokens the SAE was trained on.
        dtype: What to compute in.
        runtime: The `runtime` section.
    """
    batch_rows = runtime.rows_at_once(max(sae.d_in, sae.settings.M))
    evaluator = Evaluator(sae.to(runtime.torch_device(), dtype), settings, kinds, batch_rows)
    scale, features = evaluator.look_at(validation)
    chosen = choose(features, evaluator.labels(test), settings.seed)
    del features  # as large as those of test
    measured = evaluator.measure(test, scale)
    counts = measured.counts[:, measured.features.examples]
    labels = chosen.score(measured.features, counts) if chosen else LabelScores()
    return Report(measured, labels, kinds, sae.settings.prefixes, sae.settings.K, settings.confidence)
