"""What the machine can do at this moment, and what that allows: peaks and rooflines of one training setting."""

import time
from collections.abc import Callable

import torch

from benchmarks.settings import Setting

_SQUARE = 1024
_COPIED = 2**28
"""Bytes of the buffer that is copied: far more than a cache holds."""
_SECONDS = 0.2


def measure_peaks(setting: Setting, device: torch.device) -> dict[str, float]:
    """Measure matrix products and copying: in 1e9 operations per second, and 1e9 bytes read or written per second.

    `gemm_fp32` is a square product of 1,024, `gemm_bf16` one of 512 (slow where no unit does it); `encode_fp32` and
    `gradient_fp32` have the setting's shapes: (batch, d_in) (d_in, M), and (d_in, batch) (batch, M). A copy reads and
    writes each byte.
    """
    square = (_SQUARE, _SQUARE, _SQUARE)
    encode, gradient = (setting.batch, setting.d_in, setting.M), (setting.d_in, setting.batch, setting.M)
    return {
        "gemm_fp32": measure_product(square, torch.float32, device),
        "gemm_bf16": measure_product((_SQUARE // 2, _SQUARE // 2, _SQUARE // 2), torch.bfloat16, device),
        "encode_fp32": measure_product(encode, torch.float32, device),
        "gradient_fp32": measure_product(gradient, torch.float32, device),
        "copy": measure_copy(device),
    }


def measure_product(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> float:
    """Return the best rate of (n, k) @ (k, m) into an existing buffer, in 1e9 operations per second."""
    n, k, m = shape
    a, b = torch.randn(n, k, device=device).to(dtype), torch.randn(k, m, device=device).to(dtype)
    out = torch.empty(n, m, dtype=dtype, device=device)
    return 2 * n * k * m / _best(lambda: torch.mm(a, b, out=out), device) / 1e9


def measure_copy(device: torch.device) -> float:
    """Return the best rate of a copy into an existing buffer, in 1e9 bytes read or written per second."""
    source, target = (torch.ones(_COPIED // 4, device=device) for _ in range(2))
    return 2 * _COPIED / _best(lambda: target.copy_(source), device) / 1e9


def rooflines(setting: Setting, peaks: dict[str, float]) -> dict[str, float]:
    """Return the operations and bytes of one token, and the tokens/s that the measured peaks allow, in float32.

    Operations: a dense product takes 2 · d_in · M per token. `two_products` counts encoding and the encoder's gradient
    as dense, `one_product` encoding alone, since that gradient is sparse in K too; either counts 2 · d_in · K for each
    of the sparse ones: decoding, the latents' gradient, the decoder's gradient, and where it is sparse the encoder's.
    Bytes: a row in float16, read and turned to float32 (2 + 4 per number), and Adam's pass over the 2 · d_in · M
    weights (reads weight, gradient and two moments, writes weight and moments: 28 per weight), shared by the batch;
    what stays in a cache costs less. A roofline is the slower of arithmetic, at the best product measured, and memory.
    """
    dense, sparse = 2 * setting.d_in * setting.M, 2 * setting.d_in * setting.K
    rate = max(peaks[name] for name in ("gemm_fp32", "encode_fp32", "gradient_fp32")) * 1e9
    two, one = 2 * dense + 3 * sparse, dense + 4 * sparse
    moved = 6 * setting.d_in + 28 * 2 * setting.d_in * setting.M / setting.batch
    by_memory = peaks["copy"] * 1e9 / moved
    return {
        "operations_two_products": two,
        "operations_one_product": one,
        "bytes": moved,
        "by_memory": by_memory,
        "two_products": min(rate / two, by_memory),
        "one_product": min(rate / one, by_memory),
    }


def _best(run: Callable[[], object], device: torch.device) -> float:
    """Return the shortest of as many calls as fit into a fifth of a second, in seconds; the first call does not count.

    One call may take seconds: bfloat16 on a processor without units for it.
    """
    taken: list[float] = []
    run()
    while sum(taken) < _SECONDS:
        begun = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - begun)
    return min(taken)
