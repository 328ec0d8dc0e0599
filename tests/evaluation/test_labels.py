import numpy as np
import pytest

from fast_sae.evaluation.labels import PooledLatents, score_labels


def pooled(pooling, example, latents, borders=(), *, n_examples=None, limit=100):
    """Pool rows that come in parts, cut at `borders`."""
    example, latents = np.array(example), np.array(latents, np.float32)
    n_examples = int(example.max()) + 1 if n_examples is None else n_examples
    found = PooledLatents(n_examples, latents.shape[1], pooling, limit)
    for start, stop in zip([0, *borders], [*borders, len(example)], strict=True):
        found.add(example[start:stop], latents[start:stop])
    return found.result().tolist()


EXAMPLE = [0, 0, 0, 1, 2, 2]
LATENTS = [[1, 0], [4, 0], [1, 3], [0, 5], [2, 2], [0, 6]]
BORDERS = [(), (1,), (2,), (3,), (2, 4, 5), (1, 2, 3, 4, 5), (0, 3, 6)]


@pytest.mark.parametrize("borders", BORDERS, ids=str)
def test_max_pooling_takes_an_examples_largest_wherever_chunks_end(borders):
    assert pooled("max", EXAMPLE, LATENTS, borders) == [[4, 3], [0, 5], [2, 6]]


@pytest.mark.parametrize("borders", BORDERS, ids=str)
def test_mean_pooling_divides_by_an_examples_rows_wherever_chunks_end(borders):
    assert pooled("mean", EXAMPLE, LATENTS, borders) == [[2, 1], [0, 5], [1, 4]]


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_an_example_without_rows_pools_to_zero(pooling):
    assert pooled(pooling, [0, 2], [[1], [3]], n_examples=4) == [[1], [0], [3], [0]]


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("borders", [(), (3,), (4,), (5,)], ids=str)
def test_only_the_first_examples_are_pooled_under_a_limit(pooling, borders):
    expected = pooled(pooling, EXAMPLE, LATENTS)[:2]
    assert pooled(pooling, EXAMPLE, LATENTS, borders, limit=2) == expected


def test_the_latent_is_chosen_on_validation_though_another_is_better_on_test():
    labels = ["a", "a", "b", "b"]
    # latent 0 tells "a" on validation and half of it on test; latent 1 the other way round
    validation = np.array([[5, 1], [5, 0], [0, 1], [0, 0]], np.float32)
    test = np.array([[5, 9], [1, 9], [2, 0], [0, 0]], np.float32)
    found = {score.label: score for score in score_labels(validation, labels, test, labels)}
    assert (found["a"].latent, found["a"].validation_auroc, found["a"].test_auroc) == (0, 1.0, 0.75)
    assert found["a"].test_examples == 2


def test_the_order_of_validation_decides_alone_and_never_the_order_of_test():
    labels, random = ["a", "b", "c"] * 6, np.random.default_rng(0)
    validation = random.random((18, 9)).astype(np.float32)
    tests = [random.random((18, 9)).astype(np.float32) for _ in range(3)]
    chosen = [[score.latent for score in score_labels(validation, labels, test, labels)] for test in tests]
    assert chosen[0] == chosen[1] == chosen[2]


def test_a_label_is_told_from_all_others_together():
    labels = ["a", "b", "c"]
    latents = np.array([[3, 0, 0, 1], [0, 3, 0, 1], [0, 0, 3, 0]], np.float32)
    found = score_labels(latents, labels, latents, labels)
    assert [(s.label, s.latent, s.test_auroc) for s in found] == [("a", 0, 1.0), ("b", 1, 1.0), ("c", 2, 1.0)]


def test_examples_without_a_label_are_left_out():
    labels = [None, "a", "b", None]
    latents = np.array([[9], [5], [1], [0]], np.float32)
    found = score_labels(latents, labels, latents, labels)
    assert [(s.label, s.test_auroc, s.test_examples) for s in found] == [("a", 1.0, 1), ("b", 0.0, 1)]


def test_a_label_that_one_split_lacks_is_not_scored_but_still_counts_against_the_others():
    latents = np.array([[5], [3], [9]], np.float32)
    found = score_labels(latents, ["a", "b", "c"], latents, ["a", "b", "d"])
    assert [s.label for s in found] == ["a", "b"]
    assert found[0].test_auroc == 0.5  # above b, below d


@pytest.mark.parametrize("labels", [[None, None], ["a", "a"], ["a", None]], ids=["none", "one", "one and none"])
def test_nothing_is_scored_without_two_labels(labels):
    latents = np.zeros((2, 3), np.float32)
    assert score_labels(latents, labels, latents, labels) == []


def test_no_label_in_both_splits_scores_nothing():
    latents = np.zeros((2, 3), np.float32)
    assert score_labels(latents, ["a", "b"], latents, ["c", "d"]) == []
