"""How strongly a penalty pushes latents to 0: a fixed coefficient λ, or one steered until L0 is what was asked for.

An L1 or L0 penalty has no K of its own. To compare such an SAE with another at the same L0, λ is a controlled quantity:
while more latents are active than wanted it grows, while fewer are it shrinks.
"""

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from fast_sae.params import Settings

TOLERANCE = 0.01
"""Relative distance from the wanted L0 at which validation takes it for reached; test then lies within 5 %. Small,
because of the epochs within it the best is kept, which is one of the denser."""
_START = 0.01
"""The first λ makes the penalty this share of the reconstruction loss."""
_USUAL_LR = 1e-3
"""Learning rate that the three constants below are for: an SAE follows λ in proportion to it, and so must they."""
_MOST = 100.0
"""A steered penalty is at most so many times the reconstruction loss: where L0 does not follow, λ must not run away."""
_FASTEST = 3.0
"""A learning rate so many times the usual one, or higher, is steered at as if it were this."""
_SETTLED = 0.2
"""|log(L0 / aim)| within which what validation sees differently is no lag of a falling L0."""
_FORGOTTEN = 0.05
"""Weight of a new batch in the running mean of log L0."""
_LEAST = 1e-3
"""L0 over the target below which it counts as this: no latent at all is no infinity."""
_AHEAD = 60.0
"""Steps that the drift of L0 is followed ahead, so that λ turns before L0 has passed the mark."""


class PenaltyOptions(Settings):
    """What every architecture with a sparsity penalty has in its sub-section."""

    coefficient: Annotated[float, Field(gt=0)] | None
    """λ, fixed; L0 is then what comes out. Null: steered, so that the mean L0 becomes sae.K."""
    warmup_steps: Annotated[int, Field(ge=0)]
    """Steps over which a fixed λ rises linearly from 0; a steered one starts low by itself."""
    steer_rate: Annotated[float, Field(gt=0, le=1)]
    """How fast a steered λ follows: its relative change in a step where L0 is e times the wanted one and lr is 0.001;
    in proportion to lr at another."""


class SparsityCoefficient(nn.Module):
    """λ of a penalty.

    Equation: log λ ← log λ + rate · (clip(e, ±1) + ahead · Δe), e the running mean of log(L0 / aim): a controller in
    log space, so that neither the scale of the data nor that of the loss matters. The aim for training batches is such
    that validation has the target: the two differ where train is fed otherwise than it is used (blocks, whole chats).
    """

    value: Float[Tensor, ""]
    _log_ratio: Float[Tensor, ""]
    """e: the running mean of log(L0 / aim); NaN before the first step."""
    _log_aim: Float[Tensor, ""]
    """log(aim / target)."""

    def __init__(self, options: PenaltyOptions, target: int) -> None:
        """Start at λ = 0 if it is steered.

        Args:
            options: Fixed or steered, and how.
            target: The wanted mean L0.
        """
        super().__init__()
        self._options, self.target = options, target
        self.register_buffer("value", torch.tensor(options.coefficient or 0.0), persistent=False)
        self.register_buffer("_log_ratio", torch.tensor(torch.nan), persistent=False)
        self.register_buffer("_log_aim", torch.tensor(0.0), persistent=False)

    @property
    def is_steered(self) -> bool:
        """Whether λ follows L0."""
        return self._options.coefficient is None

    def at(self, step: int) -> Float[Tensor, ""]:
        """Return λ for the step with this number, counted from 0."""
        if self.is_steered or not self._options.warmup_steps:
            return self.value
        return self.value * min(1.0, (step + 1) / self._options.warmup_steps)

    @torch.no_grad()
    def update(
        self, l0: Float[Tensor, ""], penalty: Float[Tensor, ""], reconstruction: Float[Tensor, ""], lr: float
    ) -> None:
        """Take what one training step gave.

        Args:
            l0: Mean L0 of the batch.
            penalty: The penalty, without λ.
            reconstruction: The reconstruction loss.
            lr: The step's learning rate.
        """
        if not self.is_steered or (torch.isnan(self._log_ratio) and penalty <= 0):
            return
        now = (l0 / self.target).clamp(min=_LEAST).log() - self._log_aim
        if torch.isnan(self._log_ratio):
            self._log_ratio.copy_(now)
            self.value.copy_(_START * reconstruction / penalty)
            return
        pace = min(lr / _USUAL_LR, _FASTEST)
        before = self._log_ratio.clone()
        self._log_ratio.lerp_(now.to(before), _FORGOTTEN * pace)
        drift = (self._log_ratio - before) * _AHEAD  # per step / pace, times rate · pace
        self.value.mul_((self._options.steer_rate * (pace * self._log_ratio.clamp(-1, 1) + drift)).exp())
        if penalty > 0:
            self.value.clamp_(max=_MOST * float(reconstruction / penalty))

    @torch.no_grad()
    def aim(self, l0: float) -> None:
        """Take the L0 that validation has now, and move the aim for training batches halfway to where it reaches K."""
        if not self.is_steered or not abs(float(self._log_ratio)) < _SETTLED:  # NaN before the first step
            return
        in_training = self._log_aim + self._log_ratio
        gap = math.log(max(l0 / self.target, _LEAST)) - in_training
        moved = (-gap - self._log_aim) / 2
        self._log_aim += moved
        self._log_ratio -= moved

    def distance(self, l0: float, steps: int) -> float:
        """Return how far an SAE of this validation L0 is from what it is trained for; 0 if near enough.

        |log(L0 / target)| if λ is steered; if it is fixed, 1 until its warm-up is over.
        """
        if not self.is_steered:
            return float(steps < self._options.warmup_steps)
        if abs(l0 / self.target - 1) <= TOLERANCE:
            return 0.0
        return abs(math.log(max(l0 / self.target, _LEAST)))
