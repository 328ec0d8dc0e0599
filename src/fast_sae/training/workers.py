"""Threads that share the rows or latents of a step."""

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

import torch

T = TypeVar("T")
Task = tuple[Callable[[int], None], int]


class Workers:
    """As many threads as torch has, each of which calls torch and numba with one thread of its own.

    torch's own threads stay awake for a while after each operation, and would take the cores from numba's. The calling
    thread is one of the workers: who shares work brings torch to one thread in it (`torch_threads(1)`), or which part a
    product falls to, and so its last bits, would be a matter of timing. A queue to each thread and back takes half the
    time of an executor's futures, and a step of a small SAE asks three times.
    """

    def __init__(self) -> None:
        """Take torch's number of threads, the calling one among them."""
        self.threads = torch.get_num_threads()
        self._helpers = [_Helper() for _ in range(self.threads - 1)]
        self._at_work = False

    def share(self, work: Callable[[int, int, int], T], cuts: Sequence[int]) -> list[T]:
        """Call work(worker, first, last) for each pair of neighbouring cuts; return what the calls return, in order.

        Each worker takes the next pair when it is done with one. What a call raises is raised when all have ended.

        Raises:
            RuntimeError: if work was interrupted before all had ended, or is shared from within work.
        """
        if self._at_work:
            raise RuntimeError("workers that were interrupted may still be at work; make new ones")
        self._at_work = True
        parts, found = deque(enumerate(pairwise(cuts))), {}

        def take(worker: int) -> None:
            while part := _next(parts):
                number, (first, last) = part
                found[number] = work(worker, first, last)

        asked = self._helpers[: max(0, len(cuts) - 2)]
        for worker, helper in enumerate(asked, start=1):
            helper.asked.put((take, worker))
        raised = [error for error in (_raised_by(take, 0), *(helper.outcomes.get() for helper in asked)) if error]
        self._at_work = False
        for error in raised:
            raise error
        return [found[number] for number in range(len(cuts) - 1)]

    def cuts(self, n: int, largest: int | None = None) -> list[int]:
        """Cut n things into a part for each thread, or more so that none is above `largest`; none is empty."""
        parts = max(self.threads, -(-n // largest)) if largest else self.threads
        return sorted({n * i // parts for i in range(parts + 1)})


class _Helper:
    """A thread that ends with this object."""

    def __init__(self) -> None:
        self.asked: SimpleQueue[Task | None] = SimpleQueue()
        self.outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
        Thread(target=_serve, args=(self.asked, self.outcomes), daemon=True).start()
        weakref.finalize(self, self.asked.put, None)


def _serve(asked: "SimpleQueue[Task | None]", outcomes: "SimpleQueue[BaseException | None]") -> None:
    torch.set_num_threads(1)
    while (task := asked.get()) is not None:
        outcomes.put(_raised_by(*task))
        del task  # or it would hold what it works on until the next comes


def _raised_by(work: Callable[[int], None], worker: int) -> BaseException | None:
    try:
        work(worker)
    except BaseException as error:
        return error
    return None


def _next(parts: deque[T]) -> T | None:
    """Take the next part, if there is one; a deque gives each to one thread alone."""
    try:
        return parts.popleft()
    except IndexError:
        return None
