"""Adam behind a clip of the gradient's norm: torch's, or on the CPU one pass over memory that workers share.

Equations (Kingma & Ba 2014, arXiv:1412.6980, algorithm 1, with its defaults β₁ = 0.9, β₂ = 0.999, ε = 1e-8), for the
gradient g times min(1, clip / (‖g‖ + 1e-6)), the norm being that of all parameters together:

    m ← m + (1 − β₁)(g − m),    v ← β₂ v + (1 − β₂) g²,    θ ← θ − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)

Cost: 28 bytes of float32 a parameter, of which 12 are written.
"""

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from fast_sae.sae.base import SparseAutoencoder
from fast_sae.training.kernels.adam import clip_and_round, unit_rows, update
from fast_sae.training.workers import Workers

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_CLIP_EPSILON = 1e-6
"""What torch's `clip_grad_norm_` adds to the norm."""
Numbers = Float[np.ndarray, " _"]


class ClippedAdam(ABC):
    """Adam over the parameters of an SAE, which begins with no momentum."""

    def __init__(self, sae: SparseAutoencoder, *, clip: float, gradient_bits: int | None) -> None:
        """Take the parameters.

        Args:
            sae: In training.
            clip: Largest norm of the gradient.
            gradient_bits: Bits kept of each gradient behind the clip; None: all.
        """
        self._sae, self._clip, self._bits = sae, clip, gradient_bits

    @abstractmethod
    def step(self, lr: float, norm: float | None) -> None:
        """Take a step along the gradients that the parameters have, and give decoder rows norm 1 again.

        Args:
            lr: Learning rate.
            norm: Of all gradients together, where their maker knows it.
        """

    @abstractmethod
    def moments(self, parameter: nn.Parameter) -> tuple[Tensor, Tensor] | None:
        """Return m and v of a parameter, to be changed in place; None before the first step."""

    def forget(self, latents: Int64[Tensor, " latent"]) -> None:
        """Start anew with some latents."""
        for name, axis in self._sae.latent_axis.items():
            for moment in self.moments(self._sae.get_parameter(name)) or ():
                moment.index_fill_(axis, latents, 0)


class TorchAdam(ClippedAdam):
    """As torch has it, in one kernel on a GPU."""

    def __init__(self, sae: SparseAutoencoder, *, clip: float, gradient_bits: int | None) -> None:
        """Take the parameters."""
        super().__init__(sae, clip=clip, gradient_bits=gradient_bits)
        self._adam = torch.optim.Adam(
            sae.parameters(), betas=(_BETA1, _BETA2), eps=_EPSILON, fused=sae.b_dec.device.type == "cuda"
        )

    def step(self, lr: float, norm: float | None) -> None:
        """Take a step along the gradients that the parameters have, and give decoder rows norm 1 again.

        Args:
            lr: Learning rate.
            norm: Of all gradients together, where their maker knows it.
        """
        nn.utils.clip_grad_norm_(self._sae.parameters(), self._clip)
        if self._bits is not None:
            self._sae.round_gradients(self._bits)
        self._adam.param_groups[0]["lr"] = lr
        self._adam.step()
        self._sae.normalise_decoder()

    def moments(self, parameter: nn.Parameter) -> tuple[Tensor, Tensor] | None:
        """Return m and v of a parameter, to be changed in place; None before the first step."""
        state = self._adam.state.get(parameter)
        return (state["exp_avg"], state["exp_avg_sq"]) if state else None


class SharedAdam(ClippedAdam):
    """On the CPU, each worker a part of every parameter; not a subclass of torch's, which takes seconds to import."""

    def __init__(self, sae: SparseAutoencoder, *, clip: float, gradient_bits: int | None, workers: Workers) -> None:
        """Take the parameters, and who shares the work."""
        super().__init__(sae, clip=clip, gradient_bits=gradient_bits)
        self._workers, self._cuts = workers, workers.cuts(sae.settings.M)
        self._W_dec = sae.W_dec.detach().numpy()
        self._widths = [sae.d_in if parameter.ndim > 1 else 1 for parameter in sae.parameters()]
        """Of the rows in which gradients are rounded."""
        self._moments = {p: (torch.zeros_like(p), torch.zeros_like(p)) for p in sae.parameters()}
        self._steps = 0
        self._views: tuple[list[Tensor | None], list[tuple[Numbers, ...]]] | None = None
        """The gradients, which stay where they are as a rule, and what was made of them."""

    @torch.no_grad()
    def step(self, lr: float, norm: float | None) -> None:
        """Take a step along the gradients that the parameters have, and give decoder rows norm 1 again.

        Args:
            lr: Learning rate.
            norm: Of all gradients together, where their maker knows it.
        """
        flat = self._flat()
        assert norm is not None
        factor = min(self._clip / (norm + _CLIP_EPSILON), 1.0)  # in this order NaN stays NaN, as in torch
        self._steps += 1
        rate, correction = lr / (1 - _BETA1**self._steps), 1 / math.sqrt(1 - _BETA2**self._steps)
        numbers = (factor, 1 - _BETA1, _BETA2, 1 - _BETA2, rate, correction, _EPSILON)
        rates = [flat[0][0].dtype.type(number) for number in numbers]
        self._workers.share(lambda _, *part: self._update(flat, rates, *part), self._cuts)

    def moments(self, parameter: nn.Parameter) -> tuple[Tensor, Tensor] | None:
        """Return m and v of a parameter, to be changed in place; None before the first step."""
        return self._moments[parameter] if self._steps else None

    def _flat(self) -> list[tuple[Numbers, ...]]:
        """View each parameter, its gradient and its moments as they lie in memory."""
        gradients = [parameter.grad for parameter in self._moments]
        if self._views is None or any(a is not b for a, b in zip(gradients, self._views[0], strict=True)):
            views = [
                tuple(_numbers(t) for t in (p.detach(), g, *moments))
                for (p, moments), g in zip(self._moments.items(), gradients, strict=True)
            ]
            self._views = gradients, views
        return self._views[1]

    def _update(self, flat: list[tuple[Numbers, ...]], rates: list[np.floating], first: int, last: int) -> None:
        """Bring a worker's part of the parameters a step further, and its rows of W_dec to norm 1."""
        factor, *others = rates
        for (parameter, gradient, m, v), width in zip(flat, self._widths, strict=True):
            start, end = self._ends(parameter, first, last)
            if self._bits is not None:
                clip_and_round(gradient[start:end].reshape(-1, width), factor, self._bits)
            clip = factor if self._bits is None else factor.dtype.type(1)
            update(start, end, parameter, gradient, m, v, clip, *others)
        unit_rows(self._W_dec[first:last])

    def _ends(self, numbers: Numbers, first: int, last: int) -> tuple[int, int]:
        """Return between which numbers of a parameter some latents lie, or as large a part of b_dec."""
        n, latents = len(numbers), len(self._W_dec)
        return n * first // latents, n * last // latents


def _numbers(tensor: Tensor | None) -> Numbers:
    """View a tensor's memory, which is in the order of its axes or, for W_enc, of its transpose."""
    assert tensor is not None
    return (tensor if tensor.is_contiguous() else tensor.T).view(-1).numpy()
