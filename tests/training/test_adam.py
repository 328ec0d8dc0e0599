"""Adam behind the clip, against torch's own."""

import pytest
import torch
from sae_samples import initialised

from fast_sae.training.adam import SharedAdam, TorchAdam
from fast_sae.training.workers import Workers


def norm_of(sae):
    return sum(float(parameter.grad.double().square().sum()) for parameter in sae.parameters()) ** 0.5


def with_gradients(sae, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in sae.parameters():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter) * scale
        parameter.grad = torch.empty_like(parameter).copy_(drawn)


@pytest.mark.parametrize("clip", [1e9, 0.3], ids=["no clip", "clipped"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize("bits", [None, 6])
@pytest.mark.parametrize("threads", [1, 3])
def test_five_steps_are_those_of_torch(clip, dtype, tolerance, bits, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    ours, theirs = (initialised(architecture="jumprelu").to(dtype) for _ in range(2))
    shared = SharedAdam(ours, clip=clip, gradient_bits=bits, workers=Workers())
    reference = TorchAdam(theirs, clip=clip, gradient_bits=bits)
    assert shared.moments(ours.b_dec) is reference.moments(theirs.b_dec) is None
    for step in range(5):
        for sae in (ours, theirs):
            with_gradients(sae, step, scale=10.0**-step)
        shared.step(0.01, norm_of(ours))
        reference.step(0.01, None)
    for (name, parameter), wanted in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(parameter, wanted, rtol=tolerance, atol=tolerance), name
        for moments in zip(shared.moments(parameter), reference.moments(wanted), strict=True):
            assert torch.allclose(*moments, rtol=10 * tolerance, atol=1e-30), name
    assert torch.allclose(ours.W_dec.norm(dim=1), torch.ones(12, dtype=dtype))


def test_torchs_step_is_torchs():
    """All but the decoder, whose rows are brought to norm 1."""
    ours, theirs = (initialised(architecture="topk") for _ in range(2))
    adam = TorchAdam(ours, clip=1e9, gradient_bits=None)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01)
    for sae in (ours, theirs):
        with_gradients(sae, 0)
    adam.step(0.01, None)
    reference.step()
    for name in ("W_enc", "b_enc", "b_dec"):
        assert torch.equal(ours.get_parameter(name), theirs.get_parameter(name)), name


@pytest.mark.parametrize("make", [TorchAdam, lambda sae, **how: SharedAdam(sae, **how, workers=Workers())])
def test_gradients_are_rounded_behind_the_clip(make):
    sae = initialised(architecture="topk")
    with_gradients(sae, 0)
    before = [parameter.grad.clone() for parameter in sae.parameters()]
    norm = sum(float(g.square().sum()) for g in before) ** 0.5
    make(sae, clip=0.5, gradient_bits=8).step(0.01, norm)
    for parameter, whole in zip(sae.parameters(), before, strict=True):
        wanted = whole * 0.5 / (norm + 1e-6)
        assert not torch.allclose(parameter.grad, wanted, rtol=1e-6)
        assert float((parameter.grad - wanted).abs().max() / wanted.abs().max()) < 2**-7
