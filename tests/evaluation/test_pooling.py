import numpy as np
import pytest
import torch
from samples import evaluate_settings

from fast_sae.evaluation.pooling import Pooled, Pools

EXAMPLE = [0, 0, 0, 1, 2, 2]
FEATURES = [[1, -1], [4, -2], [1, 3], [0, 5], [2, 2], [0, 6]]
BORDERS = [(), (1,), (2,), (3,), (2, 4, 5), (1, 2, 3, 4, 5), (0, 3, 6)]


def parts(borders):
    return np.split(np.arange(len(EXAMPLE)), borders)


def pooled(pooling, borders=(), examples=(0, 1, 2), *, merged=False, sign=1):
    """Pool rows that come in parts, cut at `borders`: into one accumulator, or into one each, merged at last."""
    example, features = np.array(EXAMPLE), sign * np.array(FEATURES, np.float32)
    found = Pooled(np.array(examples), 2, pooling)
    for part in parts(borders):
        into = Pooled(np.array(examples), 2, pooling) if merged else found
        into.add(example[part], features[part])
        if merged:
            found.merge(into)
    return found.result().tolist()


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("borders", BORDERS, ids=str)
def test_max_pooling_takes_an_examples_largest_wherever_chunks_end(borders, merged):
    assert pooled("max", borders, merged=merged) == [[4, 3], [0, 5], [2, 6]]


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("borders", BORDERS, ids=str)
def test_the_largest_of_negative_values_is_negative(borders, merged):
    assert pooled("max", borders, merged=merged, sign=-1) == [[-1, 2], [0, -5], [0, -2]]


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("borders", BORDERS, ids=str)
def test_mean_pooling_divides_by_an_examples_rows_wherever_chunks_end(borders, merged):
    assert pooled("mean", borders, merged=merged) == [[2, 0], [0, 5], [1, 4]]


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_an_example_without_rows_pools_to_zero(pooling):
    assert pooled(pooling, examples=[1, 3]) == [[0, 5], [0, 0]]


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("borders", BORDERS, ids=str)
def test_only_the_examples_asked_for_are_pooled(pooling, borders):
    assert pooled(pooling, borders, examples=[0, 2]) == [pooled(pooling)[i] for i in (0, 2)]


def pools(labels, borders=(), *, merged=False, **options):
    example, x = np.array(EXAMPLE), torch.tensor(FEATURES, dtype=torch.float64)
    found = Pools(labels, 2, 2, evaluate_settings(**options))
    for part in parts(borders):
        into = Pools(labels, 2, 2, evaluate_settings(**options)) if merged else found
        into.add(example[part], x[part], x[part].relu())
        if merged:
            found.merge(into)
    return found.result()


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("borders", BORDERS, ids=str)
def test_max_pooling_knows_both_ends_of_each_dimension(borders, merged):
    found = pools(["a", "b", "c"], borders, merged=merged)
    assert found.latents.tolist() == [[4, 3], [0, 5], [2, 6]]
    assert found.dimensions.tolist() == [[4, 3, -1, 2], [0, 5, 0, -5], [2, 6, 0, -2]]
    assert found.mean.tolist() == [[2, 0], [0, 5], [1, 4]]


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 100, 1000])
def test_where_batches_end_changes_no_digit_of_a_mean(rows, merged):
    random = np.random.default_rng(0)
    example, examples = np.repeat([0, 1], [700, 300]), np.array([0, 1])
    features = (random.normal(size=(1000, 5)) + 30).astype(np.float16).astype(np.float32)
    found = Pooled(examples, 5, "mean")
    for at in range(0, 1000, rows):
        into = Pooled(examples, 5, "mean") if merged else found
        into.add(example[at : at + rows], features[at : at + rows])
        if merged:
            found.merge(into)
    expected = [features[example == i].mean(0, dtype=np.float64).astype(np.float32).tolist() for i in (0, 1)]
    assert found.result().tolist() == expected


def test_mean_pooling_needs_one_end_alone():
    found = pools(["a", "b", "c"], label_pooling="mean")
    assert found.dimensions.tolist() == found.mean.tolist() == [[2, 0], [0, 5], [1, 4]]


def test_examples_without_a_label_are_left_out():
    found = pools([None, "b", "c"])
    assert (found.labels.tolist(), found.examples.tolist()) == (["b", "c"], [1, 2])
    assert found.latents.tolist() == [[0, 5], [2, 6]]


def test_the_sample_is_drawn_by_the_seed_from_everywhere():
    labels = [str(i) for i in range(300)]
    drawn = [
        Pools(labels, 1, 1, evaluate_settings(label_examples=100, seed=seed)).latents.examples for seed in (0, 0, 1)
    ]
    assert drawn[0].tolist() == drawn[1].tolist() != drawn[2].tolist()
    assert (np.diff(drawn[0]) > 0).all()
    assert 15 < (drawn[0] >= 200).sum() < 55


def test_no_label_pools_nothing():
    found = pools([None, None, None])
    assert found.latents.shape == (0, 2)
