"""BatchTopK: K latents per token on average over a batch (Bussmann et al. 2024, arXiv:2412.06410).

Training keeps the K · batch largest pre-activations of the batch. Inference must not hang on the batch, so it keeps
what exceeds one threshold.

Differs from the paper and from HypotheSAEs: they estimate the threshold by a running mean of batch minima during
training, which starts at 0 and lags behind (after 40 steps of HypotheSAEs, L0 was 63 for K = 8). Here it is the exact
quantile on validation data for which the mean L0 is K.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fast_sae.params import Settings
from fast_sae.sae.base import Batches, SparseAutoencoder
from fast_sae.sae.functional import batch_top_k, threshold_for_l0
from fast_sae.sae.settings import SAESettings


class Options(Settings):
    """BatchTopK needs nothing beyond `sae.K`."""


class Architecture(SparseAutoencoder):
    """Training: f = ReLU(top-(K · batch)(pre)). Inference: f = pre where pre > threshold."""

    in_units_of_x = (*SparseAutoencoder.in_units_of_x, "threshold")
    threshold: Float[Tensor, ""]

    def __init__(self, d_in: int, settings: SAESettings, options: Options) -> None:
        """Make a zero-weight SAE with threshold 0."""
        super().__init__(d_in, settings, options)
        self.register_buffer("threshold", torch.zeros(()))

    def activate(self, pre: Float[Tensor, "batch M"]) -> Float[Tensor, "batch M"]:
        """Keep the pre-activations above the threshold."""
        return torch.where(pre > self.threshold, pre, 0)

    def activate_in_training(self, pre: Float[Tensor, "batch M"]) -> Float[Tensor, "batch M"]:
        """Keep the K · batch largest of the batch, where they are positive."""
        return batch_top_k(pre, self.settings.K)

    @torch.no_grad()
    def finalise(self, validation: Batches) -> None:
        """Set the threshold at which the mean L0 over the validation rows is K.

        Memory: 2 · K · rows numbers, and one batch of pre-activations.
        """
        n_wanted = self.settings.K * validation.rows
        values = self.threshold.new_empty(0)
        for x in validation:
            pre = self.pre_activations(x)
            values = torch.cat([values, pre[pre > 0]])
            if len(values) > 2 * (n_wanted + 1):
                values = values.topk(n_wanted + 1, sorted=False).values
        self.threshold.fill_(threshold_for_l0(values, n_wanted))
