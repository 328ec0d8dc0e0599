"""Which latents have not fired for long, counted in training steps and by nothing but training."""

import torch
from jaxtyping import Bool, Int64
from torch import Tensor


class DeadLatentCounter:
    """Steps since each latent last fired; a latent is dead after more than `dead_after` of them.

    A latent fires when it is above 0 for some row of the batch. HypotheSAEs counts alike, but lets validation and
    inference advance its counters.
    """

    def __init__(self, n_latents: int, dead_after: int, device: torch.device) -> None:
        """Start with every latent just fired."""
        self.steps_silent: Int64[Tensor, " M"] = torch.zeros(n_latents, dtype=torch.long, device=device)
        self._dead_after = dead_after

    def after(self, fired: Bool[Tensor, " M"]) -> Bool[Tensor, " M"]:
        """Return which latents are dead after a step in which those marked fired; nothing is counted."""
        return self._advanced(fired) > self._dead_after

    def observe(self, fired: Bool[Tensor, " M"]) -> None:
        """Count one training step in which the marked latents fired."""
        self.steps_silent = self._advanced(fired)

    @property
    def dead(self) -> Bool[Tensor, " M"]:
        """Which latents are dead now."""
        return self.steps_silent > self._dead_after

    def forgive(self, latents: Bool[Tensor, " M"]) -> None:
        """Count the marked latents from now on, as if they had just fired."""
        self.steps_silent = self.steps_silent.masked_fill(latents, 0)

    def _advanced(self, fired: Bool[Tensor, " M"]) -> Int64[Tensor, " M"]:
        return (self.steps_silent + 1).masked_fill(fired, 0)
