"""Which sequences go through the model together: all of them once, within the budget."""

import itertools

import numpy as np
import pytest

from fast_sae.activations.live.batches import (
    MAX_PADDING,
    cut_portions,
    example_lengths,
    pass_lengths,
    plan_batches,
    plan_packed,
)


def random_lengths(seed):
    return np.random.default_rng(seed).integers(1, 40, 57).tolist()


def width(row, lengths):
    return sum(lengths[i] for i in row)


@pytest.mark.parametrize("plan", [plan_batches, plan_packed])
@pytest.mark.parametrize("budget", [1, 40, 100, 10_000])
@pytest.mark.parametrize("seed", range(3))
def test_batches_hold_every_sequence_once_and_keep_the_budget(seed, budget, plan):
    lengths = random_lengths(seed)
    sequences = range(10, 57)
    batches = list(plan(sequences, lengths, budget))
    assert sorted(i for batch in batches for row in batch for i in row) == list(sequences)
    for batch in batches:
        padded = max(width(row, lengths) for row in batch) * len(batch)
        assert padded <= budget or len(batch) == 1
        assert sum(width(row, lengths) for row in batch) >= (1 - MAX_PADDING) * padded
    widths = [width(row, lengths) for batch in batches for row in batch]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("seed", range(3))
def test_packed_rows_are_no_longer_than_the_longest_sequence_and_leave_little_room(seed):
    lengths = random_lengths(seed)
    rows = [row for batch in plan_packed(range(57), lengths, 400) for row in batch]
    longest = max(lengths)
    assert max(width(row, lengths) for row in rows) == longest
    assert len(rows) <= 11 / 9 * -(-sum(lengths) // longest) + 1


def test_a_batch_takes_all_that_its_budget_allows():
    lengths = [1, 4, 4, 2, 2, 2]
    assert list(plan_batches(range(6), lengths, batch_tokens=8)) == [[[1], [2]], [[3], [4], [5]], [[0]]]
    assert list(plan_packed(range(6), lengths, batch_tokens=8)) == [[[1], [2]], [[3, 4]], [[5, 0]]]


def test_a_batch_ends_where_the_next_sequence_would_bring_too_much_padding():
    """10 · 2 with 10 + 8 tokens is 10 % padding; a third row of 8 would make it 4 of 30."""
    lengths = [8, 10, 8, 1]
    assert list(plan_batches(range(4), lengths, batch_tokens=1000)) == [[[1], [0]], [[2]], [[3]]]


@pytest.mark.parametrize("budget", [1024, 8192])
def test_little_is_padding_however_skewed_the_lengths_are(budget):
    lengths = np.ceil(np.random.default_rng(0).lognormal(4, 1.5, 3000)).astype(int).tolist()
    batches = list(plan_batches(range(3000), lengths, budget))
    padded = sum(lengths[batch[0][0]] * len(batch) for batch in batches)
    assert padded < sum(lengths) / (1 - MAX_PADDING)
    assert len(batches) < 2 * sum(lengths) / budget + sum(n > budget / 2 for n in lengths)


@pytest.mark.parametrize("plan", [plan_batches, plan_packed])
def test_no_sequences_need_no_batch(plan):
    assert list(plan([], [], 8)) == []


@pytest.mark.parametrize(
    ("block_size", "passes"),
    [(None, [3, 1, 5]), (1, [1] * 9), (4, [4, 4, 1]), (3, [3, 3, 3]), (9, [9]), (100, [9])],
    ids=str,
)
def test_a_shard_is_cut_into_examples_or_blocks(block_size, passes):
    assert pass_lengths([3, 1, 5], block_size) == passes
    assert pass_lengths([], block_size) == []


def test_examples_are_told_by_positions_that_start_anew():
    assert example_lengths(np.array([0, 1, 2, 0, 0, 1], np.int32)) == [3, 1, 2]
    assert example_lengths(np.array([], np.int32)) == []


def test_a_stream_is_read_no_further_than_the_next_portion():
    items = iter([2, 2, 1, 5])
    portions = cut_portions(items, lambda n: n, tokens=3)
    assert next(portions) == [2, 2]
    assert list(itertools.chain(items)) == [1, 5]
