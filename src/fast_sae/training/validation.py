"""How an SAE does on validation data, by the rule of inference; nothing that training counts is touched."""

from dataclasses import dataclass

import torch

from fast_sae.sae.base import Batches, SparseAutoencoder


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


@torch.no_grad()
def validate(sae: SparseAutoencoder, rows: Batches) -> Validation:
    """Measure an SAE on all rows."""
    errors = torch.zeros(len(sae.settings.prefixes), dtype=torch.float64)
    total = torch.zeros(sae.d_in, dtype=torch.float64)
    squares, active, penalty = 0.0, 0, 0.0
    for x in rows:
        pre = sae.pre_activations(x)
        latents = sae.activate(pre)
        penalty += len(x) * float(sae.penalty(pre, latents)) if sae.coefficient else 0.0
        errors += torch.stack([(r - x).double().square_().sum().cpu() for r in sae.reconstructions(latents)])
        active += int(latents.count_nonzero())
        del pre, latents  # two arrays as large as any that follow
        centred = (x - sae.b_dec).double()  # near the mean, so that the sum of squares loses no digits
        total += centred.sum(0).cpu()
        squares += float(centred.square_().sum())
    n = rows.rows
    variance = squares - float(total.square().sum()) / n
    return Validation(float(errors.mean()) / variance, active / n, variance / n, penalty / n)
