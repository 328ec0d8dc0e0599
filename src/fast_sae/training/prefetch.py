"""Batches made ready while the one before is in use."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float
from torch import Tensor

_AHEAD = 2
"""Batches made before they are asked for: now and then one takes longer than a step."""


def made_ahead(batches: Iterator[Float[Tensor, "_ d_in"]]) -> Iterator[Float[Tensor, "_ d_in"]]:
    """Yield batches in their order, which a thread of its own makes; what it raises is raised where it was due."""
    with ThreadPoolExecutor(1) as maker:
        coming = deque(maker.submit(next, batches, None) for _ in range(_AHEAD))
        try:
            while (batch := coming.popleft().result()) is not None:
                coming.append(maker.submit(next, batches, None))
                yield batch
        finally:
            maker.shutdown(cancel_futures=True)


def sent_ahead(
    batches: Iterable[Float[Tensor, "_ d_in"]], device: torch.device, dtype: torch.dtype
) -> Iterator[Float[Tensor, "_ d_in"]]:
    """Yield batches in their order on a GPU and in a type; each is copied while the one before is in use.

    The copy goes on a stream of its own, in the type that the rows come in; it is converted there. It waits for nothing
    where the batch lies in pinned memory. Memory: two batches on the GPU.

    Args:
        batches: On the CPU.
        device: The GPU.
        dtype: What they are wanted in.
    """
    stream, coming = torch.cuda.Stream(device), None
    for batch in batches:
        with torch.cuda.stream(stream):
            sent = batch.to(device, non_blocking=True).to(dtype)
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
