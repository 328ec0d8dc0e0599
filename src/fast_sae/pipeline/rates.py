"""How fast this machine is: measured on model and SAE themselves where that takes seconds, else on a product."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers.utils.logging import disable_progress_bar

from fast_sae.activations.live.model import load_model
from fast_sae.activations.plan import measure_speed
from fast_sae.chat.render import Rendered
from fast_sae.pipeline.model_files import FoundModel, Weights
from fast_sae.preflight import Parsed
from fast_sae.sae.base import Step
from fast_sae.sae.build import build_sae
from fast_sae.training.dead_latents import DeadLatentCounter
from fast_sae.training.loop import Descent

_LOADED_IN_SECONDS = 1_000_000_000
"""Bytes of weights that load in a few seconds."""
_SMALL_SAE = 20_000_000
"""d_in · M of an SAE of which some steps take seconds on a CPU."""
_STEPS = 5
_SIDE = 1024


def extraction_speed(
    parsed: Parsed, model: FoundModel | None, weights: Weights, sample: Sequence[Rendered]
) -> tuple[float, str]:
    """Return tokens per second of the model's pass, and how that is known.

    Args:
        parsed: Every section.
        model: Where the model lies.
        weights: How many weights it has.
        sample: Rendered examples to try it on; none: arithmetic.
    """
    device = parsed.runtime.torch_device()
    dtype = getattr(torch, parsed.model.dtype)
    small = weights.all * dtype.itemsize <= _LOADED_IN_SECONDS
    if model is not None and model.folder is not None and sample and small:
        disable_progress_bar()  # of loading, in the midst of what the user reads
        loaded = load_model(parsed.model, model.commit, parsed.extract.layers, device)
        return measure_speed(loaded, sample), "measured on the model"
    rate = matmul_rate(dtype, device)
    return rate / max(1, 2 * weights.blocks), f"2 · {weights.blocks:.2g} weights per token at {_tell(rate)}, measured"


def step_seconds(parsed: Parsed, d_in: int) -> tuple[float, str]:
    """Return the seconds of one training step, and how that is known.

    A small SAE takes some steps on random rows; of a large one the five products of a step are counted: encode, decode,
    and the gradients of the decoder, the latents and the encoder.
    """
    device, dtype = parsed.runtime.torch_device(), getattr(torch, parsed.train.dtype)
    if d_in * parsed.sae.M <= _SMALL_SAE:
        return _try_steps(parsed, d_in, dtype, device), f"measured on {_STEPS} steps"
    rate = matmul_rate(dtype, device)
    flops = 5 * 2 * parsed.train.batch_size * d_in * parsed.sae.M
    return flops / rate, f"10 · batch · d_in · M per step at {_tell(rate)}, measured"


def matmul_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Floating-point operations per second of a dense product, measured for a fraction of a second."""
    a = torch.randn(_SIDE, _SIDE, device=device).to(dtype)
    best = _best(lambda: (a @ a).float().sum().item(), budget=0.5)  # .item() waits for a GPU
    return 2 * _SIDE**3 / best


def _try_steps(parsed: Parsed, d_in: int, dtype: torch.dtype, device: torch.device) -> float:
    sae = build_sae(d_in, parsed.sae).to(device, dtype)
    generator = torch.Generator().manual_seed(0)
    sae.initialise(torch.zeros(d_in), generator)
    rows = torch.randn(parsed.train.batch_size, d_in, generator=generator).to(device, dtype)
    descent = Descent(sae, clip=parsed.train.clip, gradient_bits=None)
    dead = DeadLatentCounter(parsed.sae.M, parsed.train.dead_after_steps, device)

    def steps() -> None:
        descent.take_step(rows, Step(0, dead), parsed.train.lr).total.item()

    with descent.alone():
        return float(np.median([_seconds(steps) for _ in range(_STEPS + 1)][1:]))  # the first one warms up


def _best(work: Callable[[], object], budget: float) -> float:
    work()
    times = [_seconds(work)]
    while sum(times) < budget:
        times.append(_seconds(work))
    return min(times)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _tell(rate: float) -> str:
    return f"{rate / 1e9:,.0f} GFLOP/s"
