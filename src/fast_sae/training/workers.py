"""Threads that share the rows or latents of a step."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import torch

T = TypeVar("T")


class Workers:
    """As many threads as torch has, each of which calls torch and numba with one thread of its own.

    torch's own threads stay awake for a while after each operation, and would take the cores from numba's.
    """

    def __init__(self) -> None:
        """Take torch's number of threads, the calling one among them."""
        self.threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(max(1, self.threads - 1), initializer=torch.set_num_threads, initargs=(1,))

    def share(self, work: Callable[[int, int, int], T], cuts: Sequence[int]) -> list[T]:
        """Call work(number, first, last) for each pair of neighbouring cuts at once; return what the calls return."""
        here, *others = ((number, *ends) for number, ends in enumerate(pairwise(cuts)))
        waiting = [self._pool.submit(work, *part) for part in others]
        return [work(*here), *(future.result() for future in waiting)]

    def cuts(self, n: int) -> list[int]:
        """Cut n things into a part for each thread, or fewer parts where there are fewer things; none is empty."""
        return sorted({n * i // self.threads for i in range(self.threads + 1)})

    @contextmanager
    def one_thread_each(self) -> Iterator[None]:
        """Keep torch's own threads out of it."""
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(self.threads)
