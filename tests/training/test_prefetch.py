"""Batches come in their order and whole, made by a thread of its own or sent to a GPU."""

import threading

import numpy as np
import pytest
import torch

from fast_sae.training.prefetch import made_ahead, sent_ahead

SIZES = pytest.mark.parametrize("sizes", [[], [3], [3, 3, 2, 1]], ids=str)


def halves(rows):
    return torch.from_numpy(np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float16))


@SIZES
def test_batches_made_ahead_keep_their_order_and_their_numbers(sizes):
    batches = halves(sum(sizes)).split(sizes)
    came = list(made_ahead(iter(batches)))
    assert len(came) == len(batches)
    assert all(torch.equal(a, b) for a, b in zip(came, batches, strict=True))


def test_no_more_than_two_are_made_before_they_are_asked_for():
    made, enough = [], threading.Event()

    def batches():
        for i in range(10):
            made.append(i)
            if len(made) == 3:
                enough.set()
            yield torch.full((1, 2), float(i))

    came = made_ahead(batches())
    assert next(came)[0, 0] == 0
    assert enough.wait(10)
    came.close()  # waits for what is being made
    assert made == [0, 1, 2]


def failing():
    yield torch.zeros(1, 2)
    yield torch.ones(1, 2)
    raise OSError("the disk is gone")


def test_what_a_batch_raises_is_raised_where_it_was_due():
    came = made_ahead(failing())
    assert [float(next(came)[0, 0]) for _ in range(2)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(came)


def test_whoever_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    came = made_ahead(iter(halves(9).split(1)))
    next(came)
    assert threading.active_count() == before + 1
    came.close()
    assert threading.active_count() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@SIZES
def test_batches_sent_ahead_keep_their_order_their_sizes_and_their_numbers(sizes):
    batches = halves(sum(sizes)).split(sizes)
    came = list(sent_ahead((batch.pin_memory() for batch in batches), torch.device("cuda"), torch.float32))
    assert [(len(batch), batch.dtype, batch.device.type) for batch in came] == [
        (n, torch.float32, "cuda") for n in sizes
    ]
    assert all(torch.equal(batch.cpu(), sent.float()) for batch, sent in zip(came, batches, strict=True))
