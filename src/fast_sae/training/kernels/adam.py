"""The loops of Adam."""

import math
from typing import no_type_check

from fast_sae.training.kernels.compile import kernel

_PIECE = 4096
"""Numbers whose squares are summed in the parameter's own type."""


@kernel
@no_type_check
def sum_of_squares(first, last, g):
    """Return Σ g² from `first` to `last`, summed in float64 by pieces."""
    total = 0.0
    for start in range(first, last, _PIECE):
        part = g.dtype.type(0)
        for i in range(start, min(start + _PIECE, last)):
            part += g[i] * g[i]
        total += part
    return total


@kernel
@no_type_check
def update(first, last, parameter, g, m, v, factor, fresh1, beta2, fresh2, rate, correction, epsilon):
    """Apply the equations of `ClippedAdam` from `first` to `last`.

    Args:
        first: Number of a number.
        last: Number of a number.
        parameter: θ, changed.
        g: Its gradient.
        m: Changed.
        v: Changed.
        factor: What the gradient is multiplied by.
        fresh1: 1 − β₁.
        beta2: β₂.
        fresh2: 1 − β₂, which float32 would get from β₂ with few digits.
        rate: lr / (1 − β₁ᵗ).
        correction: 1 / √(1 − β₂ᵗ).
        epsilon: ε.
    """
    for i in range(first, last):
        gradient = g[i] * factor
        m[i] += fresh1 * (gradient - m[i])
        v[i] = beta2 * v[i] + fresh2 * gradient * gradient
        parameter[i] -= rate * m[i] / (math.sqrt(v[i]) * correction + epsilon)
