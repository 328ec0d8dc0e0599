import numpy as np
import pytest
import scipy.sparse as sp

from fast_sae.hypotheses.lasso import lasso_weights
from fast_sae.hypotheses.selection import best_latents, correlations, separation_scores


def column(*values: float) -> sp.csr_array:
    return sp.csr_array(np.array(values, np.float64)[:, None])


def target(*values: float) -> np.ndarray:
    return np.array(values, np.float64)[:, None]


def test_separation_by_hand():
    """The two strongest have 1 and 0; the two silent ones 0 and 0."""
    found = separation_scores(column(3, 2, 1, 0, 0), target(1, 0, 1, 0, 0), top=2)
    assert found.tolist() == [[0.5]]


def test_the_cut_falls_among_equals_and_each_has_its_share():
    """One place is left for three: (1 + 0 + 0) / 3 of it has the label."""
    found = separation_scores(column(3, 2, 2, 2, 0), target(1, 1, 0, 0, 0), top=2)
    assert found[0, 0] == pytest.approx((1 + 1 / 3) / 2)


def test_a_latent_that_fires_in_few_examples_is_filled_up_with_silent_ones():
    """One that fires, of two wanted; the other one is silent, and has the label in 1 of 3."""
    found = separation_scores(column(5, 0, 0, 0), target(1, 1, 0, 0), top=2)
    assert found[0, 0] == pytest.approx((1 + 1 / 3) / 2 - 1 / 3)


def test_more_wanted_than_there_are_examples_takes_all():
    assert separation_scores(column(2, 0), target(1, 0), top=100)[0, 0] == pytest.approx(0.5)


def test_a_latent_that_is_never_silent_has_no_separation_and_is_not_chosen():
    found = separation_scores(column(2, 1), target(1, 0), top=1)
    assert np.isnan(found[0, 0])
    assert best_latents(found[:, 0], 1) == []


@pytest.mark.parametrize("values", [(0, 0, 0), (0.1, 0.1, 0.1)], ids=["dead", "constant"])
def test_a_constant_latent_has_no_correlation_and_no_weight(values):
    y = target(1, 2, 4)
    assert np.isnan(correlations(column(*values), y)[0, 0])
    assert lasso_weights(column(*values).toarray(), y[:, 0], 1, is_label=False).tolist() == [0]


def test_a_constant_target_has_no_correlation():
    assert np.isnan(correlations(column(1, 2, 0), target(3, 3, 3))[0, 0])


def test_correlation_by_hand():
    assert correlations(column(0, 1, 2), target(1, 1, 4))[0, 0] == pytest.approx(np.sqrt(3) / 2)


def test_fewer_latents_than_wanted_are_those_there_are():
    assert best_latents(np.array([0.0, np.nan, 0.3]), 5) == [2]


def test_the_lasso_meets_the_conditions_of_its_minimum():
    """Of Σ(y − wx)²/2n + α‖w‖₁: slope −α·sign(w) where w is not 0, no larger than α elsewhere (Tibshirani 1996)."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 30))
    y = x[:, 3] - 0.5 * x[:, 7] + 0.3 * x[:, 9] + generator.normal(size=60)
    w = lasso_weights(x, y, 3, is_label=False)
    z = (x - x.mean(0)) / x.std(0)
    slope = z.T @ (z @ w - (y - y.mean())) / len(y)
    assert np.count_nonzero(w) == 3
    alpha = np.abs(slope[w != 0])
    np.testing.assert_allclose(alpha, alpha[0], atol=1e-7)
    assert (np.sign(slope[w != 0]) == -np.sign(w[w != 0])).all()
    assert np.abs(slope).max() <= alpha[0] + 1e-7
