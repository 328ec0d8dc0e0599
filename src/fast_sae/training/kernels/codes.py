"""Loops over few active latents for the CPU, compiled by numba; a dense product would do M / K times their work.

A code holds the latents of `batch` rows in C places each: values (batch, C) and index (batch, C), where the index M
stands for no latent. Every kernel works on the rows or latents it is given and lets go of the interpreter, so that
threads share the work (`workers`); none adds across threads: results do not hang on timing, and on the number of
threads by rounding alone.
"""

from typing import no_type_check

import numpy as np

from fast_sae.training.kernels.compile import kernel

_COLUMNS = 4096
"""Dimensions that are worked on at once: a row of sums stays in the cache, and a shorter piece of each other row would
wait for memory anew."""


@kernel
@no_type_check
def centre(x, shift, out, mean):
    """Write x − shift to `out`, and the mean of the rows to `mean`, float64; return their squared deviations from it.

    The loss divides by the deviations, and an error there is one in every gradient: no sum of squares less a square.
    """
    squares = 0.0
    mean[:] = 0
    for b in range(len(x)):
        row, centred = x[b], out[b]
        for d in range(x.shape[1]):
            centred[d] = row[d] - shift[d]
            mean[d] += row[d]
    mean /= len(x)
    middle = mean.astype(x.dtype)
    for b in range(len(x)):
        part, row = x.dtype.type(0), x[b]
        for d in range(x.shape[1]):
            away = row[d] - middle[d]
            part += away * away
        squares += part
    return squares


@kernel
@no_type_check
def encode(x, W_encT, b_enc, none, values, index):
    """Compute the values of chosen latents; those that are not positive become no latent, which stands behind all.

    Args:
        x: (batch, d_in), what the encoder reads.
        W_encT: (M, d_in), the transpose of W_enc.
        b_enc: (M,).
        none: The index of no latent.
        values: (batch, k), filled.
        index: (batch, k), rising in each row, changed.
    """
    k = values.shape[1]
    for b in range(len(values)):
        out = 0
        for i in range(k):
            j = index[b, i]
            if j != none:
                value = b_enc[j] + _dot(x[b], W_encT[j])
                if value > 0:
                    values[b, out] = value
                    index[b, out] = j
                    out += 1
        for i in range(out, k):
            values[b, i] = 0
            index[b, i] = none


@kernel
@no_type_check
def reconstruct(values, index, prefixes, W_dec, bias, target, first, errors, layers, slopes, total):
    """Reconstruct from each prefix, and differentiate half the squared error by every value.

    Equations, for prefix p and the latents j below it: e_p = bias + Σ_j f_j W_dec[j] − target; the slope of a latent in
    the prefixes from q on is Σ_{p ≥ q} e_p · W_dec[j]. The caller multiplies by what the loss divides by.

    Args:
        values: (batch, k).
        index: (batch, k), rising in each row.
        prefixes: (prefix,), the rising sizes.
        W_dec: (M, d_in).
        bias: (d_in,).
        target: (batch, d_in).
        first: Layer of the first prefix.
        errors: (batch, layer, d_in), filled from `first` on with Σ_{p ≥ q} e_p for each q.
        layers: (batch, k), filled with the layer, `first` + q, of each latent; of no latent with `first`.
        slopes: (batch, k), filled.
        total: (d_in,), filled with the sum over rows of layer `first`.

    Returns:
        Σ over rows of ‖e_p‖² for each p, float64, and how many latents are active.
    """
    batch, k = values.shape
    squares, active = np.zeros(len(prefixes)), 0
    slopes[:] = 0
    layers[:] = first
    total[:] = 0
    for column in range(0, len(bias), _COLUMNS):
        columns = slice(column, column + _COLUMNS)
        active = 0
        for b in range(batch):
            start = 0
            for p in range(len(prefixes)):
                error, end = errors[b, first + p, columns], start
                while end < k and index[b, end] < prefixes[p]:
                    layers[b, end] = first + p
                    end += 1
                if p == 0:
                    _subtract(error, bias[columns], target[b, columns])
                else:
                    error[:] = errors[b, first + p - 1, columns]
                _add_rows(error, values[b, start:end], W_dec, index[b, start:end], columns)
                squares[p] += _dot(error, error)
                start = end
            active += start
            for p in range(len(prefixes) - 2, -1, -1):
                _add(errors[b, first + p, columns], bias.dtype.type(1), errors[b, first + p + 1, columns])
            _add(total[columns], bias.dtype.type(1), errors[b, first, columns])
            end = 0
            for p in range(len(prefixes)):
                start = end
                while end < k and index[b, end] < prefixes[p]:
                    end += 1
                error = errors[b, first + p, columns]
                _project(error, W_dec, index[b, start:end], columns, slopes[b, start:end])
    return squares, active


@kernel
@no_type_check
def _subtract(out, a, b):
    for d in range(len(out)):
        out[d] = a[d] - b[d]


@kernel
@no_type_check
def _add(out, scale, row):
    for d in range(len(out)):
        out[d] += scale * row[d]


@kernel
@no_type_check
def _dot(a, b):
    total = a.dtype.type(0)
    for d in range(len(a)):
        total += a[d] * b[d]
    return total


