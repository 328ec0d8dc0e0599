"""Batches come in their order and whole, on a CPU and, where there is one, to a GPU."""

import numpy as np
import pytest
import torch

from fast_sae.training.prefetch import prefetched

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sizes", [[], [3], [3, 3, 2, 1]], ids=str)
def test_batches_keep_their_order_their_sizes_and_their_numbers(sizes, device):
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((sum(sizes), 4)).astype(np.float16))
    came = list(prefetched(iter(rows.split(sizes)), torch.device(device), torch.float32))
    assert [(len(batch), batch.dtype, batch.device.type) for batch in came] == [
        (n, torch.float32, device) for n in sizes
    ]
    assert all(torch.equal(batch.cpu(), sent.float()) for batch, sent in zip(came, rows.split(sizes), strict=True))


def test_on_a_cpu_nothing_is_read_ahead():
    read = []
    batches = prefetched((read.append(i) or torch.zeros(1, 2) for i in range(3)), torch.device("cpu"), torch.float64)
    next(batches)
    assert read == [0]
