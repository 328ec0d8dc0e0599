import itertools
import threading

import numpy as np
import pytest
import torch
from samples import array_source

from fast_sae.chat.kinds import Kind
from fast_sae.training.batches import RowBatches


def batches(n=10, index=None, batch_rows=3, dtype=torch.float64, scale=1.0):
    """Rows that hold their own number, twice; those of `index` are content, the others scaffold."""
    kinds = [Kind.CONTENT if index is None or i in index else Kind.SCAFFOLD for i in range(n)]
    source = array_source(np.repeat(np.arange(n, dtype=np.float16)[:, None], 2, axis=1), kinds=kinds)
    return RowBatches(source, (Kind.CONTENT,), batch_rows, dtype, torch.device("cpu"), scale)


def numbers(portions):
    return [portion[:, 0].int().tolist() for portion in portions]


def flat(portions):
    return [number for portion in numbers(portions) for number in portion]


def test_rows_of_the_kinds_come_in_order_in_portions_of_the_size_asked():
    assert numbers(batches(index=[1, 2, 3, 5, 7, 8, 9])) == [[1, 2, 3], [5, 7, 8, 9]]  # no batch of one row


@pytest.mark.parametrize("portions", [[1] * 7, [7], [3, 4], [4, 3], [0, 6, 0, 1], [2, 2, 2, 1]], ids=str)
def test_batches_are_the_same_whatever_portions_a_source_gives(portions, monkeypatch):
    found = batches(7)
    ends = np.cumsum([0, *portions])
    rows = found.source.rows.activations
    monkeypatch.setattr(
        type(found.source), "shuffled", lambda *_, **__: (rows[a:b] for a, b in itertools.pairwise(ends))
    )
    assert numbers(found.shuffled(0, 0)) == [[0, 1, 2], [3, 4, 5, 6]]


def test_a_sample_is_converted_scaled_and_no_larger_than_asked():
    found = batches(index=[2, 5, 6], dtype=torch.float32, scale=0.5)
    assert found.sample(10, seed=0).tolist() == [[1, 1], [2.5, 2.5], [3, 3]]
    assert found.sample(10, seed=0).dtype == torch.float32
    assert found.sample(2, seed=0).shape == (2, 2)


def test_every_row_is_scaled():
    found = batches(3, scale=0.5)
    assert [portion[:, 0].tolist() for portion in found] == [[0, 0.5, 1]]
    (shuffled,) = found.shuffled(0, 0)
    assert sorted(shuffled[:, 0].tolist()) == [0, 0.5, 1]


@pytest.mark.parametrize(("rows", "count"), [(1, 1), (3, 1), (4, 1), (5, 2), (9, 3), (200, 67), (97, 32)])
def test_rows_and_batches_are_counted(rows, count):
    found = batches(rows)
    assert (found.rows, len(found)) == (rows, count)
    assert len(list(found)) == len(list(found.shuffled(0, 0))) == count


def test_every_pass_in_order_is_the_same():
    found = batches(200)
    assert numbers(found) == numbers(found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_converted_before_anything_is_computed(dtype):
    portion = next(iter(batches(dtype=dtype)))
    assert portion.dtype == dtype
    assert portion.tolist() == [[0, 0], [1, 1], [2, 2]]


def test_a_shuffled_pass_holds_every_row_once_and_only_the_last_portion_is_short():
    portions = list(batches(200, index=range(50, 200), batch_rows=4).shuffled(seed=1, epoch=0))
    assert sorted(flat(portions)) == list(range(50, 200))
    assert [len(portion) for portion in portions] == [4] * 37 + [2]
    assert flat(portions) != list(range(50, 200))


def test_the_order_hangs_on_seed_and_epoch_and_on_nothing_else():
    orders = {(s, e): str(numbers(batches(60).shuffled(s, e))) for s in range(3) for e in range(3)}
    assert len(set(orders.values())) == 9
    first = batches(60)
    list(first.shuffled(0, 0))
    torch.manual_seed(5)
    np.random.seed(5)  # the global state must not matter
    assert {(s, e): str(numbers(first.shuffled(s, e))) for s, e in reversed(orders)} == orders


def test_the_order_of_rows_does_not_hang_on_the_size_of_a_portion():
    assert flat(batches(90, batch_rows=1).shuffled(3, 4)) == flat(batches(90, batch_rows=7).shuffled(3, 4))


def test_no_rows_make_no_portion():
    found = batches(5, index=[])
    assert (len(found), list(found)) == (0, [])


def test_a_source_that_computes_its_rows_is_not_read_ahead(monkeypatch):
    found = batches(9)
    monkeypatch.setattr(type(found.source), "can_read_ahead", False)
    before = threading.active_count()
    shuffled = found.shuffled(0, 0)
    next(shuffled)
    assert threading.active_count() == before
    monkeypatch.setattr(type(found.source), "can_read_ahead", True)
    ahead = found.shuffled(0, 0)
    next(ahead)
    assert threading.active_count() == before + 1
    ahead.close()
