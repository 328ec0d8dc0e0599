import numpy as np
import pytest
import torch
from samples import array_source

from fast_sae.training.batches import RowBatches


def batches(n=10, index=None, batch_rows=3, dtype=torch.float64):
    """Rows that hold their own number, twice."""
    source = array_source(np.repeat(np.arange(n, dtype=np.float16)[:, None], 2, axis=1))
    index = np.arange(n) if index is None else np.array(index)
    return RowBatches(source, index, batch_rows, dtype, torch.device("cpu"))


def numbers(portions):
    return [portion[:, 0].int().tolist() for portion in portions]


def flat(portions):
    return [number for portion in numbers(portions) for number in portion]


def test_rows_come_in_the_order_asked_in_portions_of_the_size_asked():
    assert numbers(batches(index=[7, 1, 8, 2, 3, 5, 9])) == [[7, 1, 8], [2, 3, 5, 9]]  # no batch of one row


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


def test_shuffling_leaves_the_index_as_it_is():
    found = batches(20)
    list(found.shuffled(0, 0))
    assert found.index.tolist() == list(range(20))


def test_no_rows_make_no_portion():
    found = batches(5, index=np.array([], np.int64))
    assert (len(found), list(found)) == (0, [])
