"""SAEs for the tests, of any architecture, by a few words."""

import torch

from fast_sae.sae.base import SparseAutoencoder
from fast_sae.sae.build import build_sae
from fast_sae.sae.settings import ARCHITECTURES, SAESettings

PENALTY = {"coefficient": None, "warmup_steps": 0, "steer_rate": 0.03}
"""λ steered to sae.K."""


def sae_settings(**overrides: object) -> SAESettings:
    """Settings of a small SAE."""
    section = {
        "layer": 1,
        "architecture": "topk",
        "M": 12,
        "K": 3,
        "matryoshka": None,
        "aux_k": None,
        "aux_coef": 1 / 32,
        "multi_k": None,
        "multi_coef": 1 / 8,
        "subtract_b_dec": True,
        "standard": PENALTY,
        "jumprelu": PENALTY | {"bandwidth": 0.5, "initial_threshold": 0.1},
    } | overrides
    return SAESettings.model_validate(SAESettings.arrange(section), strict=False)


def initialised(d_in: int = 6, seed: int = 0, **overrides: object) -> SparseAutoencoder:
    """An SAE in float64 with untied random weights."""
    sae = build_sae(d_in, sae_settings(**overrides)).double()
    generator = torch.Generator().manual_seed(seed)
    sae.initialise(torch.randn(d_in, generator=generator, dtype=torch.float64), generator)
    with torch.no_grad():
        sae.W_enc += torch.randn(sae.W_enc.shape, generator=generator, dtype=torch.float64) * 0.1
        sae.b_enc += torch.randn(sae.b_enc.shape, generator=generator, dtype=torch.float64) * 0.1
    return sae


def axis_sae(d_in: int = 2, k: int = 1, matryoshka: list[int] | None = None, b_dec: float = 0.0) -> SparseAutoencoder:
    """An SAE whose latent i is the positive part of axis i; the k largest are kept."""
    sae = build_sae(d_in, sae_settings(M=d_in, K=k, matryoshka=matryoshka, architecture="topk"))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(d_in))
        sae.W_dec.copy_(torch.eye(d_in))
        sae.b_dec.fill_(b_dec)
    return sae


class FixedDead:
    """Latents declared dead, whatever fires."""

    def __init__(self, dead: torch.Tensor) -> None:
        self.dead = dead

    def after(self, fired: torch.Tensor) -> torch.Tensor:
        return self.dead


class Rows:
    """Some rows in portions, as training and calibration read them."""

    def __init__(self, x: torch.Tensor, portion: int = 64) -> None:
        self.x, self.portion = x, portion

    @property
    def rows(self) -> int:
        return len(self.x)

    def __iter__(self):
        return iter(self.x.split(self.portion))


STEERED = [name for name in ARCHITECTURES if build_sae(4, sae_settings(architecture=name)).coefficient]
"""Architectures with a penalty."""
