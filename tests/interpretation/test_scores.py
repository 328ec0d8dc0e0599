"""Scores of judgements on cases computed by hand."""

import numpy as np
import pytest

from fast_sae.interpretation.scores import detection_scores, fuzzing_scores, mean_over_latents

FIRES = np.array([True, True, False, False])
YES = np.array([True, False, True, False])
STRENGTH = np.array([3.0, 1.0, 0.0, 0.0])


def scores(fires=FIRES, said=YES, strength=STRENGTH, weight=(1.0, 1.0, 1.0, 1.0)):
    return detection_scores(fires, said, strength, np.array(weight))


def test_the_sample_counts_each_window_once():
    found = scores()
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    assert found["balanced_accuracy"] == 0.5
    assert found["correlation"] == pytest.approx(np.corrcoef(YES, STRENGTH)[0, 1])


def test_the_population_counts_the_windows_each_stands_for():
    """TP = 2, FN = 3, FP = 10, TN = 30."""
    found = scores(weight=(2.0, 3.0, 10.0, 30.0))
    assert found["precision"] == pytest.approx(2 / 12)
    assert found["recall"] == pytest.approx(2 / 5)
    assert found["f1"] == pytest.approx(4 / (4 + 10 + 3))
    assert found["balanced_accuracy"] == pytest.approx((2 / 5 + 30 / 40) / 2)
    repeated = np.repeat(np.arange(4), [2, 3, 10, 30])
    assert found["correlation"] == pytest.approx(np.corrcoef(YES[repeated], STRENGTH[repeated])[0, 1])


def test_yes_to_everything_has_the_share_of_firing_windows_as_precision():
    found = scores(said=np.ones(4, bool), weight=(1.0, 1.0, 4.0, 4.0))
    assert found == {
        "precision": 0.2,
        "recall": 1.0,
        "f1": pytest.approx(1 / 3),
        "balanced_accuracy": 0.5,
        "correlation": None,
    }


def test_no_to_everything_has_no_precision_and_an_f1_of_0():
    found = scores(said=np.zeros(4, bool))
    assert found == {"precision": None, "recall": 0.0, "f1": 0.0, "balanced_accuracy": 0.5, "correlation": None}


def test_what_cannot_be_told_has_no_value():
    everywhere = scores(fires=np.ones(4, bool), strength=np.ones(4))
    assert (everywhere["balanced_accuracy"], everywhere["correlation"]) == (None, None)
    nowhere = scores(fires=np.zeros(4, bool), strength=np.zeros(4))
    assert (nowhere["recall"], nowhere["f1"], nowhere["precision"]) == (None, 0.0, 0.0)
    empty = np.array([], bool)
    nothing = detection_scores(empty, empty, np.array([]), np.array([]))
    assert set(nothing.values()) == {None}


def test_fuzzing_counts_each_marked_window_once():
    assert fuzzing_scores(FIRES, YES) == {"fuzzing_balanced_accuracy": 0.5, "fuzzing_f1": 0.5}
    assert fuzzing_scores(FIRES, FIRES) == {"fuzzing_balanced_accuracy": 1.0, "fuzzing_f1": 1.0}


def test_a_mean_leaves_out_latents_without_a_value_in_every_resample():
    counts = np.array([[1, 1, 1], [2, 1, 0], [0, 3, 0], [0, 0, 3]], np.uint8)
    found = mean_over_latents("f1", np.array([0.2, np.nan, 0.6]), counts, 0.9)
    assert found["f1"] == pytest.approx(0.4)
    assert found["f1_low"] == pytest.approx(0.2 + 0.05 * 0.4)  # resamples: 0.2, none, 0.6
    assert mean_over_latents("f1", np.array([np.nan] * 3), counts, 0.9) == {"f1": None, "f1_low": None, "f1_high": None}
