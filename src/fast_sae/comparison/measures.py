"""What two ways of training are compared by."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fast_sae.comparison.stability import SHARED

L0 = "evaluate.l0"
ROWS = "evaluate.rows"


@dataclass(frozen=True)
class Measure:
    """One number of a run, or of a pair of runs."""

    key: str
    """As metrics/*.json and `dvc exp show` name it, or how it is derived from that."""
    title: str
    told: str
    """What it is."""
    better: Literal["lower", "higher"]


MEASURES = (
    Measure("evaluate.reconstruction_mse", "MSE", "mean squared error per number, over all test tokens", "lower"),
    Measure("evaluate.reconstruction_mse_macro", "MSE macro", "the mean over texts of each text's MSE", "lower"),
    Measure("log2 evaluate.reconstruction_mse_macro", "log2 MSE macro", "what the paper's tables print", "lower"),
    Measure("evaluate.special_token_mse", "MSE_st", "MSE macro of the template's tokens", "lower"),
    Measure("log2 evaluate.special_token_mse", "log2 MSE_st", "what the paper's tables print", "lower"),
    Measure("evaluate.normalized_mse", "FVU", "fraction of variance unexplained", "lower"),
    Measure(
        "evaluate.normalized_mse_varying",
        "FVU varying",
        "without tokens whose whole prefix is the same in all texts",
        "lower",
    ),
    Measure("evaluate.dead_latent_fraction", "dead", "latents that fire on no test token", "lower"),
    Measure("in_model.ce_recovered", "CE recovered", "of the loss that a zeroed layer costs the model", "higher"),
    Measure("evaluate.label_auroc", "label AUROC", "of the best latent of each label, chosen on validation", "higher"),
    Measure("stability.mean_cosine", "seed cosine", "mean cosine of decoders matched between two seeds", "higher"),
    Measure("stability.shared", "seeds share", f"latents that two seeds share (cosine ≥ {SHARED})", "higher"),
)
"""In the order of the report."""


def with_derived(metrics: Mapping[str, float]) -> dict[str, float]:
    """Add the logarithms; a metric that is 0 or absent has none.

    >>> with_derived({"evaluate.special_token_mse": 0.25})["log2 evaluate.special_token_mse"]
    -2.0
    """
    logarithms = [measure.key for measure in MEASURES if measure.key.startswith("log2 ")]
    values = {key: metrics.get(key.removeprefix("log2 "), 0.0) for key in logarithms}
    return {**metrics, **{key: math.log2(value) for key, value in values.items() if value > 0}}
