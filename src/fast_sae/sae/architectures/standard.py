"""ReLU with an L1 penalty, the standard SAE of the literature (Bricken et al. 2023; FAST, arXiv:2506.07691).

Equation: f = ReLU(pre), loss R(x̂, x) + λ · E‖f‖₁. Decoder rows have norm 1, so that L1 cannot be had for nothing.
"""

from jaxtyping import Float
from torch import Tensor

from fast_sae.sae.base import SparseAutoencoder
from fast_sae.sae.sparsity import PenaltyOptions


class Options(PenaltyOptions):
    """λ is all there is to choose."""


class Architecture(SparseAutoencoder):
    """f = ReLU(pre)."""

    def activate(self, pre: Float[Tensor, "batch M"]) -> Float[Tensor, "batch M"]:
        """Keep what is positive."""
        return pre.relu()

    def penalty(self, pre: Float[Tensor, "batch M"], latents: Float[Tensor, "batch M"]) -> Float[Tensor, ""]:
        """Return E‖f‖₁."""
        return latents.sum() / len(latents)
