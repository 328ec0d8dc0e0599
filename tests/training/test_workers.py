"""Work is shared out whole, in order, and what goes wrong in any thread is raised."""

import gc
import threading
import time

import pytest
import torch

from fast_sae.training.workers import Workers


@pytest.fixture(params=[1, 2, 3])
def workers(request, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)
    return Workers()


@pytest.mark.parametrize(("n", "largest"), [(0, None), (1, None), (2, None), (7, None), (7, 2), (7, 100), (64, 3)])
def test_every_thing_is_worked_on_once_and_results_come_in_order(workers, n, largest):
    cuts = workers.cuts(n, largest)
    found = workers.share(lambda worker, first, last: list(range(first, last)), cuts)
    assert [i for part in found for i in part] == list(range(n))
    assert all(found)
    assert all(len(part) <= (largest or n) for part in found)
    assert len(found) >= min(n, workers.threads)


def test_no_two_threads_have_the_same_number_at_once(workers):
    busy, seen = set(), []

    def work(worker, first, last):
        assert worker not in busy
        busy.add(worker)
        time.sleep(0.001)
        seen.append((worker, threading.get_ident()))
        busy.remove(worker)

    workers.share(work, range(21))
    assert len(seen) == 20
    assert len(set(seen)) == len({worker for worker, _ in seen}) <= workers.threads


@pytest.mark.parametrize("wrong", range(4))
def test_what_any_part_raises_is_raised_and_the_next_work_is_done(workers, wrong):
    def work(worker, first, last):
        if first == wrong:
            raise ValueError(f"part {first}")
        return first

    with pytest.raises(ValueError, match=f"part {wrong}"):
        workers.share(work, range(5))
    assert workers.share(lambda worker, first, last: first, range(5)) == [0, 1, 2, 3]


def test_threads_end_with_their_workers(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    before = set(threading.enumerate())
    workers = Workers()
    threads = set(threading.enumerate()) - before
    assert len(threads) == 3
    del workers
    gc.collect()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_work_that_was_interrupted_is_not_taken_for_other_work(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    workers = Workers()
    (helper,) = workers._helpers
    monkeypatch.setattr(helper, "outcomes", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        workers.share(lambda worker, first, last: first, range(5))
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="make new ones"):
        workers.share(lambda worker, first, last: first, range(5))


class Interrupted:
    """A queue in front of which Ctrl-C is pressed."""

    def get(self):
        raise KeyboardInterrupt

    def put(self, outcome):
        pass


def test_work_is_not_shared_from_within_work(workers):
    with pytest.raises(RuntimeError, match="make new ones"):
        workers.share(lambda *_: workers.share(lambda *_: None, range(3)), range(3))
