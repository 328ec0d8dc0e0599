"""What `codes` does, for a GPU: Triton's kernels over few active latents, and the functions that launch them.

A code holds the latents of `batch` rows in C places each: values and index (batch, C), where the index M, `none`,
stands for no latent. Nothing is added atomically: the same numbers come out every time.

Tested in Triton's interpreter, on a CPU, and compiled for compute capability 9.0: at d_in 4096 and K 64 no register is
spilled. None has run on a GPU: block sizes and numbers of warps are reckoned, not tuned.
"""

from typing import Any

import torch
import triton.language as tl
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from fast_sae.training.kernels import triton_programs

_programs: Any = triton_programs  # whose types know nothing of launching

_COLUMNS = 2048
"""Pre-activations looked at together."""
_ENTRIES, _WIDTH = 8, 512
"""Entries of a latent, and numbers of a row, that are added up together: 32 registers a thread for each of two rows."""


def select(
    pre: Float[Tensor, "batch column"],
    names: Int32[Tensor, " column"],
    none: int,
    values: Float[Tensor, "batch k"],
    index: Int32[Tensor, "batch k"],
) -> None:
    """Keep the k largest pre-activations of each row, where they are positive, by rising latent; of equals the first.

    Args:
        pre: Possibly of fewer bits than the values.
        names: The latent that each column belongs to.
        none: The index of no latent.
        values: Filled.
        index: Filled.
    """
    (batch, columns), k = pre.shape, values.shape[1]
    assert pre.is_contiguous()
    assert values.stride() == index.stride()
    room = _power_of_2(2 * k)
    found, where = values.new_empty(batch, room), index.new_empty(batch, room)
    wide = values.dtype == torch.float64
    number, key, top = (tl.float64, tl.int64, 60) if wide else (tl.float32, tl.int32, 28)
    lowest = 16 if pre.dtype == torch.bfloat16 and not wide else 0  # the bits that bfloat16 has
    block = min(_COLUMNS, _power_of_2(columns))
    _programs.shortlist[(batch,)](
        pre, names, found, where, columns, none, k, number, key, top, lowest, room, block, num_warps=8
    )
    _programs.keep_largest[(batch,)](found, where, values, index, values.stride(0), none, k, number, key, top, room)


def encode(
    x: Float[Tensor, "batch d_in"],
    W_encT: Float[Tensor, "M d_in"],
    b_enc: Float[Tensor, " M"],
    values: Float[Tensor, "batch k"],
    index: Int32[Tensor, "batch k"],
) -> None:
    """Compute the values of chosen latents; those that are not positive become no latent, which stands behind all.

    Args:
        x: What the encoder reads.
        W_encT: The transpose of W_enc.
        b_enc: Of all latents.
        values: Filled.
        index: Rising in each row, changed.
    """
    (batch, d_in), k, M = x.shape, values.shape[1], len(b_enc)
    assert all(array.is_contiguous() for array in (x, W_encT))
    assert values.stride() == index.stride()
    sizes = (_power_of_2(k), _power_of_2(d_in))
    _programs.encode[(batch,)](
        x, W_encT, b_enc, values, index, values.stride(0), d_in, M, k, *sizes, num_warps=_warps(d_in)
    )


def decode(
    values: Float[Tensor, "batch k"],
    index: Int32[Tensor, "batch k"],
    prefixes: Int32[Tensor, " prefix"],
    W_dec: Float[Tensor, "M d_in"],
    bias: Float[Tensor, " d_in"],
    target: Float[Tensor, "batch d_in"],
    errors: Float[Tensor, "batch prefix d_in"],
) -> Float[Tensor, "batch prefix"]:
    """Reconstruct from each prefix; return the squared errors.

    Equation, for prefix p and the latents j below it: e_p = bias + Σ_j f_j W_dec[j] − target.

    Args:
        values: f.
        index: Rising in each row.
        prefixes: The rising sizes.
        W_dec: The decoder.
        bias: What is added to every reconstruction.
        target: What is to be reconstructed.
        errors: Filled with e_p.
    """
    (batch, k), (M, d_in) = values.shape, W_dec.shape
    assert all(array.is_contiguous() for array in (W_dec, target, errors[0]))
    assert values.stride() == index.stride()
    squares = values.new_empty(batch, len(prefixes))
    _programs.decode[(batch,)](
        *(values, index, values.stride(0), prefixes, len(prefixes), W_dec, bias, target),
        *(errors, errors.stride(0), squares, d_in, M, k, _power_of_2(d_in)),
        num_warps=_warps(d_in),
    )
    return squares


