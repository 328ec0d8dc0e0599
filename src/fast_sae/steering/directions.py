"""What is added to the residual stream: latents' decoder rows, and controls of the same norm, 1."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fast_sae.errors import UserError
from fast_sae.sae.base import SparseAutoencoder

Role = Literal["latent", "random", "other"]
"""Steered for itself; a random direction; another latent, drawn at random: the two controls."""


@dataclass(frozen=True)
class Direction:
    """A vector of norm 1 in the residual stream."""

    name: str
    role: Role
    vector: Float[Tensor, " d_in"] = field(compare=False)
    """In float64, on the CPU."""
    latent: int | None = None


def latent_direction(sae: SparseAutoencoder, latent: int, role: Role = "latent") -> Direction:
    """Return d_k, the latent's row of W_dec; its norm is 1 but for float32's rounding, which is taken out.

    Raises:
        UserError: if the SAE has no such latent.
    """
    if not 0 <= latent < sae.settings.M:
        raise UserError(f"latent {latent} does not exist: the SAE has 0 to {sae.settings.M - 1}")
    return Direction(f"latent {latent}", role, _unit(sae.W_dec[latent]), latent)


def random_directions(d_in: int, n: int, seed: int) -> list[Direction]:
    """Draw directions uniformly from the sphere."""
    drawn = np.random.default_rng(seed).standard_normal((n, d_in))
    return [Direction(f"random {i}", "random", _unit(torch.from_numpy(row))) for i, row in enumerate(drawn)]


def other_latents(sae: SparseAutoencoder, living: Sequence[int], n: int, seed: int) -> list[Direction]:
    """Draw some of the living latents that are not steered for themselves; all of them if there are no more."""
    drawn = np.random.default_rng(seed).permutation(living)[:n].tolist()
    return [latent_direction(sae, latent, "other") for latent in sorted(drawn)]


def _unit(vector: Float[Tensor, " d_in"]) -> Float[Tensor, " d_in"]:
    wide = vector.detach().double().cpu()
    return wide / wide.norm()