@kernel
@no_type_check
def _add_rows(out, scales, rows, index, columns):
    """Add Σ scales[i] · rows[index[i]], four rows at a time: memory answers them at once, and `out` is read once."""
    i = 0
    while i + 4 <= len(index):
        a, b = rows[index[i], columns], rows[index[i + 1], columns]
        c, d = rows[index[i + 2], columns], rows[index[i + 3], columns]
        of_a, of_b, of_c, of_d = scales[i], scales[i + 1], scales[i + 2], scales[i + 3]
        for x in range(len(out)):
            out[x] += of_a * a[x] + of_b * b[x] + of_c * c[x] + of_d * d[x]
        i += 4
    while i < len(index):
        _add(out, scales[i], rows[index[i], columns])
        i += 1


@kernel
@no_type_check
def _project(row, rows, index, columns, out):
    """Add row · rows[index[i]] to each out[i], four rows at a time."""
    i = 0
    while i + 4 <= len(index):
        a, b = rows[index[i], columns], rows[index[i + 1], columns]
        c, d = rows[index[i + 2], columns], rows[index[i + 3], columns]
        by_a = by_b = by_c = by_d = row.dtype.type(0)
        for x in range(len(row)):
            by_a += row[x] * a[x]
            by_b += row[x] * b[x]
            by_c += row[x] * c[x]
            by_d += row[x] * d[x]
        out[i] += by_a
        out[i + 1] += by_b
        out[i + 2] += by_c
        out[i + 3] += by_d
        i += 4
    while i < len(index):
        out[i] += _dot(row, rows[index[i], columns])
        i += 1


@kernel
@no_type_check
def mark(index, fired):
    """Mark each latent of a code; the last place of `fired` stands for no latent."""
    for b in range(len(index)):
        for i in range(index.shape[1]):
            fired[index[b, i]] = True


@kernel
@no_type_check
def by_latent(index, places, starts, entries):
    """Sort the places of a code by latent: those of latent j are entries[starts[j] : starts[j + 1]], rising.

    Args:
        index: (batch, used), the first places of each row.
        places: C, the places of one row; place c of row b is b · C + c.
        starts: (M + 2,), filled.
        entries: (batch · used,), filled; those of no latent are the last.
    """
    starts[:] = 0
    for b in range(len(index)):
        for c in range(index.shape[1]):
            starts[index[b, c] + 1] += 1
    for j in range(len(starts) - 1):
        starts[j + 1] += starts[j]
    for b in range(len(index)):
        for c in range(index.shape[1]):
            j = index[b, c]
            entries[starts[j]] = b * places + c
            starts[j] += 1
    for j in range(len(starts) - 1, 0, -1):
        starts[j] = starts[j - 1]
    starts[0] = 0


@kernel
@no_type_check
def gradients(
    first, last, starts, entries, places, values, layers, slopes, scales, x, errors, W_dec, W_encT, squares, out
):
    """Add up the gradients of the latents from `first` to `last`, and take out of W_dec's what is along its rows.

    What is along row j is Σ value · slope over its entries, for a slope is the error along that row.
    Returns (d_in,): Σ over these latents of W_enc ∂/∂b_enc, which b_dec has its part of.

    Args:
        first: Number of a latent.
        last: Number of a latent.
        starts: As `by_latent` gives it.
        entries: As `by_latent` gives it.
        places: C, the places of one row.
        values: (batch · C,).
        layers: (batch · C,): which of a row's errors a place adds to.
        slopes: (batch · C,).
        scales: (layer,): what errors and slopes of a layer are multiplied by.
        x: (batch, d_in), what the encoder reads.
        errors: (batch, layer, d_in).
        W_dec: (M, d_in).
        W_encT: (M, d_in), the transpose of W_enc.
        squares: (M,), filled with the squares of each latent's gradients, float64.
        out: The gradients of W_dec (M, d_in), of W_enc's transpose (M, d_in) and of b_enc (M,), filled.
    """
    of_W_dec, of_W_enc, of_b_enc = out
    begin, n, of_row = starts[first], starts[last] - starts[first], errors.shape[1]
    row, error = np.empty(n, np.int32), np.empty(n, np.int32)
    decoding, encoding = np.empty(n, x.dtype), np.empty(n, x.dtype)
    for at in range(n):
        place = entries[begin + at]
        scale, row[at] = scales[layers[place]], place // places
        error[at] = row[at] * of_row + layers[place]
        decoding[at], encoding[at] = values[place] * scale, slopes[place] * scale
    of_entries = errors.reshape(-1, x.shape[1])
    through_encoder = np.zeros(x.shape[1], x.dtype)
    squares[first:last] = 0
    for column in range(0, x.shape[1], _COLUMNS):
        columns = slice(column, column + _COLUMNS)
        for j in range(first, last):
            of_latent = slice(starts[j] - begin, starts[j + 1] - begin)
            decoder, encoder = of_W_dec[j, columns], of_W_enc[j, columns]
            bias = along = x.dtype.type(0)
            for at in range(of_latent.start, of_latent.stop):
                bias += encoding[at]
                along += values[entries[begin + at]] * encoding[at]
            of_b_enc[j] = bias
            decoder[:] = 0
            encoder[:] = 0
            _add(decoder, -along, W_dec[j, columns])
            _add_rows(decoder, decoding[of_latent], of_entries, error[of_latent], columns)
            _add_rows(encoder, encoding[of_latent], x, row[of_latent], columns)
            _add(through_encoder[columns], bias, W_encT[j, columns])
            squares[j] += _dot(decoder, decoder) + _dot(encoder, encoder)
            if column == 0:
                squares[j] += bias * bias
    return through_encoder
