import tracemalloc

import numpy as np
import pytest

from fast_sae.statistics import auroc, percentile_interval, resample_counts, resampled_auroc, resampled_sums


def by_pairs(scores, positive):
    """The share of (positive, negative) pairs in which the positive scores higher; a tie counts half."""
    pairs = [(p > n) + (p == n) / 2 for p in scores[positive] for n in scores[~positive]]
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize(
    ("scores", "positive", "expected"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 0.0),
        ([1, 3, 2, 4], [0, 0, 1, 1], 0.75),
        ([5, 5, 5, 5], [0, 0, 1, 1], 0.5),
        ([0, 0, 0, 7], [0, 1, 0, 1], 0.75),
        ([2, 2, 1], [1, 0, 0], 0.75),
        ([0, 0, 1, 2], [0, 1, 0, 1], 0.625),
        ([-np.inf, 0, np.inf], [0, 1, 1], 1.0),
    ],
    ids=[
        "told apart",
        "reversed",
        "one pair wrong",
        "all tied",
        "zeros tied",
        "tie at the top",
        "two ties",
        "infinite",
    ],
)
def test_auroc_is_what_a_hand_counts(scores, positive, expected):
    found = auroc(np.array(scores, float)[:, None], np.array([positive], bool))
    assert found.tolist() == [[expected]]


@pytest.mark.parametrize("positive", [[True, True], [False, False]], ids=["no negative", "no positive"])
def test_auroc_is_nan_where_a_class_is_missing(positive):
    found = auroc(np.array([[0.0, 3.0], [1.0, 2.0]]), np.array([positive, [True, False]]))
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_auroc_equals_a_count_of_pairs_on_random_scores_with_ties(seed, dtype):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, (40, 5)).astype(dtype)
    positive = random.random((3, 40)) < [[0.5], [0.1], [0.9]]
    expected = [[by_pairs(scores[:, j], row) for j in range(5)] for row in positive]
    assert auroc(scores, positive) == pytest.approx(np.array(expected), abs=1e-12)


def test_every_feature_of_many_is_scored_in_its_own_column():
    random = np.random.default_rng(0)
    scores, positive = random.random((12, 1100)), np.array([[True] * 5 + [False] * 7])
    found = auroc(scores, positive)
    assert found.shape == (1, 1100)
    for column in (0, 511, 512, 1023, 1024, 1099):
        assert found[0, column] == pytest.approx(by_pairs(scores[:, column], positive[0]))


def test_auroc_hangs_on_the_order_of_scores_alone():
    random = np.random.default_rng(1)
    scores, positive = random.normal(size=(30, 4)), random.random((2, 30)) < 0.4
    assert auroc(np.exp(scores), positive).tolist() == auroc(scores, positive).tolist()
    assert auroc(-scores, positive) == pytest.approx(1 - auroc(scores, positive))


def test_the_data_come_first_and_each_resample_draws_as_many_clusters():
    counts = resample_counts(50, 400, seed=0)
    assert counts.shape == (401, 50)
    assert (counts[0] == 1).all()
    assert (counts.sum(1, dtype=int) == 50).all()
    # a cluster is drawn 1 time on average, with variance 1 − 1/n, and not at all in (1 − 1/n)ⁿ of the resamples
    assert counts[1:].mean() == 1
    assert counts[1:].var() == pytest.approx(1 - 1 / 50, rel=0.05)
    assert (counts[1:] == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, rel=0.03)


def test_resamples_are_drawn_by_the_seed():
    assert resample_counts(9, 5, 1).tolist() == resample_counts(9, 5, 1).tolist() != resample_counts(9, 5, 2).tolist()


@pytest.mark.parametrize("clusters", [0, 1])
def test_no_or_one_cluster_leaves_nothing_to_draw(clusters):
    assert resample_counts(clusters, 3, 0).tolist() == [[1] * clusters] * 4


def test_an_interval_cuts_the_same_share_off_both_ends():
    values = np.random.default_rng(0).permutation(np.arange(1001.0))
    assert percentile_interval(values, 0.9) == pytest.approx((50, 950))


def test_an_interval_leaves_out_resamples_without_a_value():
    assert percentile_interval(np.array([np.nan, 3.0, np.nan, 3.0]), 0.95) == (3, 3)
    assert percentile_interval(np.array([np.nan, np.nan]), 0.95) is None
    assert percentile_interval(np.array([]), 0.95) is None


def test_the_auroc_of_a_resample_is_that_of_the_data_it_holds():
    random = np.random.default_rng(0)
    scores, positive = random.integers(0, 5, 30).astype(float), random.random(30) < 0.3
    counts = resample_counts(30, 50, seed=0)
    found = resampled_auroc(scores, positive, counts)
    for value, count in zip(found, counts, strict=True):
        taken = np.repeat(np.arange(30), count)
        assert value == pytest.approx(by_pairs(scores[taken], positive[taken]))
    assert found[0] == pytest.approx(auroc(scores[:, None], positive[None])[0, 0])


def test_a_resample_without_a_positive_example_has_no_auroc():
    found = resampled_auroc(np.array([1.0, 2.0]), np.array([True, False]), np.array([[1, 1], [0, 2], [2, 0]], np.uint8))
    assert found[0] == 0.0
    assert np.isnan(found[1:]).all()


def ratios(numerators, denominators, *, resamples=400, confidence=0.95):
    """The interval of a ratio of sums over examples."""
    sums = np.stack([np.array(numerators, float), np.array(denominators, float)], 1)
    over, under = resampled_sums(resample_counts(len(sums), resamples, seed=0), sums).T
    return percentile_interval((over / under)[1:], confidence)


def test_resampled_sums_take_an_example_as_often_as_the_sample_holds_it():
    counts = resample_counts(20, 300, seed=0)  # more samples than are summed up at once
    sums = np.random.default_rng(0).integers(-9, 9, (20, 3)).astype(float)
    expected = [[sum(n * x for n, x in zip(row, column, strict=True)) for column in sums.T] for row in counts.tolist()]
    assert resampled_sums(counts, sums).tolist() == expected
    assert resampled_sums(counts, sums)[0].tolist() == sums.sum(0).tolist()


def test_resampled_sums_need_no_copy_of_the_counts_in_eight_bytes():
    counts, sums = resample_counts(1000, 2000, seed=0), np.ones((1000, 2))
    tracemalloc.start()
    resampled_sums(counts, sums)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * counts.nbytes


def test_the_bootstrap_draws_whole_examples():
    # of two examples, both are the first or both the second in a quarter of the draws each
    assert ratios([0, 1], [1, 1]) == (0.0, 1.0)
    assert ratios([0, 1], [1, 1], confidence=0.4) == (0.5, 0.5)


def test_the_bootstrap_takes_a_ratio_of_sums_and_not_a_mean_of_ratios():
    # each example has the ratio 1 or 0; the sums know that the second weighs 9 times as much
    assert ratios([1, 0], [1, 9], confidence=0.4) == (0.1, 0.1)


def test_the_bootstrap_of_many_examples_nears_the_error_of_their_mean():
    values = np.random.default_rng(0).normal(size=1000)
    low, high = ratios(values, np.ones(1000), resamples=2000)
    error = values.std() / 1000**0.5
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.15 * error)
