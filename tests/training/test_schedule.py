"""The learning rate, step by step."""

import math

import pytest

from fast_sae.errors import ParamsError
from fast_sae.training.schedule import LearningRate


def rates(course, total=12, *, end=None, warmup=0, decay=0):
    rate = LearningRate(1.0, course, end=end, warmup=warmup, decay=decay, total=total)
    return [rate.at(step) for step in range(total)]


def test_constant_without_warm_up_or_decline_is_constant():
    assert rates("constant") == [1.0] * 12


def test_the_warm_up_reaches_the_top_at_its_last_step():
    assert rates("constant", warmup=4)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_decline_ends_just_above_nothing():
    assert rates("constant", decay=4)[-5:] == [1.0, 1.0, 0.75, 0.5, 0.25]


def test_a_cosine_is_halfway_down_in_the_middle():
    found = rates("cosine", 100, end=0.1, warmup=20, decay=20)
    assert found[20] == 1.0
    assert found[50] == pytest.approx(0.55)
    assert found[35] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)


def test_the_papers_schedule_holds_its_end_before_the_decline():
    """FAST: 16,000 steps up, a cosine from 7e-5 to 7e-6, the last 64,000 of 320,000 down to 0."""
    rate = LearningRate(7e-5, "cosine", end=7e-6, warmup=16_000, decay=64_000, total=320_000)
    assert rate.at(15_999) == 7e-5
    assert rate.at(136_000) == pytest.approx((7e-5 + 7e-6) / 2)
    assert rate.at(256_000) == pytest.approx(7e-6)
    assert rate.at(288_000) == pytest.approx(3.5e-6)


@pytest.mark.parametrize(("warmup", "decay"), [(12, 0), (0, 12), (6, 6)])
def test_a_run_too_short_for_its_schedule_is_told(warmup, decay):
    with pytest.raises(ParamsError, match=r"lr_decay_steps is 12, and the run has 12 steps; lower them or raise"):
        rates("constant", warmup=warmup, decay=decay)
