import numpy as np
import pytest

from fast_sae.hypotheses.joint import score_jointly
from fast_sae.statistics import resample_counts

GENERATOR = np.random.default_rng(0)


def sides(n: int, columns: int, *, is_label: bool, told: bool) -> tuple[np.ndarray, np.ndarray]:
    x = (GENERATOR.random((n, columns)) < 0.4).astype(float)
    y = 2 * x[:, 0] - x[:, 1] + GENERATOR.normal(size=n) if told else GENERATOR.normal(size=n)
    return x, (y > 0).astype(float) if is_label else y


@pytest.mark.parametrize("is_label", [True, False])
def test_noise_predicts_nothing_on_test_though_it_does_on_what_it_was_fitted_on(is_label):
    fitted, scored = (sides(100, 30, is_label=is_label, told=False) for _ in range(2))
    found = score_jointly(fitted, scored, resample_counts(100, 50, 0), is_label=is_label)
    assert found is not None
    assert found.in_sample > (0.7 if is_label else 0.2)
    assert found.test[0] < (0.6 if is_label else 0.05)
    assert (found.columns, found.texts) == (30, 100)


def test_r2_by_hand():
    """Fitted y = 1 + 2x; on test 1, 3 are predicted of 1, 5: errors 0 and 4 of a spread of 8."""
    fitted = np.array([[0.0], [1.0]]), np.array([1.0, 3.0])
    scored = np.array([[0.0], [1.0]]), np.array([1.0, 5.0])
    found = score_jointly(fitted, scored, resample_counts(2, 3, 0), is_label=False)
    assert found is not None
    assert found.test[0] == pytest.approx(0.5)
    assert found.in_sample == pytest.approx(1)


def test_a_label_told_without_a_mistake_has_finite_weights():
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    y = x[:, 0]
    found = score_jointly((x, y), (x, y), resample_counts(4, 20, 0), is_label=True)
    assert found is not None
    assert found.test[0] == 1


@pytest.mark.parametrize(
    ("x", "y", "test_y"),
    [
        (np.empty((3, 0)), [1, 0, 1], [1, 0, 1]),
        (np.ones((3, 1)), [1, 1, 1], [1, 0, 1]),
        (np.ones((3, 1)), [1, 0, 1], [0, 0, 0]),
    ],
    ids=["no hypotheses", "nothing to fit", "nothing to score"],
)
@pytest.mark.parametrize("is_label", [True, False])
def test_where_there_is_nothing_to_fit_or_score_there_is_no_model(x, y, test_y, is_label):
    scored = x, np.array(test_y, np.float64)
    counts = resample_counts(3, 2, 0)
    assert score_jointly((x, np.array(y, np.float64)), scored, counts, is_label=is_label) is None
