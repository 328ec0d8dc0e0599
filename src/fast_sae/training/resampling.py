"""Dead latents started anew at what the SAE reconstructs worst (Bricken et al. 2023, "Towards Monosemanticity").

Rows are drawn with probability ∝ ‖x̂ − x‖⁴, the square of the loss; a drawn row's direction from the decoder bias
becomes a dead latent's decoder row and, a fifth as long as the living latents' on average, its encoder; Adam forgets
it.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fast_sae.sae.base import SparseAutoencoder


@torch.no_grad()
def resample(
    sae: SparseAutoencoder,
    dead: Bool[Tensor, " M"],
    x: Float[Tensor, "row d_in"],
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> int:
    """Start the dead latents anew, and return how many.

    Args:
        sae: In training.
        dead: Which latents are dead.
        x: Rows to draw directions from; no more latents than rows with an error are started anew.
        optimiser: Adam over the SAE's parameters.
        generator: Draws on the CPU.
    """
    away = x - sae.b_dec
    length = away.norm(dim=1, keepdim=True)
    chance = (sae(x) - x).double().square().sum(1).square().where(length.squeeze(1) > 0, 0).cpu()
    index = dead.nonzero().squeeze(1)[: int((chance > 0).sum())]
    if len(index) == 0:
        return 0
    drawn = torch.multinomial(chance, len(index), generator=generator).to(x.device)
    sae.restart_latents(index, away[drawn] / length[drawn])
    for name, parameter in sae.named_parameters():
        if name in sae.latent_axis and (state := optimiser.state.get(parameter)):
            for moment in ("exp_avg", "exp_avg_sq"):
                state[moment].index_fill_(sae.latent_axis[name], index, 0)
    return len(index)
