"""Which latents have not fired for long, counted in training steps and by nothing but training."""

import torch
from jaxtyping import Bool, Float, Int64
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

    def observe(self, latents: Float[Tensor, "batch M"]) -> Bool[Tensor, " M"]:
        """Count one training step in which `latents` fired, and return which are dead after it."""
        self.steps_silent += 1
        self.steps_silent[(latents > 0).any(0)] = 0
        return self.dead

    @property
    def dead(self) -> Bool[Tensor, " M"]:
        """Which latents are dead now."""
        return self.steps_silent > self._dead_after
