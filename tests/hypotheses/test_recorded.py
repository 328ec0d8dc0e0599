"""Selection equals that of HypotheSAEs 2.0.1; recorded by tools/record_hypothesaes_selection.py."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from fast_sae.hypotheses.joint import score_jointly
from fast_sae.hypotheses.lasso import lasso_weights
from fast_sae.hypotheses.selection import best_latents, correlations, separation_scores
from fast_sae.hypotheses.significance import score_hypothesis
from fast_sae.statistics import resample_counts

RECORDED = json.loads((Path(__file__).parents[1] / "recorded/hypothesaes_selection.json").read_text())
LATENTS = np.array(RECORDED["latents"])
N, TOP, RARE = (RECORDED[key] for key in ("n", "top", "rare"))
COMMON = LATENTS[:, :-RARE]


@pytest.fixture(params=RECORDED["targets"])
def case(request) -> tuple[bool, np.ndarray, dict]:
    found = RECORDED["targets"][request.param]
    return request.param == "label", np.array(found["target"]), found


def test_the_recording_has_rare_latents_and_common_ones():
    fired = (LATENTS > 0).sum(0)
    assert all(fired[:-RARE] > TOP)
    assert all(fired[-RARE:] < TOP)


@pytest.mark.parametrize("method", ["separation_score", "correlation", "lasso"])
def test_the_same_latents_are_chosen_by_the_same_scores(case, method):
    is_label, y, found = case
    scores = {
        "separation_score": lambda: separation_scores(sp.csr_array(COMMON), y[:, None], TOP)[:, 0],
        "correlation": lambda: correlations(sp.csr_array(COMMON), y[:, None])[:, 0],
        "lasso": lambda: lasso_weights(COMMON, y, N, is_label=is_label),
    }[method]()
    theirs = found["selected"][method]
    assert best_latents(scores, N) == theirs["latents"]
    tolerance = 2e-4 if method == "lasso" else 1e-10  # their solvers stop at 1e-4
    np.testing.assert_allclose(scores[theirs["latents"]], theirs["scores"], atol=tolerance)


def test_a_rare_latents_score_is_the_mean_of_theirs_over_orders_of_the_examples(case):
    _, y, found = case
    ours = separation_scores(sp.csr_array(LATENTS), y[:, None], TOP)[-RARE:, 0]
    np.testing.assert_allclose(ours, found["rare_separation"], atol=0.02 * y.std())


def test_a_hypothesis_has_the_same_separation_and_prevalence(case):
    is_label, y, found = case
    counts = resample_counts(len(y), 2, 0)
    for i in range(N):
        has = (LATENTS[:, i] > 1).astype(np.int8)
        tested = score_hypothesis(has, y, counts, is_label=is_label, confidence=0.9)
        assert tested.separation == pytest.approx(found["evaluated"]["separation_score"][i])
        assert tested.having / tested.texts == pytest.approx(found["evaluated"]["feature_prevalence"][i])


def test_fitted_on_what_it_scores_the_joint_model_is_theirs(case):
    is_label, y, found = case
    x = (LATENTS[:, :N] > 1).astype(float)
    joint = score_jointly((x, y), (x, y), resample_counts(len(y), 2, 0), is_label=is_label)
    assert joint is not None
    theirs = pytest.approx(found["evaluated"]["joint"], abs=1e-3 if is_label else 1e-9)  # ours has a small L2 penalty
    assert (joint.in_sample, joint.test[0]) == (theirs, theirs)
