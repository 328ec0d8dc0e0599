"""The programs of `triton_codes`, which says what their arguments are; each works on one row or one latent.

A program reads nothing that it has written itself, so that its threads need not wait for each other.
"""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def _key(value, NUMBER: tl.constexpr, KEY: tl.constexpr):
    """Map positive numbers to whole ones in the same order, which their bits are, and all others to 0."""
    value = value.to(NUMBER)
    return tl.where(value > 0, value.to(KEY, bitcast=True), 0)


@triton.jit
@no_type_check
def shortlist(
    pre,
    names,
    found,
    where,
    columns,
    none,
    k,
    NUMBER: tl.constexpr,
    KEY: tl.constexpr,
    TOP: tl.constexpr,
    LOWEST: tl.constexpr,
    ROOM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Find for a row, in order, k to ROOM candidates that hold its k largest, or all positive ones if they are fewer.

    Three bits of the k-th largest key in each pass, from the highest: eight thresholds are counted at once, and as soon
    as ROOM is enough for what lies above one of them, no more is asked.
    """
    row = tl.program_id(0).to(tl.int64)
    digits, block = tl.arange(0, 8), tl.arange(0, BLOCK)
    pre += row * columns
    threshold = tl.full((), 0, KEY)
    above, over = (
        tl.full((), 0, tl.int32) + columns,
        tl.full((), 0, tl.int32),
    )  # keys from the threshold on, and from the next higher one on
    shift = tl.full((), TOP, tl.int32)
    while (shift >= LOWEST) & (above > ROOM):
        steps = tl.maximum(threshold + (digits.to(KEY) << shift.to(KEY)), 1)
        counts = tl.zeros((8, BLOCK), tl.int32)
        for start in range(0, columns, BLOCK):
            keys = _key(tl.load(pre + start + block, mask=start + block < columns, other=0.0), NUMBER, KEY)
            counts += (keys[None, :] >= steps[:, None]).to(tl.int32)
        count = tl.sum(counts, 1)
        digit = tl.maximum(tl.sum((count >= k).to(tl.int32), 0) - 1, 0)
        above = tl.sum(tl.where(digits == digit, count, 0), 0)
        over = tl.where(digit < 7, tl.sum(tl.where(digits == digit + 1, count, 0), 0), over)
        threshold += digit.to(KEY) << shift.to(KEY)
        shift = tl.where(shift > LOWEST, tl.maximum(shift - 3, LOWEST), -1)
    least = tl.maximum(threshold, 1)
    taken, equal = tl.full((), 0, tl.int32), tl.full((), 0, tl.int32)
    for start in range(0, columns, BLOCK):
        column = start + block
        value = tl.load(pre + column, mask=column < columns, other=0.0).to(NUMBER)
        keys = _key(value, NUMBER, KEY)
        tie = (keys == least).to(tl.int32)
        take = (keys > least) | ((tie == 1) & (equal + tl.cumsum(tie, 0) <= ROOM - over))
        place = row * ROOM + taken + tl.cumsum(take.to(tl.int32), 0) - 1
        tl.store(found + place, value, mask=take)
        tl.store(where + place, tl.load(names + column, mask=take, other=0), mask=take)
        taken += tl.sum(take.to(tl.int32), 0)
        equal += tl.sum(tie, 0)
    lane = tl.arange(0, ROOM)
    tl.store(found + row * ROOM + lane, 0.0, mask=lane >= taken)
    tl.store(where + row * ROOM + lane, none, mask=lane >= taken)


@triton.jit
@no_type_check
def keep_largest(
    found,
    where,
    values,
    index,
    stride,
    none,
    k,
    NUMBER: tl.constexpr,
    KEY: tl.constexpr,
    TOP: tl.constexpr,
    ROOM: tl.constexpr,
):
    """Keep the k largest of a row's candidates, in order: bit by bit of the k-th largest, until it is set apart."""
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, ROOM)
    value = tl.load(found + row * ROOM + lane)
    keys = _key(value, NUMBER, KEY)
    threshold, bit = tl.full((), 0, KEY), tl.full((), 1, KEY) << (TOP + 2)
    above = tl.sum((keys > 0).to(tl.int32), 0)  # keys from the threshold on
    while (bit > 0) & (above > k):
        count = tl.sum((keys >= (threshold | bit)).to(tl.int32), 0)
        threshold = tl.where(count >= k, threshold | bit, threshold)
        above = tl.where(count >= k, count, above)
        bit = bit >> 1
    ties = k - tl.sum((keys > threshold).to(tl.int32), 0)
    tie = ((keys == threshold) & (keys > 0)).to(tl.int32)
    take = (keys > threshold) | ((tie == 1) & (tl.cumsum(tie, 0) <= ties))
    place = row * stride + tl.cumsum(take.to(tl.int32), 0) - 1
    tl.store(values + place, value, mask=take)
    tl.store(index + place, tl.load(where + row * ROOM + lane), mask=take)
    rest = (lane >= tl.sum(take.to(tl.int32), 0)) & (lane < k)
    tl.store(values + row * stride + lane, 0.0, mask=rest)
    tl.store(index + row * stride + lane, none, mask=rest)


