"""The loops of Adam.

Arrays are cut before a loop that counts from 0: an index that may be negative keeps numba from vector instructions.
"""

import math
from typing import no_type_check

import numpy as np

from fast_sae.training.kernels.compile import kernel

_LEAST = 126
"""Below 2 to the power of so little, float32 has no numbers of full length."""


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


@kernel
@no_type_check
def clip_and_round(rows, factor, bits):
    """Multiply rows by the clip's factor; keep so many bits of each number, counted from the largest in its row.

    As `fast_sae.sae.functional.round_to_bits`; rows of numbers as small as float32's smallest are left as they are.
    """
    for j in range(len(rows)):
        row, largest = rows[j], rows.dtype.type(0)
        for d in range(len(row)):
            row[d] *= factor
            largest = max(largest, abs(row[d]))
        exponent = math.frexp(largest)[1]
        if exponent - bits > -_LEAST:
            grid, per_grid = rows.dtype.type(2.0 ** (exponent - bits)), rows.dtype.type(2.0 ** (bits - exponent))
            for d in range(len(row)):
                row[d] = np.rint(row[d] * per_grid) * grid
