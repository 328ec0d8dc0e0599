"""FAST's mixing buffer (Li et al. 2025, arXiv:2506.07691): fill, shuffle, serve half, refill, repeat.

It knows neither models nor files. Memory: `capacity` rows, and the portion that comes in.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float


def mix(
    portions: Iterable[Float[np.ndarray, "_ d_in"]], capacity: int, served: int, generator: np.random.Generator
) -> Iterator[Float[np.ndarray, "_ d_in"]]:
    """Yield every row of a stream once, mixed with the rows that share the buffer with it.

    A full buffer is shuffled, the first half of it served, and that half filled again, so that a row leaves at each
    turn with probability 1/2; when the stream ends, all that is left is shuffled and served.

    Args:
        portions: The rows, in portions of any size, none kept.
        capacity: Rows in the buffer.
        served: Rows in one portion that is yielded, at most.
        generator: Decides the order.
    """
    buffer: np.ndarray | None = None
    free = np.arange(capacity)
    """Places of the buffer that hold nothing, or what has been served."""
    for portion in portions:
        buffer = np.empty((capacity, portion.shape[1]), portion.dtype) if buffer is None else buffer
        left = portion
        while len(left):
            taken = left[: len(free)]
            buffer[free[: len(taken)]] = taken
            free, left = free[len(taken) :], left[len(taken) :]
            if len(free) == 0:
                free = generator.permutation(capacity)[: max(1, capacity // 2)]
                yield from _serve(buffer, free, served)
    if buffer is not None:
        held = np.setdiff1d(np.arange(capacity), free)
        yield from _serve(buffer, generator.permutation(held), served)


def _serve(
    buffer: Float[np.ndarray, "capacity d_in"], places: np.ndarray, served: int
) -> Iterator[Float[np.ndarray, "_ d_in"]]:
    for at in range(0, len(places), served):
        yield buffer[places[at : at + served]]