def differentiate(
    index: Int32[Tensor, "batch k"],
    prefixes: Int32[Tensor, " prefix"],
    W_dec: Float[Tensor, "M d_in"],
    first: int,
    errors: Float[Tensor, "batch prefix d_in"],
    layers: Int32[Tensor, "batch k"],
    slopes: Float[Tensor, "batch k"],
) -> None:
    """Differentiate half the squared errors by every value.

    Equation: the slope of a latent in the prefixes from q on is Σ_{p ≥ q} e_p · W_dec[j].

    Args:
        index: Rising in each row.
        prefixes: The rising sizes.
        W_dec: The decoder.
        first: Layer of the first prefix.
        errors: As `decode` leaves them; changed into Σ_{p ≥ q} e_p for each q.
        layers: Filled with the layer, `first` + q, of each latent.
        slopes: Filled.
    """
    (batch, k), (M, d_in) = index.shape, W_dec.shape
    assert all(array.is_contiguous() for array in (W_dec, errors[0]))
    assert index.stride() == layers.stride() == slopes.stride()
    _programs.differentiate[(batch,)](
        *(index, index.stride(0), prefixes, len(prefixes), W_dec, first, errors, errors.stride(0)),
        *(layers, slopes, d_in, M, k, _power_of_2(d_in)),
        num_warps=_warps(d_in),
    )


def gradients(
    starts: Int64[Tensor, " starts"],
    entries: Int64[Tensor, " entry"],
    values: Float[Tensor, "batch place"],
    layers: Int32[Tensor, "batch place"],
    slopes: Float[Tensor, "batch place"],
    scales: Float[Tensor, " layer"],
    x: Float[Tensor, "batch d_in"],
    errors: Float[Tensor, "batch layer d_in"],
    W_dec: Float[Tensor, "M d_in"],
    out: tuple[Float[Tensor, "M d_in"], Float[Tensor, "M d_in"], Float[Tensor, " M"]],
) -> None:
    """Add up the gradients of all latents, W_dec's without what is along its rows.

    Args:
        starts: Where the entries of each latent start; those of latent j are entries[starts[j] : starts[j + 1]].
        entries: Places of the flat code, sorted by latent.
        values: f.
        layers: Which of a row's errors a place adds to.
        slopes: As `differentiate` leaves them.
        scales: What errors and slopes of a layer are multiplied by.
        x: What the encoder reads.
        errors: As `differentiate` leaves them.
        W_dec: The decoder.
        out: The gradients of W_dec, of W_enc's transpose and of b_enc, filled.
    """
    (M, d_in), (_, places) = W_dec.shape, values.shape
    assert all(array.is_contiguous() for array in (values, layers, slopes, x, errors, W_dec, *out))
    width = min(_WIDTH, _power_of_2(d_in))
    _programs.gradients[(M, -(-d_in // width))](
        *(starts, entries, places, values, layers, slopes, scales, x, errors, errors.shape[1], W_dec),
        *(*out, d_in, _ENTRIES, width),
    )


def _power_of_2(n: int) -> int:
    """Return the smallest one that is at least n."""
    return 1 << (n - 1).bit_length()


def _warps(d_in: int) -> int:
    """Choose how many warps hold a row: 16 numbers a thread at 4096."""
    return 8 if d_in >= 2048 else 4
