"""JumpReLU: a learned threshold per latent under an L0 penalty (Rajamanoharan et al. 2024, arXiv:2407.14435).

Equations: f = z · H(z − θ), loss R(x̂, x) + λ · E‖f‖₀. Both jump in θ, so its gradient is the paper's estimate of that
of the expected loss, with the rectangle K(u) = 1 for |u| < 1/2 (sections 3 and 4):

    ∂f/∂θ = −(θ/ε) K((z − θ)/ε),    ∂‖f‖₀/∂θ = −(1/ε) K((z − θ)/ε)

ε, the bandwidth, and the first θ are in units of pre-activations. 0.001 suits rows whose norm is about 1, as the paper
scales them; on raw residual streams, whose norms go into the hundreds, hardly a value falls into so narrow a window,
and L0 does not move (SAELens issue 494). `train.normalise_input: rms` scales them so.

Differs from the paper: θ itself is learned, kept at least 0, and not log θ, whose steps under Adam are lr · θ and hence
tiny where θ starts tiny.
"""

from typing import Annotated

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from fast_sae.sae.base import Loss, SparseAutoencoder
from fast_sae.sae.settings import SAESettings
from fast_sae.sae.sparsity import PenaltyOptions


class Options(PenaltyOptions):
    """λ, and the thresholds' start and gradient."""

    bandwidth: Annotated[float, Field(gt=0)]
    """ε: width of the window around a threshold in which values count for its gradient."""
    initial_threshold: Annotated[float, Field(gt=0)]
    """θ of every latent at the start."""


class Architecture(SparseAutoencoder):
    """f = z where z > θ, else 0."""

    latent_axis = SparseAutoencoder.latent_axis | {"threshold": 0}
    in_units_of_x = (*SparseAutoencoder.in_units_of_x, "threshold")
    straight_through = frozenset({"threshold"})

    def __init__(self, d_in: int, settings: SAESettings, options: Options) -> None:
        """Make an SAE with zero weights and the thresholds' first value."""
        super().__init__(d_in, settings, options)
        self.options: Options = options
        self.threshold = nn.Parameter(torch.full((settings.M,), options.initial_threshold))

    def activate(self, pre: Float[Tensor, "batch M"]) -> Float[Tensor, "batch M"]:
        """Keep the pre-activations above their latent's threshold."""
        return torch.where(pre > self.threshold, pre, 0)

    def activate_in_training(self, pre: Float[Tensor, "batch M"]) -> Float[Tensor, "batch M"]:
        """Keep the same, with the gradient for θ; a jump at z ≈ θ is one of about θ."""
        open_gate = self._gate(pre)
        return pre * open_gate.detach() + self.threshold.detach() * (open_gate - open_gate.detach())

    def penalty(self, pre: Float[Tensor, "batch M"], latents: Float[Tensor, "batch M"]) -> Float[Tensor, ""]:
        """Return E‖f‖₀."""
        return self._gate(pre).sum() / len(pre)

    @torch.no_grad()
    def after_step(self, loss: Loss, lr: float) -> None:
        """Keep thresholds at least 0, so that latents are."""
        super().after_step(loss, lr)
        self.threshold.clamp_(min=0)

    @torch.no_grad()
    def restart_latents(self, index: Int64[Tensor, " latent"], directions: Float[Tensor, "latent d_in"]) -> None:
        """Give some latents new directions, and the threshold that all started from."""
        super().restart_latents(index, directions)
        self.threshold[index] = self.options.initial_threshold

    def _gate(self, pre: Float[Tensor, "batch M"]) -> Float[Tensor, "batch M"]:
        """Return H(z − θ), with the estimated gradient in θ and none in z."""
        z, threshold = pre.detach(), self.threshold.detach()
        near = ((z - threshold).abs() < self.options.bandwidth / 2).to(z)
        return (z > threshold).to(z) - near * ((self.threshold - threshold) / self.options.bandwidth)
