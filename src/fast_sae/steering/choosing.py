"""Which latents are steered: those that tell a label best on validation, and those strongest on special tokens."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fast_sae.chat.kinds import Kind
from fast_sae.chat.render import Rendered
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.steering.model import SteeredModel
from fast_sae.steering.settings import SteerSettings


class LabelLatent(NamedTuple):
    """A label, and the latent that tells it best on validation."""

    label: str
    latent: int
    auroc: float
    """On validation."""


def best_latents(labels: pd.DataFrame, n: int, prompts: Sequence[str]) -> list[LabelLatent]:
    """Return the labels that a latent tells best, the best told first, each with that latent.

    Args:
        labels: The table `labels` of data/features.
        n: How many labels, at most.
        prompts: What will be asked; a label that one of them names is left out.
    """
    found: dict[str, LabelLatent] = {}
    for label, latent, auroc in labels[["label", "latent", "validation_auroc"]].itertuples(index=False):
        if label not in found or (auroc, -latent) > (found[label].auroc, -found[label].latent):
            found[label] = LabelLatent(label, latent, auroc)
    told = sorted(
        (one for one in found.values() if unnamed(one.label, prompts)), key=lambda one: (-one.auroc, one.label)
    )
    return told[:n]


def unnamed(label: str, prompts: Sequence[str]) -> bool:
    """Whether no prompt names a label: then only steering can raise its rate.

    >>> unnamed("zooming_in", ["Tell me of Zooming in."]), unnamed("zooming_in", ["Tell me of it."])
    (False, True)
    """
    spoken = re.compile(rf"\b{re.escape(label)}\b".replace("_", "[_ ]"), re.IGNORECASE)
    return not any(map(spoken.search, prompts))


def special_flags(
    rendered: Rendered, decode: Callable[[int], str], settings: SteerSettings
) -> Bool[np.ndarray, " position"]:
    """Mark the tokens of `special_kinds`, of `special_tokens` alone if any are named."""
    marked = np.isin(rendered.kinds, [int(Kind[name.upper()]) for name in settings.special_kinds])
    if settings.special_tokens:
        texts = [decode(token) for token in rendered.token_ids.tolist()]
        marked &= np.isin(texts, settings.special_tokens)
    return marked


@torch.no_grad()
def mean_maxima(sae: SparseAutoencoder, states: Sequence[Float[Tensor, "_ d_in"]]) -> Float[np.ndarray, " M"]:
    """Return each latent's mean over examples of its maximum over some tokens of the example.

    Source: FAST (Li et al. 2025, arXiv 2506.07691, section 5.3), over 1,000 prompts.

    Args:
        sae: The SAE.
        states: The activations of those tokens, of each example; one without any is left out.
    """
    maxima = [sae.encode(of_example.to(sae.b_dec)).amax(0) for of_example in states if len(of_example)]
    if not maxima:
        return np.zeros(sae.settings.M)
    return torch.stack(maxima).double().mean(0).cpu().numpy()


def strongest(strength: Float[np.ndarray, " M"], n: int) -> list[int]:
    """Return the latents of the largest values above 0, the largest first; of equal ones the lower number first.

    >>> strongest(np.array([0.5, 0.0, 2.0, 2.0]), 3)
    [2, 3, 0]
    """
    order = np.argsort(-strength, kind="stable")[:n]
    return [int(latent) for latent in order if strength[latent] > 0]


def special_latents(
    model: SteeredModel, sae: SparseAutoencoder, chats: Sequence[Rendered], settings: SteerSettings
) -> list[int]:
    """Return the latents that are strongest on special tokens of some chats."""
    states = model.read(chats, lambda chat: special_flags(chat, model.token, settings))
    return strongest(mean_maxima(sae, states), settings.special_latents)


def residual_norm(model: SteeredModel, chats: Sequence[Rendered], kinds: tuple[int, ...]) -> float:
    """Return the mean norm of `hidden_states[layer]` over the tokens of some kinds of some chats."""
    states = torch.cat(model.read(chats, lambda chat: np.isin(chat.kinds, kinds)))
    return float(states.double().norm(dim=1).mean())
