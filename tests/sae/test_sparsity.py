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
    assert steered().distance(l0) == pytest.approx(distance, rel=1e-6)


def test_it_is_no_part_of_a_saved_sae():
    assert dict(steered().state_dict()) == {}


def test_where_validation_has_twice_the_l0_training_aims_at_half():
    coefficient = steered()
    update(coefficient, 10)
    for _ in range(30):
        coefficient.aim(20.0)  # training stays at 10, whatever is aimed at
    values = [update(coefficient, 5) for _ in range(400)]
    assert values[-1] == pytest.approx(values[-2], rel=1e-9)  # 5 is where it aims now
    assert update(coefficient, 10) > values[-1]


def test_moving_the_aim_gives_no_kick():
    """What is predicted ahead is the drift of L0, not that of the aim."""
    coefficient = steered(rate=0.1)
    update(coefficient, 10)
    coefficient.aim(20.0)  # the aim moves halfway, to 10 / √2
    e = math.log(2) / 2
    assert update(coefficient, 10) == pytest.approx(0.005 * math.exp(0.1 * e))


def test_aiming_before_a_step_or_with_a_fixed_coefficient_does_nothing():
    coefficient = steered()
    coefficient.aim(20.0)
    assert update(coefficient, 10) == pytest.approx(0.005)
