"""Batches on their way to a GPU while it still works on the one before."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor


def prefetched(
    batches: Iterable[Float[Tensor, "_ d_in"]], device: torch.device, dtype: torch.dtype
) -> Iterator[Float[Tensor, "_ d_in"]]:
    """Yield batches in their order, on a device and in a type; to a GPU each is copied while the one before is in use.

    The copy goes from pinned memory on a stream of its own, in the type that the rows come in; it is converted there.
    Memory: two batches on the GPU. On a CPU nothing is read ahead, where that would take a core from the step.

    Args:
        batches: On the CPU.
        device: Where they are wanted.
        dtype: What they are wanted in.
    """
    if device.type != "cuda":
        yield from (batch.to(device, dtype) for batch in batches)
        return
    stream, coming = torch.cuda.Stream(device), None
    for batch in batches:
        with torch.cuda.stream(stream):
            sent = batch.pin_memory().to(device, non_blocking=True).to(dtype)
        if coming is not None:
            yield coming
        coming = _received(sent, stream)
    if coming is not None:
        yield coming


def _received(batch: Float[Tensor, "_ d_in"], stream: torch.cuda.Stream) -> Float[Tensor, "_ d_in"]:
    """Let the stream that computes wait for a copy, and keep its memory until that stream is done with it."""
    computing = torch.cuda.current_stream(batch.device)
    computing.wait_stream(stream)
    batch.record_stream(computing)
    return batch
