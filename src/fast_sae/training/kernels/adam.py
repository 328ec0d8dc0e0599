"""The loops of Adam.

Arrays are cut before a loop that counts from 0: an index that may be negative keeps numba from vector instructions.
"""

import math
from typing import no_type_check

from fast_sae.training.kernels.compile import kernel

_PIECE = 4096
"""Numbers whose squares are summed in the parameter's own type."""


@kernel
@no_type_check
def sum_of_squares(first, last, g):
    """Return Σ g² from `first` to `last`, summed in float64 by pieces."""
    numbers, total = g[first:last], 0.0
    for start in range(0, len(numbers), _PIECE):
        piece, part = numbers[start : start + _PIECE], g.dtype.type(0)
        for i in range(len(piece)):
            part += piece[i] * piece[i]
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
    parameter, g, m, v = parameter[first:last], g[first:last], m[first:last], v[first:last]
    for i in range(len(g)):
        gradient = g[i] * factor
        m[i] += fresh1 * (gradient - m[i])
        v[i] = beta2 * v[i] + fresh2 * gradient * gradient
        parameter[i] -= rate * m[i] / (math.sqrt(v[i]) * correction + epsilon)


@kernel
@no_type_check
def unit_rows(rows):
    """Divide each row by its norm."""
    for j in range(len(rows)):
        row, squares = rows[j], rows.dtype.type(0)
        for d in range(len(row)):
            squares += row[d] * row[d]
        norm = math.sqrt(squares)
        for d in range(len(row)):
            row[d] /= norm
