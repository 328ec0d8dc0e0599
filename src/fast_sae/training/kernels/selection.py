"""The largest pre-activations of each row, for the CPU: by counting above a threshold, which vector units do, no sort.

NaN is above nothing, and so never kept.
"""

from typing import no_type_check

from fast_sae.training.kernels.compile import kernel

_BLOCK = 32
"""Pre-activations looked at together: most blocks hold nothing to keep."""


@kernel
@no_type_check
def count_above(row, threshold):
    """Count the numbers above a threshold."""
    zero, one = row.dtype.type(0), row.dtype.type(1)
    found = zero
    for i in range(len(row)):
        found += one if row[i] > threshold else zero
    return int(found)


@kernel
@no_type_check
def bracket(row, k, slack, guess):
    """Find low < high so that above `low` lie k to k + slack numbers, or all positive ones if they are fewer.

    Where equal numbers forbid that, `low` and `high` are neighbours, the k-th largest is `high`, and more than k lie
    above `low`. By counting at one threshold after another, from `guess` on: no sort, and eight numbers an instruction.
    """
    zero, half = row.dtype.type(0), row.dtype.type(0.5)
    low, high = zero, guess
    above = count_above(row, high)
    while above >= k:
        low = high
        if above <= k + slack:
            return low, high
        high *= row.dtype.type(1.5)
        above = count_above(row, high)
    above = count_above(row, low)
    while above > k + slack:
        middle = low * half + high * half
        if not low < middle < high:
            break
        found = count_above(row, middle)
        if found >= k:
            low, above = middle, found
        else:
            high = middle
    return low, high


@kernel
@no_type_check
def gather_above(row, threshold, values, index):
    """Copy the numbers above a threshold, in order, and where they stand; return how many."""
    zero, one = row.dtype.type(0), row.dtype.type(1)
    n = 0
    for start in range(0, len(row), _BLOCK):
        end = min(start + _BLOCK, len(row))
        found = zero
        for i in range(start, end):
            found += one if row[i] > threshold else zero
        if found > zero:
            for i in range(start, end):
                if row[i] > threshold:
                    values[n] = row[i]
                    index[n] = i
                    n += 1
    return n


@kernel
@no_type_check
def select(pre, names, none, values, index, found, where):
    """Keep the k largest pre-activations of each row, where they are positive, by rising latent; of equals the first.

    Args:
        pre: (batch, columns).
        names: The latent that each column belongs to.
        none: The index of no latent.
        values: (batch, k), filled.
        index: (batch, k), filled.
        found: (columns,), scratch.
        where: (columns,), scratch.
    """
    k = values.shape[1]
    guess = pre.dtype.type(1)
    for b in range(len(pre)):
        low, _ = bracket(pre[b], k, k, guess)
        guess = low if low > 0 else guess
        n = gather_above(pre[b], low, found, where)
        high, ties = low, 0
        if n > k:
            low, high = bracket(found[:n], k, 0, guess)
            if count_above(found[:n], low) == k:
                high = low
            ties = k - count_above(found[:n], high)
        out = 0
        for i in range(n):
            value = found[i]
            if (value > high or (value > low and ties > 0)) and out < k:
                ties -= value <= high
                values[b, out] = value
                index[b, out] = names[where[i]]
                out += 1
        for i in range(out, k):
            values[b, i] = 0
            index[b, i] = none
