"""Adam behind a clip of the gradient's norm, in one pass over memory.

Equations (Kingma & Ba 2014, arXiv:1412.6980, algorithm 1, with its defaults β₁ = 0.9, β₂ = 0.999, ε = 1e-8), for the
gradient g times min(1, clip / (‖g‖ + 1e-6)), the norm being that of all parameters together:

    m ← m + (1 − β₁)(g − m),    v ← β₂ v + (1 − β₂) g²,    θ ← θ − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)

Cost: 28 bytes of float32 a parameter, of which 12 are written; and 4 for the norm.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from fast_sae.sae.base import SparseAutoencoder
from fast_sae.training.kernels.adam import sum_of_squares, update
from fast_sae.training.workers import Workers

Numbers = Float[np.ndarray, " _"]


class ClippedAdam(torch.optim.Adam):
    """Adam over the parameters of an SAE; its state is torch's."""

    def __init__(
        self, sae: SparseAutoencoder, *, lr: float, clip: float, gradient_bits: int | None, workers: Workers
    ) -> None:
        """Start with no momentum.

        Args:
            sae: In training.
            lr: The learning rate of the first step; `param_groups` holds that of the next.
            clip: Largest norm of the gradient.
            gradient_bits: Bits kept of each gradient behind the clip; None: all.
            workers: Who shares the work on a CPU.
        """
        self._on_cpu = sae.b_dec.device.type == "cpu"
        super().__init__(sae.parameters(), lr=lr, fused=not self._on_cpu)
        self._sae, self._clip, self._bits, self._workers = sae, clip, gradient_bits, workers

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take a step along the gradients that the parameters have."""
        assert closure is None
        if not self._on_cpu:
            nn.utils.clip_grad_norm_(self._sae.parameters(), self._clip)
            self._round()
            super().step()
            return
        flat = [self._flat(parameter) for parameter in self._sae.parameters()]
        squares = sum(self._share(flat, lambda part, arrays: sum_of_squares(*part, arrays[1])))
        factor = min(1.0, self._clip / (math.sqrt(squares) + 1e-6))
        if self._bits is not None:
            for _, gradient, *_ in flat:
                np.multiply(gradient, factor, out=gradient)
            self._round()
            factor = 1.0
        rates = [flat[0][0].dtype.type(rate) for rate in (factor, *self._rates())]
        self._share(flat, lambda part, arrays: update(*part, *arrays, *rates))

    def _round(self) -> None:
        if self._bits is not None:
            self._sae.round_gradients(self._bits)

    def _flat(self, parameter: nn.Parameter) -> tuple[Numbers, ...]:
        """View a parameter, its gradient and its moments, which are made at the first step, as they lie in memory."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        assert parameter.grad is not None
        tensors = (parameter.detach(), parameter.grad, state["exp_avg"], state["exp_avg_sq"])
        tensors = (parameter.detach(), parameter.grad, state["exp_avg"], state["exp_avg_sq"])
        return tuple((t if t.is_contiguous() else t.T).view(-1).numpy() for t in tensors)

    def _rates(self) -> tuple[float, ...]:
        """Return what the equations hold beside the arrays: 1 − β₁, β₂, 1 − β₂, the factors of m and √v, and ε."""
        (beta1, beta2), t = self.param_groups[0]["betas"], self.state[self._sae.b_dec]["step"].item()
        rate = self.param_groups[0]["lr"] / (1 - beta1**t)
        return 1 - beta1, beta2, 1 - beta2, rate, 1 / math.sqrt(1 - beta2**t), self.param_groups[0]["eps"]

    def _share(
        self, flat: list[tuple[Numbers, ...]], work: Callable[[tuple[int, int], tuple[Numbers, ...]], Any]
    ) -> list[Any]:
        """Give each worker its part of the numbers of every parameter."""
        n = self._workers.threads

        def of_worker(worker: int, *_: int) -> list[Any]:
            parts = ((len(arrays[0]) * worker // n, len(arrays[0]) * (worker + 1) // n) for arrays in flat)
            return [work(part, arrays) for part, arrays in zip(parts, flat, strict=True)]

        return [result for results in self._workers.share(of_worker, range(n + 1)) for result in results]
