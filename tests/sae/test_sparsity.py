"""One step of the controller after another, by hand."""

import math

import pytest
import torch

from fast_sae.sae.sparsity import PenaltyOptions, SparsityCoefficient


def steered(rate=0.1, target=10):
    return SparsityCoefficient(PenaltyOptions(coefficient=None, warmup_steps=0, steer_rate=rate), target).double()


def update(coefficient, l0, lr=1e-3):
    coefficient.update(torch.tensor(float(l0)).double(), torch.tensor(4.0).double(), torch.tensor(2.0).double(), lr)
    return coefficient.value.item()


def test_the_first_coefficient_makes_the_penalty_a_hundredth_of_the_loss():
    assert update(steered(), 100) == pytest.approx(0.01 * 2 / 4)


def test_at_the_target_it_stays():
    coefficient = steered()
    values = {round(update(coefficient, 10), 12) for _ in range(5)}
    assert values == {0.005}


def test_the_second_step_by_hand():
    coefficient = steered(rate=0.1)
    first = update(coefficient, 10)
    # e = log(20 / 10), of which 5 % are taken in; ahead: 60 steps of that drift
    e = 0.05 * math.log(2)
    assert update(coefficient, 20) == pytest.approx(first * math.exp(0.1 * (e + 60 * e)))


def test_more_latents_than_wanted_raise_it_and_fewer_lower_it():
    for l0, rises in ((30, True), (3, False)):
        coefficient = steered()
        values = [update(coefficient, l0) for _ in range(3)]
        assert (values[0] < values[1] < values[2]) == rises
        assert (values[0] > values[1] > values[2]) != rises


def test_it_moves_with_the_learning_rate():
    """An SAE follows in proportion to lr, so a λ that did not would run ahead of it."""
    moved = []
    for lr in (1e-3, 1e-4):
        coefficient = steered()
        update(coefficient, 100, lr)
        moved.append(math.log(update(coefficient, 100, lr) / 0.005))
    assert moved[0] == pytest.approx(10 * moved[1])


def test_no_latent_at_all_is_no_infinity():
    coefficient = steered()
    values = [update(coefficient, 0) for _ in range(50)]
    assert all(math.isfinite(value) and value > 0 for value in values)


@pytest.mark.parametrize(
    ("l0", "distance"),
    [(10.0, 0.0), (10.09, 0.0), (9.91, 0.0), (10.5, math.log(1.05)), (20.0, math.log(2)), (5.0, math.log(2))],
)
def test_the_distance_from_the_target(l0, distance):
    assert steered().distance(l0, steps=0) == pytest.approx(distance, rel=1e-6)


def test_it_is_no_part_of_a_saved_sae():
    assert dict(steered().state_dict()) == {}


def test_where_validation_has_twice_the_l0_training_aims_at_half():
    coefficient, l0 = steered(), 10.0
    for _ in range(30):
        for _ in range(200):
            update(coefficient, l0)
        coefficient.aim(2 * l0)
        l0 = 10 * math.exp(coefficient._log_aim.item())  # training follows, exactly
    assert l0 == pytest.approx(5, rel=1e-3)
    values = [update(coefficient, l0) for _ in range(400)]
    assert values[-1] == pytest.approx(values[-2], rel=1e-3)


def test_moving_the_aim_gives_no_kick():
    """What is predicted ahead is the drift of L0, not that of the aim."""
    coefficient = steered(rate=0.1)
    update(coefficient, 10)
    coefficient.aim(12.0)  # the aim moves halfway, to 10 / √1.2
    e = math.log(1.2) / 2
    assert update(coefficient, 10) == pytest.approx(0.005 * math.exp(0.1 * e))


def test_aiming_before_a_step_or_with_a_fixed_coefficient_does_nothing():
    coefficient = steered()
    coefficient.aim(20.0)
    assert update(coefficient, 10) == pytest.approx(0.005)


def test_a_first_batch_without_a_latent_sets_no_coefficient():
    coefficient = steered()
    coefficient.update(*(torch.tensor(value).double() for value in (0.0, 0.0, 2.0)), 1e-3)
    assert coefficient.value.item() == 0
    assert update(coefficient, 100) == pytest.approx(0.005)


def test_where_l0_does_not_follow_the_coefficient_does_not_run_away():
    coefficient = steered(rate=1.0)
    values = [update(coefficient, 1000) for _ in range(100)]
    assert values[-1] == 100 * 2 / 4


def test_no_learning_rate_makes_it_jump():
    coefficient = steered(rate=0.03)
    update(coefficient, 30)
    assert update(coefficient, 30, lr=1.0) == pytest.approx(0.005 * math.exp(0.03 * 3))


def test_a_falling_l0_is_no_gap_between_training_and_validation():
    coefficient, other = steered(), steered()
    for one in (coefficient, other):
        update(one, 30)
    coefficient.aim(12.0)
    assert update(coefficient, 30) == update(other, 30)
