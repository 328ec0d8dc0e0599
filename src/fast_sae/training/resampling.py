"""Dead latents started anew at what the SAE reconstructs worst (Bricken et al. 2023, "Towards Monosemanticity").

Rows are drawn with probability ∝ ‖x̂ − x‖⁴, the square of the loss; a drawn row's direction from the decoder bias
becomes a dead latent's decoder row and, a fifth as long as the living latents' on average, its encoder; Adam forgets
it.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fast_sae.sae.base import SparseAutoencoder
from fast_sae.training.adam import ClippedAdam

_CHUNK = 4096
"""Rows whose latents are in memory at once."""


@torch.no_grad()
def resample(
    sae: SparseAutoencoder,
    dead: Bool[Tensor, " M"],
    x: Float[Tensor, "row d_in"],
    optimiser: ClippedAdam,
    generator: torch.Generator,
) -> Bool[Tensor, " M"]:
    """Start the dead latents anew, and return which were.

    Args:
        sae: In training.
        dead: Which latents are dead.
        x: Rows to draw directions from; no more latents than rows with an error are started anew.
        optimiser: Over the SAE's parameters.
        generator: Draws on the CPU.
    """
    away = x - sae.b_dec
    length = away.norm(dim=1, keepdim=True)
    error = torch.cat([_squared_error(sae, part) for part in x.split(_CHUNK)])
    chance = error.square().where(length.squeeze(1) > 0, 0).cpu()
    index = dead.nonzero().squeeze(1)[: int((chance > 0).sum())]
    restarted = torch.zeros_like(dead).index_fill(0, index, True)
    if len(index) == 0:
        return restarted
    drawn = torch.multinomial(chance, len(index), generator=generator).to(x.device)
    sae.restart_latents(index, away[drawn] / length[drawn])
    optimiser.forget(index)
    return restarted


def _squared_error(sae: SparseAutoencoder, x: Float[Tensor, "row d_in"]) -> Float[Tensor, " row"]:
    """‖x̂ − x‖² by the rule of training: that of inference may want a threshold which is not set yet."""
    latents = sae.activate_in_training(sae.pre_activations(x))
    return (sae.decode(latents) - x).double().square().sum(1)
