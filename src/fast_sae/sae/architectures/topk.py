"""Top-K: at most K latents per token, the K largest where they are positive (Gao et al. 2024, arXiv:2406.04093)."""

from jaxtyping import Float
from torch import Tensor

from fast_sae.params import Settings
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.sae.functional import top_k


class Options(Settings):
    """Top-K needs nothing beyond `sae.K`."""


class Architecture(SparseAutoencoder):
    """f = ReLU(top-K(pre))."""

    @property
    def keeps_largest(self) -> int:
        """K."""
        return self.settings.K

    def activate(self, pre: Float[Tensor, "batch M"]) -> Float[Tensor, "batch M"]:
        """Keep the K largest pre-activations of each row, where they are positive."""
        return top_k(pre, self.settings.K)
