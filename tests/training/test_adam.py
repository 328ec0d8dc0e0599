"""Adam behind the clip, against torch's own."""

import copy

import pytest
import torch
from sae_samples import initialised

from fast_sae.training.adam import ClippedAdam
from fast_sae.training.workers import Workers


def with_gradients(sae, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in sae.parameters():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter) * scale
        parameter.grad = torch.empty_like(parameter).copy_(drawn)


@pytest.mark.parametrize("clip", [1e9, 0.3], ids=["no clip", "clipped"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize("threads", [1, 3])
def test_five_steps_are_those_of_torch(clip, dtype, tolerance, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    ours, theirs = (initialised(architecture="jumprelu").to(dtype) for _ in range(2))
    adam = ClippedAdam(ours, lr=0.01, clip=clip, gradient_bits=None, workers=Workers())
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01)
    for step in range(5):
        for sae in (ours, theirs):
            with_gradients(sae, step, scale=10.0**-step)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        adam.step()
        reference.step()
    for (name, parameter), wanted in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(parameter, wanted, rtol=tolerance, atol=tolerance), name
        for moment in ("exp_avg", "exp_avg_sq"):
            state = (adam.state[parameter][moment], reference.state[wanted][moment])
            assert torch.allclose(*state, rtol=10 * tolerance, atol=1e-30), (name, moment)


def test_torch_goes_on_from_its_state():
    sae, other = (initialised(architecture="topk") for _ in range(2))
    adam = ClippedAdam(sae, lr=0.01, clip=1e9, gradient_bits=None, workers=Workers())
    with_gradients(sae, 0)
    adam.step()
    other.load_state_dict(sae.state_dict())
    reference = torch.optim.Adam(other.parameters(), lr=0.01)
    reference.load_state_dict(copy.deepcopy(adam.state_dict()))
    for s in (sae, other):
        with_gradients(s, 1)
    adam.step()
    reference.step()
    for parameter, wanted in zip(sae.parameters(), other.parameters(), strict=True):
        assert torch.allclose(parameter, wanted, rtol=1e-13)


def test_gradients_are_rounded_behind_the_clip():
    sae = initialised(architecture="topk")
    with_gradients(sae, 0)
    clipped = [parameter.grad.clone() for parameter in sae.parameters()]
    norm = sum(float(g.square().sum()) for g in clipped) ** 0.5
    ClippedAdam(sae, lr=0.01, clip=0.5, gradient_bits=8, workers=Workers()).step()
    for parameter, whole in zip(sae.parameters(), clipped, strict=True):
        wanted = whole * 0.5 / (norm + 1e-6)
        assert not torch.allclose(parameter.grad, wanted, rtol=1e-6)
        assert float((parameter.grad - wanted).abs().max() / wanted.abs().max()) < 2**-7
