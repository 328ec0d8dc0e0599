"""Which latents have not fired for long, counted in training steps and by nothing but training."""

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

_COUNTED_EVERY = 64
"""Steps after which the longest silence is looked up again, which waits for a GPU."""


class DeadLatentCounter:
    """Steps since each latent last fired; a latent is dead after more than `dead_after` of them.

    A latent fires when it is above 0 for some row of the batch. HypotheSAEs counts alike, but lets validation and
    inference advance its counters. While none can be dead, which is most of the time, none is looked at.
    """

    def __init__(self, n_latents: int, dead_after: int, device: torch.device) -> None:
        """Start with every latent just fired."""
        self.steps_silent: Int64[Tensor, " M"] = torch.zeros(n_latents, dtype=torch.long, device=device)
        self._dead_after = dead_after
        self._none: Bool[Tensor, " M"] = torch.zeros(n_latents, dtype=torch.bool, device=device)
        self._nothing: Float64[Tensor, ""] = torch.zeros((), dtype=torch.float64, device=device)
        self._at_most, self._steps = 0, 0
        """No silence is longer than `_at_most`; steps counted."""

    def after(self, fired: Bool[Tensor, " M"]) -> Bool[Tensor, " M"]:
        """Return which latents are dead after a step in which those marked fired; nothing is counted."""
        if self._at_most < self._dead_after:
            return self._none
        return self.steps_silent.masked_fill(fired, -1) >= self._dead_after

    def observe(self, fired: Bool[Tensor, " M"]) -> None:
        """Count one training step in which the marked latents fired."""
        self.steps_silent += 1
        self.steps_silent.masked_fill_(fired, 0)
        self._at_most, self._steps = self._at_most + 1, self._steps + 1
        if self._at_most >= self._dead_after and self._steps % _COUNTED_EVERY == 0:
            self._at_most = int(self.steps_silent.max())

    @property
    def dead(self) -> Bool[Tensor, " M"]:
        """Which latents are dead now."""
        return self.steps_silent > self._dead_after if self._at_most > self._dead_after else self._none

    @property
    def dead_fraction(self) -> Float64[Tensor, ""]:
        """How large a part of the latents is dead now."""
        return self.dead.mean(dtype=torch.float64) if self._at_most > self._dead_after else self._nothing

    def forgive(self, latents: Bool[Tensor, " M"]) -> None:
        """Count the marked latents from now on, as if they had just fired."""
        self.steps_silent.masked_fill_(latents, 0)
