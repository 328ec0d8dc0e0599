"""What every sparse autoencoder is: parameters, encoding, decoding and the terms of its loss.

An architecture is a file in architectures/ with a class `Architecture`, which says how pre-activations become latents.
The training loop asks it for its loss and tells it of steps and validation; it never asks which architecture it has.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from fast_sae.params import Settings
from fast_sae.sae.functional import (
    ReconstructionLoss,
    aux_k_loss,
    normalized_mse,
    prefix_reconstructions,
    round_to_bits,
    top_k,
)
from fast_sae.sae.settings import SAESettings
from fast_sae.sae.sparsity import PenaltyOptions, SparsityCoefficient


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
    """Which latents have not fired for long; training keeps the count, and the loss only asks."""

    def after(self, fired: Bool[Tensor, " M"]) -> Bool[Tensor, " M"]:
        """Return which latents are dead after a step in which those marked fired; nothing is counted."""
        ...


@dataclass(frozen=True)
class Step:
    """Where training stands, and what it minimises."""

    number: int
    """Steps taken before this one."""
    dead: DeadLatents
    reconstruction_loss: ReconstructionLoss = normalized_mse
    """What measures the error of a reconstruction."""


@dataclass(frozen=True)
class Loss:
    """The loss of one training step, and what else is to be known about it; only `total` has a gradient."""

    total: Float[Tensor, ""]
    reconstruction: Float[Tensor, ""]
    """Mean over the prefixes of the reconstruction loss."""
    l0: Float[Tensor, ""]
    """Mean number of active latents per row."""
    fired: Bool[Tensor, " M"]
    """Latents above 0 in some row of the batch."""
    penalty: Float[Tensor, ""] | None
    """The sparsity penalty without its λ; None if the architecture has none."""
    coefficient: Float[Tensor, ""] | None
    """Its λ in this step."""


class SparseAutoencoder(nn.Module, ABC):
    """f = activate((x − b_dec) W_enc + b_enc), x̂ = f W_dec + b_dec.

    x is an activation of shape (d_in,), f the latents of shape (M,), at least 0; rows of W_dec have norm 1. Without
    `subtract_b_dec` the encoder reads x itself.
    """

    latent_axis: ClassVar[dict[str, int]] = {"W_enc": 1, "b_enc": 0, "W_dec": 0}
    """The axis of each parameter that runs over latents."""
    in_units_of_x: ClassVar[tuple[str, ...]] = ("b_enc", "b_dec")
    """Parameters and buffers that double when all activations do: activate(c · pre) is c · activate(pre) with them."""
    straight_through: ClassVar[frozenset[str]] = frozenset()
    """Parameters that the loss depends on by jumps, so that their gradient is an estimate."""

    def __init__(self, d_in: int, settings: SAESettings, options: Settings) -> None:
        """Make a zero-weight SAE; `initialise` or a checkpoint fills it.

        Args:
            d_in: Width of the activations it reads.
            settings: The `sae` section.
            options: The sub-section that only this architecture reads; with `PenaltyOptions` it has a penalty.
        """
        super().__init__()
        self.settings, self.options = settings, options
        self.d_in = d_in
        self.W_enc = nn.Parameter(torch.zeros(settings.M, d_in).T)  # a latent's weights side by side in memory
        self.b_enc = nn.Parameter(torch.zeros(settings.M))
        self.W_dec = nn.Parameter(torch.zeros(settings.M, d_in))
        self.b_dec = nn.Parameter(torch.zeros(d_in))
        steers = isinstance(options, PenaltyOptions)
        self.coefficient = SparsityCoefficient(options, settings.K) if steers else None

    @property
    def keeps_largest(self) -> int | None:
        """The K of an SAE that keeps the K largest positive pre-activations of each row, in training and inference.

        None for all others. Training can do without most of the arithmetic where it knows this.
        """
        return None

    @abstractmethod
    def activate(self, pre: Float[Tensor, "batch M"]) -> Float[Tensor, "batch M"]:
        """Turn pre-activations into latents by the rule of inference: each row by itself."""

    def activate_in_training(self, pre: Float[Tensor, "batch M"]) -> Float[Tensor, "batch M"]:
        """Turn pre-activations into latents by the rule of training; the same unless an architecture says otherwise."""
        return self.activate(pre)

    def penalty(self, pre: Float[Tensor, "batch M"], latents: Float[Tensor, "batch M"]) -> Float[Tensor, ""]:
        """Return the sparsity penalty without its λ; needed of an architecture that has a `coefficient`."""
        raise NotImplementedError

    def finalise(self, validation: Batches) -> None:
        """Set what can only be set on data that training does not fit, such as a threshold; nothing by default."""

    def distance_from_target(self, l0: float, steps: int) -> float:
        """Return how far this SAE is from the sparsity that it is trained for; 0 if near enough, or if it has its own.

        Args:
            l0: Mean L0 on validation.
            steps: Steps taken.
        """
        return self.coefficient.distance(l0, steps) if self.coefficient else 0.0

    @property
    def fixed_coefficient(self) -> float:
        """The λ that is part of what is minimised; 0 without a penalty, and where λ is steered to an L0 instead."""
        return 0.0 if self.coefficient is None or self.coefficient.is_steered else self.coefficient.value.item()

    def aim(self, l0: float) -> None:
        """Take the L0 that validation has after an epoch, for a penalty that is steered to one; nothing otherwise."""
        if self.coefficient:
            self.coefficient.aim(l0)

    def pre_activations(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch M"]:
        """Encode linearly."""
        return (x - self.b_dec if self.settings.subtract_b_dec else x) @ self.W_enc + self.b_enc

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
        """Return the training loss; it changes nothing.

        Equation: mean over the prefixes of R(x̂, x) + λ · penalty + multi_coef · multi-K + aux_coef · aux-K, where R is
        the step's reconstruction loss. Source: HypotheSAEs 2.0.1 (Movva et al. 2025, arXiv:2502.04382),
        `SparseAutoencoder.compute_loss`; the mean over prefixes follows Bussmann et al. 2025 (arXiv:2503.17547).
        """
        pre = self.pre_activations(x)
        latents = self.activate_in_training(pre)
        active = latents.detach() > 0
        fired = active.any(0)
        reconstructions = list(self.reconstructions(latents))
        reconstruction = torch.stack([step.reconstruction_loss(r, x) for r in reconstructions]).mean()
        total = reconstruction + self._auxiliary_terms(pre, x, reconstructions[-1], fired, step)
        penalty = coefficient = None
        if self.coefficient:
            penalty, coefficient = self.penalty(pre, latents), self.coefficient.at(step.number).clone()
            total = total + coefficient * penalty
            penalty = penalty.detach()
        return Loss(total, reconstruction.detach(), active.sum() / len(x), fired, penalty, coefficient)

    def _auxiliary_terms(
        self,
        pre: Float[Tensor, "batch M"],
        x: Float[Tensor, "batch d_in"],
        reconstruction: Float[Tensor, "batch d_in"],
        fired: Bool[Tensor, " M"],
        step: Step,
    ) -> Float[Tensor, ""]:
        total = pre.new_zeros(())
        if self.settings.multi_k and self.settings.multi_coef:
            multi = self.decode(top_k(pre, self.settings.multi_k))
            total = total + self.settings.multi_coef * step.reconstruction_loss(multi, x)
        if self.settings.n_aux and self.settings.aux_coef:
            error = (x - reconstruction).detach()
            dead = step.dead.after(fired)
            aux = aux_k_loss(pre, dead, self.settings.n_aux, self.W_dec, error, loss=step.reconstruction_loss)
            total = total + self.settings.aux_coef * aux
        return total

    @torch.no_grad()
    def initialise(self, b_dec: Float[Tensor, " d_in"], generator: torch.Generator, *, tied: bool = True) -> None:
        """Set the weights that training starts from: unit decoder rows of random direction, zero b_enc.

        Args:
            b_dec: The decoder bias.
            generator: Draws on the CPU, so that a GPU run starts from the same weights.
            tied: Start the encoder as the decoder's transpose; otherwise draw it by itself, Kaiming-uniform
                (He et al. 2015, arXiv:1502.01852): ±√(6 / d_in).
        """
        self.W_dec.copy_(_uniform(self.W_dec.shape, (6 / (self.d_in + self.settings.M)) ** 0.5, generator))
        self.normalise_decoder()  # what is left of Glorot's or He's bound is the direction
        self.W_enc.copy_(self.W_dec.T if tied else _uniform(self.W_enc.shape, (6 / self.d_in) ** 0.5, generator))
        self.b_enc.zero_()
        self.b_dec.copy_(b_dec)

    @torch.no_grad()
    def restart_latents(self, index: Int64[Tensor, " latent"], directions: Float[Tensor, "latent d_in"]) -> None:
        """Give some latents new directions of norm 1 from b_dec, with encoders a fifth as long as the others' mean.

        Source: Bricken et al. 2023, "Towards Monosemanticity", appendix "Neuron Resampling".
        """
        others = torch.ones_like(self.b_enc, dtype=torch.bool).index_fill(0, index, False)
        length = self.W_enc[:, others].norm(dim=0).mean() if bool(others.any()) else self.W_enc.new_ones(())
        self.W_dec[index] = directions
        self.W_enc[:, index] = directions.T * (0.2 * length)
        self.b_enc[index] = 0 if self.settings.subtract_b_dec else -(self.b_dec @ self.W_enc[:, index])

    @torch.no_grad()
    def take_raw_rows(self, scale: float) -> None:
        """Turn an SAE trained on rows that were multiplied by `scale` into the same one of raw rows.

        f(scale · x) / scale are then its latents, x̂(scale · x) / scale its reconstruction; decoder rows keep norm 1.
        """
        tensors = self.state_dict()
        for name in self.in_units_of_x:
            tensors[name] /= scale

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
                along = tuple(axis for axis in range(grad.ndim) if axis != self.latent_axis.get(name, 0))
                parameter.grad = round_to_bits(grad, bits, along).view_as(parameter)

    def after_step(self, loss: Loss, lr: float) -> None:
        """Bring parameters back to where they must lie after a step that left decoder rows at norm 1; steer λ.

        Args:
            loss: What `loss` gave for the step.
            lr: The step's learning rate.
        """
        if self.coefficient and loss.penalty is not None:
            self.coefficient.update(loss.l0, loss.penalty, loss.reconstruction, lr)

    @torch.no_grad()
    def normalise_decoder(self) -> None:
        """Give every row of the decoder norm 1."""
        self.W_dec /= self.W_dec.norm(dim=1, keepdim=True)


def _uniform(shape: torch.Size, bound: float, generator: torch.Generator) -> Float[Tensor, "*shape"]:
    """Draw from −bound to bound, in float64 on the CPU."""
    return (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * bound
