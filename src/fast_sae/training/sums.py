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
    centred: Float[np.ndarray, " d_in"]
    """x − b_dec, which lies near the mean, so that the sum of squares loses no digits."""
    centred_squares: float
    """‖x − b_dec‖²."""
    active: int
    """Latents above 0."""
    penalty: float = 0.0
    """The sparsity penalty times the rows."""

    def __add__(self, other: "Sums") -> "Sums":
        """Add up two parts."""
        return Sums(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    @property
    def deviations(self) -> float:
        """Squared deviations of the rows from their mean."""
        return self.centred_squares - float(self.centred @ self.centred) / self.rows


@torch.no_grad()
def measure(sae: SparseAutoencoder, x: Float[Tensor, "batch d_in"]) -> Sums:
    """Reconstruct a batch by the rule of inference."""
    pre = sae.pre_activations(x)
    latents = sae.activate(pre)
    squares = [(r - x).double().square_().sum().item() for r in sae.reconstructions(latents)]
    penalty = len(x) * float(sae.penalty(pre, latents)) if sae.coefficient else 0.0
    active = int(latents.count_nonzero())
    del pre, latents
    centred = (x - sae.b_dec).double()
    total = centred.sum(0).cpu().numpy()
    return Sums(len(x), np.array(squares), total, float(centred.square_().sum()), active, penalty)
