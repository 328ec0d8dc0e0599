"""How an SAE does on validation data, by the rule of inference; nothing that training counts is touched."""

import math
import operator
from dataclasses import dataclass
from functools import reduce

from fast_sae.sae.base import Batches
from fast_sae.training.gradients import Gradients


@dataclass(frozen=True)
class Validation:
    """How an SAE does on validation data."""

    loss: float
    """Mean over the prefixes of the normalised MSE: ratio of sums over all rows."""
    l0: float
    """Mean number of active latents per row."""
    variance: float
    """Mean over rows of the squared distance from their mean, by which `loss` is divided."""
    penalty: float
    """Mean sparsity penalty, without λ; 0 if the SAE has none."""


def validate(gradients: Gradients, rows: Batches) -> Validation:
    """Measure an SAE on all rows."""
    found = reduce(operator.add, map(gradients.measure, rows))
    return Validation(
        loss=float(found.squares.mean()) / found.deviations if found.deviations else math.nan,  # all rows are equal
        l0=found.active / found.rows,
        variance=found.deviations / found.rows,
        penalty=found.penalty / found.rows,
    )
