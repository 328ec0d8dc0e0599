import numpy as np
import pytest
import scipy.sparse as sp

from fast_sae.features import labels as room
from fast_sae.features.labels import score_latents

M = 5
LIVING = np.array([0, 2, 3])


def pooled(rows) -> sp.csr_array:
    return sp.csr_array(np.asarray(rows, np.float32))


def pairwise(scores, positive) -> float:
    """The share of pairs of a positive and a negative example that are in order; half of those that are equal."""
    wins = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    return float(np.mean(wins)) if wins else np.nan


@pytest.mark.parametrize("block", [2, 512])
def test_each_latent_is_scored_for_each_label_against_all_other_labelled_examples(monkeypatch, block):
    monkeypatch.setattr(room, "_BLOCK", block)
    random = np.random.default_rng(0)
    parts = []
    for n in (30, 20):
        values = random.integers(0, 4, (n, M)) / 2  # many equal, many 0
        parts.append((values, random.choice(["a", "b", "c", None], n).tolist()))
    found = score_latents(*((pooled(values), labels) for values, labels in parts), LIVING)
    assert found.labels == ["a", "b", "c"]
    for (values, labels), scores in zip(parts, (found.validation, found.test), strict=True):
        known = np.array([label is not None for label in labels])
        assert not known.all()
        for i, label in enumerate(found.labels):
            positive = np.array([other == label for other in labels])[known]
            expected = [pairwise(values[known][:, latent], positive) for latent in LIVING]
            np.testing.assert_allclose(scores[i], expected)


def scored(validation, test, latents=LIVING):
    values = np.eye(4, M, dtype=np.float32)
    return score_latents((pooled(values), validation), (pooled(values), test), latents)


def test_a_label_that_one_split_lacks_has_no_score_there():
    found = scored(["a", "a", "b", "b"], ["b", "b", "c", "c"])
    assert found.labels == ["a", "b", "c"]
    assert np.isnan(found.validation).any(1).tolist() == [False, False, True]
    assert np.isnan(found.test).any(1).tolist() == [True, False, False]
    assert set(found.best(0, 5).tolist()) == {0, 1}


@pytest.mark.parametrize("labels", [[None] * 4, ["a"] * 4], ids=["none", "only one"])
def test_without_two_labels_there_is_no_best(labels):
    found = scored(labels, labels)
    assert [len(found.best(place, 3)) for place in range(3)] == [0, 0, 0]
    assert np.isnan(found.validation).all()


def test_the_best_labels_are_those_of_validation_and_of_equals_the_first():
    found = scored(["a", "b", "b", "c"], ["c", "b", "b", "a"], np.array([0, 4]))
    assert [found.labels[i] for i in found.best(0, 2)] == ["a", "c"]
    assert found.validation[0, 0] == 1.0
    assert found.test[0, 0] == pytest.approx(1 / 3)
    assert [found.labels[i] for i in found.best(1, 3)] == ["a", "b", "c"]  # never fires: 0.5 of each


def test_labels_that_differ_in_a_trailing_nul_are_two():
    found = scored(["a", "a\0", "a", "a\0"], [None] * 4)
    assert found.labels == ["a", "a\0"]
    assert found.validation[0, 0] == pytest.approx(0.75)  # fires on the first of two


def test_no_living_latent_is_no_crash():
    found = scored(["a", "b", "a", "b"], ["a", "b", "a", "b"], np.array([], int))
    assert found.validation.shape == found.test.shape == (2, 0)
