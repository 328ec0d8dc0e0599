"""One training step equals that of HypotheSAEs 2.0.1; recorded by tools/record_hypothesaes.py."""

import json
from pathlib import Path

import pytest
import torch
from sae_samples import sae_settings

from fast_sae.sae.base import SparseAutoencoder, Step
from fast_sae.sae.build import build_sae
from fast_sae.training.dead_latents import DeadLatentCounter
from fast_sae.training.loop import Descent

RECORDED = json.loads((Path(__file__).parents[1] / "recorded/hypothesaes_2_0_1.json").read_text())
DEAD_AFTER = 256


def tensor(values: list) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def ours(case: dict) -> tuple[SparseAutoencoder, DeadLatentCounter]:
    theirs = dict(case["settings"])
    theirs["architecture"] = "batchtopk" if theirs.pop("use_batch_topk", False) else "topk"
    theirs["matryoshka"] = theirs.pop("prefix_lengths", None)
    sae = build_sae(len(case["x"][0]), sae_settings(**theirs)).double()
    sae.load_state_dict({name: tensor(values) for name, values in case["weights"].items()}, strict=False)
    counter = DeadLatentCounter(theirs["M"], DEAD_AFTER, torch.device("cpu"))
    counter.steps_silent = torch.tensor(case["steps_silent"])
    counter._at_most = max(case["steps_silent"])
    return sae, counter


def theirs_without_the_constant(case: dict) -> float:
    """HypotheSAEs adds aux_coef · NMSE(0, error) when no latent is dead: a constant without gradient (a listed defect).

    There ours adds nothing, so the constant is taken out of the recorded loss.
    """
    if any(steps > DEAD_AFTER for steps in case["steps_silent_after"]):
        return case["loss"]
    weights = {name: tensor(values) for name, values in case["weights"].items()}
    error = tensor(case["x"]) - (tensor(case["latents"]) @ weights["W_dec"] + weights["b_dec"])
    constant = error.square().mean() / (error - error.mean(0)).square().mean()
    return case["loss"] - case["settings"]["aux_coef"] * constant.item()


@pytest.fixture(params=RECORDED["cases"].items(), ids=RECORDED["cases"])
def case(request) -> dict:
    return request.param[1]


def test_the_recording_has_cases_with_and_without_dead_latents():
    dead = [any(s > DEAD_AFTER for s in case["steps_silent_after"]) for case in RECORDED["cases"].values()]
    assert any(dead)
    assert not all(dead)


def test_loss_and_gradients_equal_the_recorded_ones(case):
    sae, counter = ours(case)
    loss = sae.loss(tensor(case["x"]), Step(0, counter))
    loss.total.backward()
    assert loss.total.item() == pytest.approx(theirs_without_the_constant(case), rel=1e-12)
    for name, gradient in case["gradients"].items():
        found = getattr(sae, name).grad
        assert torch.allclose(found, tensor(gradient), rtol=1e-10, atol=1e-14), name


def test_the_same_latents_fire_and_the_same_are_dead(case):
    sae, counter = ours(case)
    x = tensor(case["x"])
    assert torch.allclose(sae.activate_in_training(sae.pre_activations(x)), tensor(case["latents"]), rtol=1e-12)
    counter.observe(sae.loss(x, Step(0, counter)).fired)
    assert counter.steps_silent.tolist() == case["steps_silent_after"]


def test_the_weights_after_the_step_equal_the_recorded_ones(case):
    sae, counter = ours(case)
    descent = Descent(sae, clip=RECORDED["clip"], gradient_bits=None)
    descent.take_step(tensor(case["x"]), Step(0, counter), RECORDED["lr"])
    for name, weight in case["weights_after"].items():
        # Adam's first step is lr · sign(gradient): where a gradient is 0 but for rounding, its sign is noise.
        real = tensor(case["gradients"][name]).abs() > 1e-12 if name != "W_dec" else torch.tensor(True)
        assert torch.allclose(getattr(sae, name)[real], tensor(weight)[real], rtol=1e-9, atol=1e-12), name
