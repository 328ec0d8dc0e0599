"""What the rows of a batch or of a split add up to; the sums of two parts add up to those of the whole."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fast_sae.sae.base import SparseAutoencoder


@dataclass(frozen=True)
class Sums:
    """Errors and what they are measured against."""

    rows: int
    squares: Float[np.ndarray, " prefix"]
    """Squared errors of the reconstruction from each prefix."""
    mean: Float[np.ndarray, " d_in"]
    """Of the rows."""
    deviations: float
    """Squared deviations of the rows from their mean."""
    active: int
    """Latents above 0."""
    penalty: float = 0.0
    """The sparsity penalty times the rows."""

    def __add__(self, other: "Sums") -> "Sums":
        """Add up two parts.

        Deviations are merged by Chan, Golub & LeVeque 1979 (STAN-CS-79-773), eq. 2.1, which loses no digits where the
        mean is large: those of both, and ‖difference of the means‖² · n₁ n₂ / (n₁ + n₂).
        """
        n, apart = self.rows + other.rows, other.mean - self.mean
        return Sums(
            rows=n,
            squares=self.squares + other.squares,
            mean=self.mean + apart * (other.rows / n),
            deviations=self.deviations + other.deviations + float(apart @ apart) * self.rows * other.rows / n,
            active=self.active + other.active,
            penalty=self.penalty + other.penalty,
        )


@torch.no_grad()
def measure(sae: SparseAutoencoder, x: Float[Tensor, "batch d_in"]) -> Sums:
    """Reconstruct a batch by the rule of inference."""
    pre = sae.pre_activations(x)
    latents = sae.activate(pre)
    squares = [(r - x).double().square_().sum().item() for r in sae.reconstructions(latents)]
    penalty = len(x) * float(sae.penalty(pre, latents)) if sae.coefficient else 0.0
    active = int(latents.count_nonzero())
    del pre, latents
    wide = x.double()
    mean = wide.mean(0)
    deviations = float((wide - mean).square_().sum())
    return Sums(len(x), np.array(squares), mean.cpu().numpy(), deviations, active, penalty)