@triton.jit
@no_type_check
def encode(x, W_encT, b_enc, values, index, stride, d_in, none, k, K: tl.constexpr, D: tl.constexpr):
    """Compute the values of a row's chosen latents, and put those that are not positive behind the others."""
    row = tl.program_id(0).to(tl.int64)
    lane, d = tl.arange(0, K), tl.arange(0, D)
    values += row * stride
    index += row * stride
    centred = tl.load(x + row * d_in + d, mask=d < d_in, other=0.0)
    chosen = tl.load(index + lane, mask=lane < k, other=none)
    found = tl.zeros((K,), centred.dtype)
    for i in range(k):
        j = tl.load(index + i).to(tl.int64)
        weights = tl.load(W_encT + j * d_in + d, mask=(d < d_in) & (j < none), other=0.0)
        value = tl.sum(centred * weights, 0) + tl.load(b_enc + j, mask=j < none, other=0.0)
        found = tl.where(lane == i, value, found)
    keep = found > 0
    kept = tl.cumsum(keep.to(tl.int32), 0)
    gone = tl.cumsum((found <= 0).to(tl.int32), 0)
    place = tl.where(keep, kept, gone + tl.sum(keep.to(tl.int32), 0)) - 1
    tl.debug_barrier()  # every warp has read the index that is written now
    tl.store(values + place, tl.where(keep, found, 0.0), mask=place < k)
    tl.store(index + place, tl.where(keep, chosen, none), mask=place < k)


@triton.jit
@no_type_check
def decode(
    values,
    index,
    stride,
    prefixes,
    n_prefixes,
    W_dec,
    bias,
    target,
    errors,
    error_stride,
    squares,
    d_in,
    none,
    k,
    D: tl.constexpr,
):
    """Reconstruct a row from one prefix after another, each from the one before."""
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, D)
    mask = d < d_in
    values += row * stride
    index += row * stride
    error = tl.load(bias + d, mask=mask, other=0.0) - tl.load(target + row * d_in + d, mask=mask, other=0.0)
    at = tl.full((), 0, tl.int32)
    j = tl.load(index)
    for p in range(n_prefixes):
        end = tl.load(prefixes + p)
        while j < end:
            direction = tl.load(W_dec + j.to(tl.int64) * d_in + d, mask=mask, other=0.0)
            error += tl.load(values + at) * direction
            at += 1
            j = tl.load(index + at, mask=at < k, other=none)
        tl.store(errors + row * error_stride + p * d_in + d, error, mask=mask)
        tl.store(squares + row * n_prefixes + p, tl.sum(error * error, 0))


@triton.jit
@no_type_check
def differentiate(
    index,
    stride,
    prefixes,
    n_prefixes,
    W_dec,
    first,
    errors,
    error_stride,
    layers,
    slopes,
    d_in,
    none,
    k,
    D: tl.constexpr,
):
    """Differentiate a row's errors by its values, from the last prefix to the first."""
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, D)
    mask = d < d_in
    index += row * stride
    errors += row * error_stride
    total = tl.zeros((D,), slopes.dtype.element_ty)
    at = tl.full((), -1, tl.int32) + k
    j = tl.load(index + at)
    for behind in range(n_prefixes):
        p = n_prefixes - 1 - behind
        total += tl.load(errors + p * d_in + d, mask=mask, other=0.0)
        tl.store(errors + p * d_in + d, total, mask=mask)
        start = tl.load(prefixes + p - 1, mask=p > 0, other=0)
        while j >= start:
            direction = tl.load(W_dec + j.to(tl.int64) * d_in + d, mask=mask & (j < none), other=0.0)
            tl.store(slopes + row * stride + at, tl.sum(total * direction, 0))
            tl.store(layers + row * stride + at, first + p)
            at -= 1
            j = tl.load(index + at, mask=at >= 0, other=-1)


@triton.jit
@no_type_check
def gradients(
    starts,
    entries,
    places,
    values,
    layers,
    slopes,
    scales,
    x,
    errors,
    n_layers,
    W_dec,
    of_W_dec,
    of_W_enc,
    of_b_enc,
    d_in,
    ENTRIES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Add up a part of one latent's gradients.

    What W_dec's has along the latent's row of W_dec, Σ f e · W_dec[j], is known from the slopes.
    """
    j = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    mask, lane = d < d_in, tl.arange(0, ENTRIES)
    dtype = values.dtype.element_ty
    decoder, encoder = tl.zeros((WIDTH,), dtype), tl.zeros((WIDTH,), dtype)
    bias, along = tl.full((), 0.0, dtype), tl.full((), 0.0, dtype)
    end = tl.load(starts + j + 1)
    for at in range(tl.load(starts + j), end, ENTRIES):
        live = at + lane < end
        place = tl.load(entries + at + lane, mask=live, other=0)
        layer = tl.load(layers + place, mask=live, other=0)
        scale, slope = tl.load(scales + layer), tl.load(slopes + place, mask=live, other=0.0)
        value = tl.where(live, tl.load(values + place, mask=live, other=0.0) * scale, 0.0)
        along += tl.sum(value * slope, 0)
        slope = tl.where(live, slope * scale, 0.0)
        bias += tl.sum(slope, 0)
        row, both = place // places, live[:, None] & mask[None, :]
        error = tl.load(errors + (row * n_layers + layer)[:, None] * d_in + d[None, :], mask=both, other=0.0)
        decoder += tl.sum(value[:, None] * error, 0)
        encoder += tl.sum(slope[:, None] * tl.load(x + row[:, None] * d_in + d[None, :], mask=both, other=0.0), 0)
    decoder -= along * tl.load(W_dec + j * d_in + d, mask=mask, other=0.0)
    tl.store(of_W_dec + j * d_in + d, decoder, mask=mask)
    tl.store(of_W_enc + j * d_in + d, encoder, mask=mask)
    tl.store(of_b_enc + j, bias, mask=tl.program_id(1) == 0)
