"""What two ways of training are compared by."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fast_sae.comparison.matching import SHARED

L0 = "evaluate.l0"
ROWS = "evaluate.rows"
VARYING_L0 = "evaluate.l0_varying"
WITHOUT = "without constant rows"
"""In titles; a constant row is of a token whose whole prefix is the same in all chats."""
FROM_TABLE = {
    ("trained varying", "mse"): "evaluate.reconstruction_mse_varying",
    ("trained varying", "mse_macro"): "evaluate.mse_macro_varying",
    ("trained varying", "l0"): VARYING_L0,
    ("special varying", "mse_macro"): "evaluate.special_token_mse_varying",
}
"""What the evaluation's table by kind of token adds to the metrics, by its line and column."""


@dataclass(frozen=True)
class Measure:
    """One number of a run, or of a pair of runs."""

    key: str
    """As metrics/*.json and `dvc exp show` name it, or how it is derived from that."""
    title: str
    told: str
    """What it is."""
    better: Literal["lower", "higher"]
    l0: str = L0
    """The L0 over the rows that it is measured on."""

    @property
    def logarithm(self) -> bool:
        """Whether it is the logarithm of another one."""
        return self.key.startswith("log2 ")

    @property
    def of_seed_pairs(self) -> bool:
        """Whether its values are of pairs of seeds, which are not independent."""
        return self.key.startswith("stability.")


MEASURES = (
    Measure("evaluate.reconstruction_mse", "MSE", "mean squared error per number, over all test tokens", "lower"),
    Measure("evaluate.reconstruction_mse_varying", f"MSE {WITHOUT}", "over the other test tokens", "lower", VARYING_L0),
    Measure("evaluate.reconstruction_mse_macro", "MSE macro", "the mean over texts of each text's MSE", "lower"),
    Measure("evaluate.mse_macro_varying", f"MSE macro {WITHOUT}", "of each text's other tokens", "lower", VARYING_L0),
    Measure("log2 evaluate.reconstruction_mse_macro", "log2 MSE macro", "what the paper's tables print", "lower"),
    Measure("evaluate.special_token_mse", "MSE_st", "MSE macro of the template's tokens", "lower"),
    Measure("evaluate.special_token_mse_varying", f"MSE_st {WITHOUT}", "of the template's others", "lower", VARYING_L0),
    Measure("log2 evaluate.special_token_mse", "log2 MSE_st", "what the paper's tables print", "lower"),
    Measure("evaluate.normalized_mse", "FVU", "fraction of variance unexplained", "lower"),
    Measure("evaluate.normalized_mse_varying", f"FVU {WITHOUT}", "of the other tokens' variance", "lower", VARYING_L0),
    Measure("evaluate.dead_latent_fraction", "dead", "latents that fire on no test token", "lower"),
    Measure("in_model.ce_recovered", "CE recovered", "of the loss that a zeroed layer costs the model", "higher"),
    Measure("evaluate.label_auroc", "label AUROC", "of the best latent of each label, chosen on validation", "higher"),
    Measure("stability.mean_cosine", "seed cosine", "mean cosine of decoders matched between two seeds", "higher"),
    Measure("stability.shared", "seeds share", f"latents that two seeds share (cosine ≥ {SHARED})", "higher"),
)
"""In the order of the report."""
HEADLINE = sorted((m for m in MEASURES if not m.logarithm), key=lambda m: m.l0 != VARYING_L0)
"""Those that sentences rest on: first without constant rows; a logarithm says again what its error says."""


def with_derived(metrics: Mapping[str, float]) -> dict[str, float]:
    """Add the logarithms; a metric that is 0 or absent has none.

    >>> with_derived({"evaluate.special_token_mse": 0.25})["log2 evaluate.special_token_mse"]
    -2.0
    """
    logarithms = [measure.key for measure in MEASURES if measure.logarithm]
    values = {key: metrics.get(key.removeprefix("log2 "), 0.0) for key in logarithms}
    return {**metrics, **{key: math.log2(value) for key, value in values.items() if value > 0}}
