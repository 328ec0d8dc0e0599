"""What every sparse autoencoder is: parameters, encoding, decoding and the terms of its loss.

An architecture is a file in architectures/ with a class `Architecture`, which says how pre-activations become latents.
The training loop knows it only by `loss`, `after_step` and `finalise`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fast_sae.sae.functional import aux_k_loss, normalized_mse, prefix_reconstructions, round_to_bits, top_k
from fast_sae.sae.settings import SAESettings


@runtime_checkable
class Batches(Protocol):
    """The rows of a split, in portions; each iteration goes through all of them once, in the same order."""

    @property
    def rows(self) -> int:
        """Rows in all."""
        ...

    def __iter__(self) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the portions."""
        ...


@runtime_checkable
class DeadLatents(Protocol):
    """Which latents have not fired for long; training keeps the count."""

    def observe(self, latents: Float[Tensor, "batch M"]) -> Bool[Tensor, " M"]:
        """Count one training step in which `latents` fired, and return which are dead after it."""
        ...


@dataclass(frozen=True)
class Step:
    """Where training stands."""

    number: int
    """Steps taken before this one."""
    dead: DeadLatents


@dataclass(frozen=True)
class Loss:
    """The loss of one training step, and what is plotted about it."""

    total: Float[Tensor, ""]
    l0: Float[Tensor, ""]
    """Mean number of active latents per row."""


class SparseAutoencoder(nn.Module, ABC):
    """f = activate((x − b_dec) W_enc + b_enc), x̂ = f W_dec + b_dec.

    x is an activation of shape (d_in,), f the latents of shape (M,), at least 0; rows of W_dec have norm 1.
    """

    def __init__(self, d_in: int, settings: SAESettings) -> None:
        """Make a zero-weight SAE; `initialise` or a checkpoint fills it."""
        super().__init__()
        self.settings = settings
        self.d_in = d_in
        self.W_enc = nn.Parameter(torch.zeros(d_in, settings.M))
        self.b_enc = nn.Parameter(torch.zeros(settings.M))
        self.W_dec = nn.Parameter(torch.zeros(settings.M, d_in))
        self.b_dec = nn.Parameter(torch.zeros(d_in))

    @abstractmethod
    def activate(self, pre: Float[Tensor, "batch M"]) -> Float[Tensor, "batch M"]:
        """Turn pre-activations into latents by the rule of inference: each row by itself."""

    def activate_in_training(self, pre: Float[Tensor, "batch M"]) -> Float[Tensor, "batch M"]:
        """Turn pre-activations into latents by the rule of training; the same unless an architecture says otherwise."""
        return self.activate(pre)

    def finalise(self, validation: Batches) -> None:
        """Set what can only be set on data that training does not fit, such as a threshold; nothing by default."""

    def pre_activations(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch M"]:
        """Encode linearly."""
        return (x - self.b_dec) @ self.W_enc + self.b_enc

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch M"]:
        """Return the latents of raw activations."""
        return self.activate(self.pre_activations(x))

    def decode(self, latents: Float[Tensor, "batch M"]) -> Float[Tensor, "batch d_in"]:
        """Return the reconstruction from latents."""
        return latents @ self.W_dec + self.b_dec

    def reconstructions(self, latents: Float[Tensor, "batch M"]) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Yield the reconstruction from each Matryoshka prefix of the latents, the whole last."""
        return prefix_reconstructions(latents, self.W_dec, self.b_dec, self.settings.prefixes)

    def forward(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """Return the reconstruction of raw activations."""
        return self.decode(self.encode(x))

    def loss(self, x: Float[Tensor, "batch d_in"], step: Step) -> Loss:
        """Return the training loss: mean NMSE over the prefixes + multi_coef · multi-K + aux_coef · aux-K.

        Source: HypotheSAEs 2.0.1 (Movva et al. 2025, arXiv:2502.04382), `SparseAutoencoder.compute_loss`; the mean over
        prefixes follows Bussmann et al. 2025 (arXiv:2503.17547).
        """
        pre = self.pre_activations(x)
        latents = self.activate_in_training(pre)
        dead = step.dead.observe(latents.detach())
        reconstructions = list(self.reconstructions(latents))
        total = torch.stack([normalized_mse(r, x) for r in reconstructions]).mean()
        if self.settings.multi_k and self.settings.multi_coef:
            multi = self.decode(top_k(pre, self.settings.multi_k))
            total = total + self.settings.multi_coef * normalized_mse(multi, x)
        if self.settings.n_aux and self.settings.aux_coef:
            error = (x - reconstructions[-1]).detach()
            total = total + self.settings.aux_coef * aux_k_loss(pre, dead, self.settings.n_aux, self.W_dec, error)
        return Loss(total, (latents.detach() > 0).sum() / len(x))

    @torch.no_grad()
    def initialise(self, b_dec: Float[Tensor, " d_in"], generator: torch.Generator) -> None:
        """Set the weights that training starts from: Xavier-uniform unit decoder rows, a tied encoder, zero b_enc.

        Args:
            b_dec: The decoder bias; HypotheSAEs takes the coordinate-wise median of the data.
            generator: Draws on the CPU, so that a GPU run starts from the same weights.
        """
        bound = (6 / (self.d_in + self.settings.M)) ** 0.5  # Glorot & Bengio 2010
        drawn = torch.rand(self.W_dec.shape, generator=generator, dtype=torch.float64) * 2 - 1
        self.W_dec.copy_(drawn * bound)
        self.normalise_decoder()
        self.W_enc.copy_(self.W_dec.T)
        self.b_enc.zero_()
        self.b_dec.copy_(b_dec)

    @torch.no_grad()
    def before_step(self) -> None:
        """Take out of the decoder's gradient what would only change the norms of its rows."""
        assert self.W_dec.grad is not None
        along = (self.W_dec * self.W_dec.grad).sum(1, keepdim=True)
        self.W_dec.grad -= along * self.W_dec

    @torch.no_grad()
    def round_gradients(self, bits: int) -> None:
        """Keep so many bits of every gradient, counted from the largest in its latent's row or column.

        Another processor's float64 differs in the last bits. Each step would carry that on and add to it, until a
        Top-K choice falls otherwise and the runs part; a gradient of few bits comes out equal.
        """
        for name, parameter in self.named_parameters():
            if parameter.grad is not None:
                grad = parameter.grad if parameter.grad.ndim > 1 else parameter.grad.reshape(-1, 1)
                along = 0 if name == "W_enc" else tuple(range(1, grad.ndim))
                parameter.grad = round_to_bits(grad, bits, along).view_as(parameter)

    def after_step(self) -> None:
        """Bring the parameters back to where they must lie after the optimiser's step."""
        self.normalise_decoder()

    @torch.no_grad()
    def normalise_decoder(self) -> None:
        """Give every row of the decoder norm 1."""
        self.W_dec /= self.W_dec.norm(dim=1, keepdim=True)
