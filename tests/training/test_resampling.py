"""Which rows dead latents are started from, and what is forgotten."""

import pytest
import torch
from sae_samples import initialised

from fast_sae.sae.base import Step
from fast_sae.training.dead_latents import DeadLatentCounter
from fast_sae.training.loop import Descent
from fast_sae.training.resampling import resample

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def stepped(architecture="jumprelu"):
    """An SAE and its optimiser after one step, so that Adam remembers something of every latent."""
    sae = initialised(architecture=architecture, K=12)
    descent = Descent(sae, clip=1.0, gradient_bits=None)
    counter = DeadLatentCounter(12, 5, torch.device("cpu"))
    descent.take_step(X, Step(0, counter), 1e-3)
    return sae, descent.optimiser


def generator():
    return torch.Generator().manual_seed(0)


def marked(*latents):
    return torch.zeros(12, dtype=torch.bool).index_fill(0, torch.tensor(latents), True)


def test_the_row_with_all_the_error_is_drawn():
    """All rows but one are the decoder bias itself, in an SAE whose latents never fire there."""
    sae, optimiser = stepped()
    with torch.no_grad():
        sae.b_enc.fill_(-100)
        sae.b_enc[4] = 0
    x = sae.b_dec.detach().repeat(9, 1)
    x[5] += torch.tensor([0.0, 3.0, 0, 0, 0, 4.0])
    assert resample(sae, marked(4), x, optimiser, generator()).nonzero().tolist() == [[4]]
    assert torch.allclose(sae.W_dec[4], torch.tensor([0, 0.6, 0, 0, 0, 0.8], dtype=torch.float64))


def test_no_more_latents_are_started_than_rows_have_an_error():
    sae, optimiser = stepped()
    with torch.no_grad():
        sae.b_enc.fill_(-100)
    assert not resample(sae, marked(0, 1, 2), sae.b_dec.detach().repeat(5, 1), optimiser, generator()).any()


@pytest.mark.parametrize("architecture", ["jumprelu", "topk"])
def test_adam_forgets_the_started_latents_and_no_other(architecture):
    sae, optimiser = stepped(architecture)
    before = {name: optimiser.moments(parameter)[1].clone() for name, parameter in sae.named_parameters()}
    resample(sae, marked(3, 8), X, optimiser, generator())
    for name, axis in sae.latent_axis.items():
        after = optimiser.moments(sae.get_parameter(name))[1]
        kept = torch.tensor([i for i in range(12) if i not in (3, 8)])
        assert bool((after.index_select(axis, torch.tensor([3, 8])) == 0).all()), name
        assert torch.equal(after.index_select(axis, kept), before[name].index_select(axis, kept)), name
        assert bool((before[name] != 0).any()), name


def test_a_started_latent_has_norm_1_and_a_jumprelus_threshold_is_the_first_one():
    sae, optimiser = stepped()
    with torch.no_grad():
        sae.threshold.fill_(7.0)
    resample(sae, marked(2), X, optimiser, generator())
    assert sae.W_dec[2].norm().item() == 1 or abs(sae.W_dec[2].norm().item() - 1) < 1e-12
    assert sae.threshold.tolist()[1:4] == [7.0, sae.options.initial_threshold, 7.0]


def test_the_same_generator_draws_the_same_rows():
    drawn = []
    for _ in range(2):
        sae, optimiser = stepped()
        resample(sae, marked(1, 2, 3), X, optimiser, generator())
        drawn.append(sae.W_dec.detach().clone())
    assert torch.equal(*drawn)
