import numpy as np
import pytest

from fast_sae.evaluation.labels import LabelScores, choose
from fast_sae.evaluation.pooling import Features
from fast_sae.statistics import resample_counts


def features(labels, latents, dimensions=None, mean=None):
    latents = np.array(latents, np.float32)
    mean = np.zeros((len(labels), 1), np.float32) if mean is None else np.array(mean, np.float32)
    dimensions = mean if dimensions is None else np.array(dimensions, np.float32)
    return Features(np.array(labels), np.arange(len(labels)), latents, dimensions, mean)


def scored(validation, test=None, resamples=20):
    test = test or validation
    chosen = choose(validation, {*test.labels.tolist()}, seed=0)
    return chosen.score(test, resample_counts(len(test.labels), resamples, seed=0)) if chosen else LabelScores()


def test_the_latent_is_chosen_on_validation_though_another_is_better_on_test():
    labels = ["a", "a", "b", "b"]
    # latent 0 tells "a" on validation and half of it on test; latent 1 the other way round
    validation = features(labels, [[5, 1], [5, 0], [0, 1], [0, 0]])
    test = features(labels, [[5, 9], [1, 9], [2, 0], [0, 0]])
    found = scored(validation, test)
    assert (found.labels[0], found.latent[0], found.latent_validation_auroc[0]) == ("a", 0, 1.0)
    assert (found.auroc["latent"][0, 0], found.test_examples[0]) == (0.75, 2)


@pytest.mark.parametrize("method", ["latent", "dimension", "probe_penalty"])
def test_validation_decides_alone_and_test_never(method):
    labels, random = ["a", "b", "c"] * 6, np.random.default_rng(0)

    def drawn():
        return features(labels, random.random((18, 9)), random.random((18, 4)), random.random((18, 4)))

    validation = drawn()
    chosen = [getattr(scored(validation, drawn()), method) for _ in range(3)]
    assert chosen[0] == chosen[1] == chosen[2]


def test_a_label_is_told_from_all_others_together():
    found = scored(features(["a", "b", "c"], [[3, 0, 0, 1], [0, 3, 0, 1], [0, 0, 3, 0]]))
    assert (found.labels, found.latent) == (["a", "b", "c"], [0, 1, 2])
    assert found.auroc["latent"][0].tolist() == [1, 1, 1]


def test_a_label_that_one_split_lacks_is_not_scored_but_still_counts_against_the_others():
    latents = [[5], [3], [9]]
    found = scored(features(["a", "b", "c"], latents), features(["a", "b", "d"], latents))
    assert found.labels == ["a", "b"]
    assert found.auroc["latent"][0, 0] == 0.5  # above b, below d


@pytest.mark.parametrize(
    ("validation", "test"),
    [([], []), (["a", "a"], ["a", "a"]), (["a", "b"], ["c", "d"]), (["a", "b"], ["b", "c"])],
    ids=["none", "one", "no common", "one common"],
)
def test_nothing_is_scored_without_two_labels_in_both_splits(validation, test):
    found = scored(*(features(labels, np.zeros((len(labels), 3))) for labels in (validation, test)))
    assert (found.labels, found.auroc) == ((), {})


LABELS = ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("dimensions", "d_in", "chosen", "by"),
    [
        ([[9, 1, 0, 0], [8, 1, 0, 0], [1, 1, 0, 0], [2, 1, 0, 0]], 2, 0, "high max"),
        ([[1, 1, 0, 0], [2, 1, 0, 0], [9, 1, 0, 0], [8, 1, 0, 0]], 2, 0, "low max"),
        ([[0, 0, 0, 9], [0, 0, 0, 8], [0, 0, 0, 1], [0, 0, 0, 2]], 2, 1, "low min"),
        ([[0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 9], [0, 0, 0, 8]], 2, 1, "high min"),
        ([[0, 9], [0, 8], [0, 1], [0, 2]], 2, 1, "high mean"),
        ([[0, 1], [0, 2], [0, 9], [0, 8]], 2, 1, "low mean"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_dimension_tells_a_label_by_being_high_or_low_at_either_end(dimensions, d_in, chosen, by):
    """Columns are the largest of each x, then of each −x: what is high there is a low smallest."""
    found = scored(features(LABELS, np.zeros((4, 1)), dimensions, np.zeros((4, d_in))))
    assert (found.dimension[0], found.dimension_by[0], found.auroc["dimension"][0, 0]) == (chosen, by, 1.0)


def test_the_sign_of_a_dimension_is_kept_for_test():
    low, high = [[1], [2], [8], [9]], [[9], [8], [2], [1]]
    validation, test = (features(LABELS, np.zeros((4, 1)), values, values) for values in (low, high))
    assert scored(validation, test).auroc["dimension"][0, 0] == 0.0


def test_a_probe_adds_dimensions_of_which_none_tells_the_label():
    random = np.random.default_rng(0)
    common, labels = random.normal(size=200) * 5, np.tile(["a", "b"], 100)
    mean = np.column_stack([common + (labels == "a"), common + random.normal(size=200) * 0.1])
    found = scored(features(labels[:100].tolist(), np.zeros((100, 1)), mean[:100], mean[:100]),
                   features(labels[100:].tolist(), np.zeros((100, 1)), mean[100:], mean[100:]))  # fmt: skip
    assert found.auroc["dimension"][0, 0] < 0.65
    assert found.auroc["probe"][0, 0] > 0.99


def test_the_mean_over_labels_leaves_out_a_label_that_a_resample_lacks():
    found = scored(features(["a", "b", "b", "c"], [[3, 1], [0, 2], [1, 2], [2, 9]]), resamples=60)
    lacking = np.isnan(found.auroc["latent"]).any(1) & ~np.isnan(found.auroc["latent"]).all(1)
    assert lacking.any()
    expected = np.nanmean(found.auroc["latent"][lacking], 1)
    assert found.means("latent")[lacking] == pytest.approx(expected)


def test_the_interval_of_a_label_holds_its_auroc_and_shrinks_with_examples():
    random, widths = np.random.default_rng(0), []
    for examples in (40, 640):
        labels = np.tile(["a", "b"], examples // 2)
        latents = (labels == "a")[:, None] + random.normal(size=(examples, 1))
        found = scored(features(labels.tolist(), latents), resamples=200)
        low, high = found.interval("latent", 0, 0.9)
        assert low < found.auroc["latent"][0, 0] < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2.5
