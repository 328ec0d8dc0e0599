"""Student's interval, by hand."""

import pytest

from fast_sae.comparison.intervals import Interval, paired_difference, t_interval

T2 = 4.30265272991
"""Student's t of 2 degrees of freedom at 97.5 %, from a printed table."""


def test_three_values_by_hand():
    """Mean 2, s = 1, half = t / √3."""
    found = t_interval([1.0, 2.0, 3.0])
    assert (found.mean, found.n) == (2, 3)
    assert found.low == pytest.approx(2 - T2 / 3**0.5)
    assert found.high == pytest.approx(2 + T2 / 3**0.5)


def test_a_single_value_has_no_interval_and_no_sign():
    assert t_interval([5.0]) == Interval(5.0, None, None, 1)
    assert t_interval([5.0]).sign == 0


@pytest.mark.parametrize(
    ("values", "sign"), [([1.0, 1.1, 1.2], 1), ([-1.0, -1.1, -1.2], -1), ([-1.0, 0.0, 2.0], 0), ([0.0, 0.0], 0)]
)
def test_the_sign_is_that_of_the_whole_interval(values, sign):
    assert t_interval(values).sign == sign


def test_pairs_take_out_what_the_seeds_share():
    """The values of the two overlap widely; their differences are 1, 1.1 and 0.9."""
    first, second = {"1": 11.0, "2": 21.1, "3": 5.9, "4": 9.0}, {"1": 10.0, "2": 20.0, "3": 5.0}
    found = paired_difference(first, second)
    assert found.mean == pytest.approx(1)
    assert found.low == pytest.approx(1 - T2 * 0.1 / 3**0.5)
    assert found.n == 3


def test_nothing_shared_is_no_difference():
    assert paired_difference({"1": 1.0}, {"2": 1.0}) is None
