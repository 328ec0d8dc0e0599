import numpy as np
import pytest
from scipy.stats import fisher_exact

from fast_sae.hypotheses.annotations import UNANSWERED
from fast_sae.hypotheses.significance import corrected, p_value, permuted_share, score_hypothesis
from fast_sae.statistics import resample_counts


def score(has: list[int], target: list[float], *, is_label: bool = True):
    counts = resample_counts(len(has), 200, 0)
    return score_hypothesis(
        np.array(has, np.int8), np.array(target, np.float64), counts, is_label=is_label, confidence=0.9
    )


def test_a_label_by_hand():
    """The label: 2 of 3 with the concept, 1 of 5 without."""
    found = score([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0])
    assert found.separation == pytest.approx(2 / 3 - 1 / 5)
    assert found.auroc == pytest.approx((2 / 3 + 4 / 5) / 2)  # (sensitivity + specificity) / 2
    assert found.p == pytest.approx(float(fisher_exact([[2, 1], [1, 4]])[1]))
    assert found.interval is not None
    assert found.interval.low < found.separation < found.interval.high
    assert found.correlation is None


def test_a_number_by_hand():
    found = score([1, 1, 0, 0], [3, 5, 1, 1], is_label=False)
    assert found.separation == 3
    assert found.correlation == pytest.approx(3 / np.sqrt(11))  # 1.5² / (0.25 · 2.75), rooted
    assert found.auroc is None


def test_an_unanswered_text_is_no_no():
    """Counted as no it would pull the separation down and the interval too."""
    answered = score([1, 1, 0, 0], [1, 1, 0, 0])
    found = score([1, 1, 0, 0, *[UNANSWERED] * 4], [1, 1, 0, 0, 1, 1, 1, 1])
    assert (found.texts, found.unanswered, found.having) == (4, 4, 2)
    assert (found.separation, found.auroc, found.p) == (answered.separation, answered.auroc, answered.p)
    assert found.separation == 1


def test_nothing_answered_is_no_test():
    found = score([UNANSWERED] * 3, [1, 0, 1])
    assert (found.texts, found.separation, found.interval, found.auroc, found.p) == (0, None, None, None, None)


@pytest.mark.parametrize("has", [[0, 0, 0], [1, 1, 1]], ids=["none", "all"])
@pytest.mark.parametrize("is_label", [True, False])
def test_a_concept_of_none_or_of_all_texts_tells_nothing(has, is_label):
    found = score(has, [1, 0, 1], is_label=is_label)
    assert (found.separation, found.interval, found.p) == (None, None, 1.0)


@pytest.mark.parametrize("is_label", [True, False])
def test_a_target_that_is_the_same_in_all_texts_is_told_by_nothing(is_label):
    found = score([1, 0, 1], [1, 1, 1], is_label=is_label)
    assert (found.p, found.separation, found.correlation, found.auroc) == (1.0, 0, None, None)


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        ("bonferroni", [0.04, 0.16, 0.12, 1]),
        ("holm", [0.04, 0.09, 0.09, 0.5]),
        ("benjamini_hochberg", [0.04, 0.16 / 3, 0.16 / 3, 0.5]),
    ],
)
def test_corrections_by_hand(correction, expected):
    np.testing.assert_allclose(corrected(np.array([0.01, 0.04, 0.03, 0.5]), correction), expected)


@pytest.mark.parametrize("correction", ["holm", "bonferroni", "benjamini_hochberg"])
def test_no_tests_need_no_correction(correction):
    assert corrected(np.empty(0), correction).size == 0


@pytest.mark.parametrize("is_label", [True, False])
def test_under_the_null_a_test_errs_at_its_level_and_a_run_of_many_seldom(is_label):
    """150 runs of 8 hypotheses that have nothing to do with the target; a run may err in 5 % by Holm."""
    generator = np.random.default_rng(0)
    p = np.empty((150, 8))
    for run in range(len(p)):
        y = generator.random(120) if not is_label else (generator.random(120) < 0.3).astype(float)
        has = (generator.random((120, 8)) < generator.uniform(0.1, 0.6, 8)).astype(np.int8)
        p[run] = [p_value(column, y, is_label=is_label) for column in has.T]
    share = (p <= 0.05).mean()
    assert (0.02 if is_label else 0.04) < share < 0.055  # Fisher's test is exact for counts, so below its level
    assert np.mean([corrected(run, "holm").min() <= 0.05 for run in p]) < 0.07


def test_shuffled_targets_are_seldom_told_by_what_tells_the_true_ones():
    y = np.tile([1.0, 0.0], 60)[:, None].repeat(5, 1)
    has = y.astype(np.int8)
    assert all(p_value(has[:, i], y[:, i], is_label=True) < 1e-20 for i in range(5))
    share = permuted_share(has, y, is_label=True, alpha=0.05, permutations=100, seed=0)
    assert share is not None
    assert 0.01 < share < 0.06
    none = np.empty((120, 0))
    assert permuted_share(none.astype(np.int8), none, is_label=True, alpha=0.05, permutations=3, seed=0) is None
