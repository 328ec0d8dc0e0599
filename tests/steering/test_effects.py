"""Dose and response on continuations written by hand."""

import numpy as np
import pytest
from steering_samples import steer_settings, written

from fast_sae.steering.choosing import LabelLatent
from fast_sae.steering.effects import Chosen, Effects, choose, select, shown

A, B = "abstracting", "comparing"
CHOSEN = [Chosen(A, 7, 0.9, 50.0, 1.0)]


def effects(latent, random=(B, B, B, B), other=(B, B, B, B), **overrides) -> Effects:
    scoring = [
        *written("none", 0.0, [B] * 4),
        *written("latent", 50.0, latent, latent=7),
        *written("random", 50.0, random, latent=0),
        *written("other", 50.0, other, latent=3),
    ]
    return Effects(scoring, CHOSEN, steer_settings(**overrides))


def test_a_label_is_shown_by_the_share_of_a_prompts_continuations_that_do_not_repeat_themselves():
    two = [*written("random", 50.0, [A, B], latent=0), *written("random", 50.0, [A, A], latent=1)]
    assert shown(two, A, 0.2).tolist() == [1.0, 0.5]
    looped = [*two, *written("random", 50.0, [A, A], latent=2, repetition=0.3)]
    assert shown(looped, A, 0.2).tolist() == pytest.approx([2 / 3, 1 / 3])
    assert shown(looped, A, 0.3).tolist() == pytest.approx([1.0, 2 / 3])


def test_one_latent_and_one_dose_are_selected():
    both = [*written("latent", 50.0, [A], latent=7), *written("latent", 50.0, [B], latent=8)]
    assert [one.recognised for one in select(both, "latent", 50.0, 8)] == [B]
    assert select(both, "latent", 25.0) == []


def test_the_dose_is_the_smallest_of_the_best_and_the_label_that_is_raised_most_comes_first():
    choosing = [
        *written("latent", 15.0, [A, B], latent=7),
        *written("latent", 25.0, [A, A], latent=7),
        *written("latent", 50.0, [A, A], latent=7),
        *written("latent", 15.0, [A, A], latent=8),
        *written("latent", 25.0, [A, A], latent=8),
        *written("latent", 50.0, [A, B], latent=8),
    ]
    candidates = [LabelLatent(B, 8, 0.99), LabelLatent(A, 7, 0.9)]
    assert choose(candidates, choosing, [15.0, 25.0, 50.0], 0.2) == [
        Chosen(A, 7, 0.9, 25.0, 1.0),
        Chosen(B, 8, 0.99, 50.0, 0.5),
    ]


def test_rates_and_paired_differences_are_what_a_hand_computes():
    found = effects([A, A, A, B], random=[A, B, B, B])
    (one,) = found.chosen
    assert found.rate(one, "latent", 50.0).tolist() == [1, 1, 1, 0]
    assert found.rate(one, "latent", 0.0).tolist() == found.rate(one, "random", 0.0).tolist() == [0, 0, 0, 0]
    assert found.difference(one, "random").value == 0.5
    assert found.difference(one, "other").value == 0.75
    assert found.mean_difference("random") == found.difference(one, "random")


def test_the_interval_draws_prompts_and_keeps_latent_and_control_of_one_prompt_together():
    """Where both show the label on the same prompts, the difference is 0 in every draw."""
    found = effects([A, A, B, B], random=[A, A, B, B], bootstrap_resamples=200)
    assert found.difference(CHOSEN[0], "random") == (0, 0, 0)
    low, high = found.estimate(np.array([1.0, 1.0, 0.0, 0.0]))[1:]
    assert 0 <= low < 0.5 < high <= 1


@pytest.mark.parametrize(
    ("latent", "random", "margin", "raised"),
    [
        ([A, A, A, A], [B, B, B, B], 0.2, True),
        ([A, A, A, A], [A, A, A, A], 0.0, False),
        ([A, A, B, A], [B, B, B, B], 0.8, False),
        ([A, B, B, B], [B, B, B, B], 0.2, False),
    ],
    ids=["all against none", "the control does as well", "below the margin", "an interval down to 0"],
)
def test_a_latent_raises_its_label_only_well_above_both_controls(latent, random, margin, raised):
    assert bool(effects(latent, random, margin=margin).raised()) == raised
    assert bool(effects(latent, other=random, margin=margin).raised()) == raised
