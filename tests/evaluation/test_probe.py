import numpy as np
import pytest
from scipy.optimize import minimize

from fast_sae.evaluation.probe import FOLDS, PENALTIES, Probe, choose_penalty, fit_logistic, folds


def data(seed=0, examples=60, features=5):
    random = np.random.default_rng(seed)
    x = random.normal(size=(examples, features)) * random.gamma(1, 2, features)
    positive = np.stack([x[:, 0] + random.normal(size=examples) > 1, random.random(examples) < 0.1])
    return x, positive


def loss(weights, x, positive, penalty):
    margin = (2 * positive - 1) * (x @ weights[:-1] + weights[-1])
    ridge = penalty * weights[:-1] @ weights[:-1] + 1e-6 * weights[-1] ** 2
    return np.logaddexp(0, -margin).mean() + ridge / 2


@pytest.mark.parametrize("penalty", [10.0, 0.1, 0.001])
@pytest.mark.parametrize("seed", range(3))
def test_the_weights_are_the_minimum_that_scipy_finds(seed, penalty):
    x, positive = data(seed)
    for weights, label in zip(fit_logistic(x, positive, penalty), positive, strict=True):
        found = minimize(loss, np.zeros(6), (x, label, penalty), tol=1e-12)
        assert loss(weights, x, label, penalty) <= found.fun + 1e-13
        assert weights == pytest.approx(found.x, abs=1e-4 * np.abs(found.x).max() + 1e-4)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_gradient_is_zero_to_ten_digits_though_the_label_is_told_perfectly_or_lacking(penalty):
    x, _ = data()
    positive = np.stack([x[:, 0] > 0, np.zeros(60, bool), np.ones(60, bool)])
    weights = fit_logistic(x * 30, positive, penalty)
    odds = 1 / (1 + np.exp(-(x * 30 @ weights[:, :-1].T + weights[:, -1]).T))
    gradient = (odds - positive) @ (x * 30) / 60 + penalty * weights[:, :-1]
    assert np.abs(gradient).max() < 1e-9


def test_one_feature_is_weighed_as_a_hand_computes():
    # x = ±1, half each, told perfectly: w = σ(−w) / penalty; σ(−1) = 0.26894
    x = np.array([[1.0], [-1.0]])
    weights = fit_logistic(x, np.array([[True, False]]), 1 / (1 + np.e))
    assert weights.tolist() == [[pytest.approx(1.0, abs=1e-9), pytest.approx(0.0, abs=1e-9)]]


def test_a_probe_does_not_hang_on_the_scale_or_the_zero_of_a_feature():
    x, positive = data()
    moved = x * [1, 1000, 1e-3, 7, 1] + [5, 0, 1, -4000, 1e4]
    one, other = Probe(x, positive, 0.1).scores(x), Probe(moved, positive, 0.1).scores(moved)
    assert other == pytest.approx(one, rel=1e-6)


def test_a_constant_feature_changes_nothing():
    x, positive = data()
    more = np.column_stack([x, np.full(60, 3.5)])
    far = np.column_stack([x, np.full(60, 9e9)])
    assert Probe(more, positive, 0.1).scores(far) == pytest.approx(Probe(x, positive, 0.1).scores(x))


def test_folds_hold_each_label_evenly_whatever_the_order_of_the_data():
    labels = ["a"] * 50 + ["b"] * 7 + ["c"]
    fold = folds(labels, seed=0)
    for label, at_least in (("a", 10), ("b", 1)):
        counts = np.bincount(fold[np.array(labels) == label], minlength=FOLDS)
        assert counts.min() >= at_least
        assert counts.max() <= at_least + 1
    assert fold.tolist() == folds(labels, seed=0).tolist() != folds(labels, seed=1).tolist()


def test_noise_in_many_features_asks_for_a_stronger_penalty_than_one_clear_feature():
    random = np.random.default_rng(0)
    positive = np.arange(80)[None] % 2 == 0
    noisy = random.normal(size=(80, 60)) + 0.35 * positive.T
    clear = np.column_stack([10 * positive[0] + random.normal(size=80)])
    fold = folds([str(label) for label in positive[0]], seed=0)
    assert choose_penalty(noisy, positive, fold) > min(PENALTIES)
    assert choose_penalty(clear, positive, fold) == max(PENALTIES)  # all are perfect; the strongest wins


def test_two_examples_are_enough_not_to_fail():
    x, positive = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[True, False], [False, True]])
    assert choose_penalty(x, positive, folds(["a", "b"], seed=0)) in PENALTIES
