"""Our metrics equal those of SAELens and dictionary_learning where their formula is right, and differ as stated if not.

Recorded by tools/record_peer_metrics.py.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sae_samples import sae_settings
from samples import array_source, evaluate_settings, runtime

from fast_sae.chat.kinds import Kind
from fast_sae.evaluation.evaluate import evaluate_sae
from fast_sae.evaluation.measure import Held
from fast_sae.evaluation.report import Report
from fast_sae.sae.build import build_sae

RECORDED = json.loads((Path(__file__).parents[1] / "recorded/peer_metrics.json").read_text())
X = np.array(RECORDED["x"])
FLOAT32 = 1e-6
"""Both packages count active latents in float32."""


@pytest.fixture(params=RECORDED["cases"].values(), ids=RECORDED["cases"])
def case(request) -> dict:
    return request.param


def our_sae(case: dict) -> torch.nn.Module:
    weights = {name: torch.tensor(values, dtype=torch.float64) for name, values in case["weights"].items()}
    sae = build_sae(X.shape[1], sae_settings(M=len(weights["b_enc"]), K=RECORDED["k"])).double()
    sae.load_state_dict(weights, strict=False)
    return sae


def report(case: dict) -> Report:
    held = Held("test", array_source(X, RECORDED["lengths"]), [None] * len(RECORDED["lengths"]))
    kinds, machine = (int(Kind.CONTENT),), runtime()
    return evaluate_sae(
        our_sae(case), held, held, evaluate_settings(), kinds=kinds, dtype=torch.float64, runtime=machine
    )


def residual(case: dict) -> np.ndarray:
    sae = our_sae(case)
    with torch.no_grad():
        return (sae(torch.from_numpy(X)) - torch.from_numpy(X)).numpy()


def test_the_recordings_differ_where_it_matters():
    """One mean residual is 0, the other is not; L0 lies below K, since a picked latent may be 0; one latent is dead."""
    means = [np.linalg.norm(residual(case).mean(0)) for case in RECORDED["cases"].values()]
    assert max(means) > 1
    assert min(means) < 1e-12
    for case in RECORDED["cases"].values():
        assert case["sae_lens"]["l0"] < RECORDED["k"]
        assert 0 in case["sae_lens"]["feature_density"]


def test_mse_and_explained_variance_equal_saelens(case):
    """Its MSE is E‖r‖², d times ours."""
    ours, theirs = report(case).metrics(), case["sae_lens"]
    assert ours["reconstruction_mse"] * X.shape[1] == pytest.approx(theirs["mse"], rel=1e-12)
    assert ours["explained_variance"] == pytest.approx(theirs["explained_variance"], rel=1e-12)


def test_l0_and_firing_densities_equal_both(case):
    found = report(case)
    assert found.metrics()["l0"] == pytest.approx(case["sae_lens"]["l0"], rel=FLOAT32)
    assert found.metrics()["l0"] == pytest.approx(case["dictionary_learning"]["l0"], rel=FLOAT32)
    density = found.measured.firing.fired.sum(0) / len(X)
    assert density == pytest.approx(case["sae_lens"]["feature_density"], rel=FLOAT32)
    alive = 1 - found.metrics()["dead_latent_fraction"]
    assert alive == pytest.approx(case["dictionary_learning"]["frac_alive"], rel=FLOAT32)


def test_dictionary_learning_forgives_the_mean_of_the_residual(case):
    """Its residual is centred: FVU less n‖mean r‖² / Σ‖x − μ‖²; equal to ours where that mean is 0."""
    r, variance = residual(case), np.square(X - X.mean(0)).sum()
    forgiven = len(X) * np.square(r.mean(0)).sum() / variance
    ours = report(case).metrics()["explained_variance"]
    assert ours + forgiven == pytest.approx(case["dictionary_learning"]["frac_variance_explained"], rel=1e-12)


def test_what_is_forgiven_can_be_most_of_the_error():
    ours = [report(case).metrics()["explained_variance"] for case in RECORDED["cases"].values()]
    theirs = [case["dictionary_learning"]["frac_variance_explained"] for case in RECORDED["cases"].values()]
    assert (round(ours[0], 3), round(theirs[0], 3)) == (0.168, 0.568)
    assert (round(ours[1], 3), round(theirs[1], 3)) == (0.568, 0.568)


def test_dictionary_learnings_l2_loss_is_a_mean_norm_and_no_mse(case):
    theirs = case["dictionary_learning"]["l2_loss"]
    assert theirs == pytest.approx(np.linalg.norm(residual(case), axis=1).mean(), rel=1e-12)
    assert theirs**2 < 0.95 * report(case).metrics()["reconstruction_mse"] * X.shape[1]


def test_saelens_legacy_explained_variance_is_a_mean_of_ratios(case):
    """Each row's error over its own deviation from the batch mean; the ratio of sums is another number."""
    rows = [slice(0, 12), slice(12, 24)]
    ratios = [np.square(residual(case)[part]).sum(1) / np.square(X[part] - X[part].mean(0)).sum(1) for part in rows]
    legacy = case["sae_lens"]["explained_variance_legacy"]
    assert legacy == pytest.approx(1 - np.concatenate(ratios).mean(), rel=1e-12)
    assert legacy < case["sae_lens"]["explained_variance"]
