"""What holds for every architecture: a new file in architectures/ is tested here with no test edited."""

import ast
from pathlib import Path

import pytest
import torch
from sae_samples import FixedDead, Rows, initialised

from fast_sae.sae.base import SparseAutoencoder, Step
from fast_sae.sae.checkpoint import load_sae, save_sae
from fast_sae.sae.functional import aux_k_loss
from fast_sae.sae.settings import ARCHITECTURES

FOLDER = Path("src/fast_sae/sae/architectures")
MATRYOSHKA = {"plain": None, "matryoshka": [4, 8, 12]}
ALIVE = FixedDead(torch.zeros(12, dtype=torch.bool))


@pytest.fixture(params=[(name, prefixes) for name in ARCHITECTURES for prefixes in MATRYOSHKA], ids="-".join)
def sae(request) -> SparseAutoencoder:
    architecture, prefixes = request.param
    return initialised(architecture=architecture, matryoshka=MATRYOSHKA[prefixes])


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 + 1


def test_every_file_is_an_architecture():
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(ARCHITECTURES)
    assert {"topk", "batchtopk"} <= set(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_imports_no_sibling_and_no_room_above(name):
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    allowed = {"fast_sae.params", *(f"fast_sae.sae.{module}" for module in ("base", "functional", "settings"))}
    assert {module for module in imported if str(module).startswith("fast_sae")} <= allowed


def test_latents_are_at_least_0_and_shapes_are_as_promised(sae, x):
    latents = sae.encode(x)
    assert latents.shape == (40, 12)
    assert bool((latents >= 0).all())
    assert sae.decode(latents).shape == sae(x).shape == x.shape


def test_forward_is_decode_of_encode(sae, x):
    assert torch.equal(sae(x), sae.decode(sae.encode(x)))


def test_the_last_prefix_reconstructs_as_the_whole(sae, x):
    latents = sae.encode(x)
    *_, last = sae.reconstructions(latents)
    assert torch.allclose(last, sae.decode(latents), rtol=1e-12)


def test_each_prefix_uses_its_first_latents_alone(sae, x):
    latents = sae.encode(x)
    for size, reconstruction in zip(sae.settings.prefixes, sae.reconstructions(latents), strict=True):
        first = torch.where(torch.arange(12) < size, latents, 0)
        assert torch.allclose(reconstruction, sae.decode(first), rtol=1e-12)


def test_inference_of_a_row_does_not_hang_on_the_other_rows(sae, x):
    sae.finalise(Rows(x))
    alone = torch.cat([sae.encode(row[None]) for row in x])
    assert torch.equal(sae.encode(x) > 0, alone > 0)
    assert torch.allclose(sae.encode(x), alone, rtol=1e-12)


def test_a_gradient_reaches_every_parameter(sae, x):
    sae.loss(x, Step(0, ALIVE)).total.backward()
    for name, parameter in sae.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool((parameter.grad != 0).any()), name


def test_gradients_agree_with_finite_differences(sae, x):
    """Without the auxiliary term, whose detached error a finite difference would differentiate too."""
    sae.settings = sae.settings.model_copy(update={"aux_coef": 0.0})
    sae.loss(x, Step(0, ALIVE)).total.backward()
    generator = torch.Generator().manual_seed(2)
    for name, parameter in sae.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        start, losses = parameter.detach().clone(), []
        for step in (1e-6, -1e-6):
            parameter.data = start + step * direction
            losses.append(sae.loss(x, Step(0, ALIVE)).total.item())
        parameter.data = start
        found = (parameter.grad * direction).sum().item()
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(found, rel=1e-5, abs=1e-8), name


def test_the_auxiliary_term_has_the_gradient_of_its_formula(sae, x):
    dead = torch.arange(12) % 3 == 0
    error = (x - sae(x)).detach()
    pre = sae.pre_activations(x).detach().requires_grad_()
    W_dec = sae.W_dec.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p, w: aux_k_loss(p, dead, 2, w, error), (pre, W_dec))


def test_training_touches_no_counter_but_through_the_loss(sae, x):
    calls = []

    class Counting(FixedDead):
        def observe(self, latents: torch.Tensor) -> torch.Tensor:
            calls.append(len(latents))
            return super().observe(latents)

    dead = Counting(torch.zeros(12, dtype=torch.bool))
    sae.loss(x, Step(0, dead))
    assert calls == [40]


def test_the_decoder_has_unit_rows_after_a_step(sae):
    with torch.no_grad():
        sae.W_dec *= 3
    sae.after_step()
    assert torch.allclose(sae.W_dec.norm(dim=1), torch.ones(12, dtype=torch.float64), rtol=1e-12)


def test_the_projected_gradient_does_not_change_norms(sae, x):
    sae.loss(x, Step(0, ALIVE)).total.backward()
    sae.before_step()
    assert torch.allclose((sae.W_dec * sae.W_dec.grad).sum(1), torch.zeros(12, dtype=torch.float64), atol=1e-14)


def test_saved_and_loaded_it_is_the_same_to_the_bit(sae, x, tmp_path):
    sae.finalise(Rows(x))
    single = sae.float()
    save_sae(single, tmp_path / "sae")
    loaded = load_sae(tmp_path / "sae")
    assert loaded.settings == single.settings
    assert torch.equal(loaded.encode(x.float()), single.encode(x.float()))
    assert torch.equal(loaded(x.float()), single(x.float()))


def test_two_saves_give_the_same_bytes(sae, tmp_path):
    for name in ("a", "b"):
        save_sae(sae, tmp_path / name)
    for file in ("sae.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_same_generator_gives_the_same_start_and_another_does_not():
    a, b, c = (initialised(seed=seed) for seed in (0, 0, 1))
    assert torch.equal(a.W_enc, b.W_enc)
    assert not torch.equal(a.W_enc, c.W_enc)


def test_mean_l0_is_k(sae):
    """Enough latents fire here that every architecture can keep K of them."""
    x = torch.randn(5000, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 5
    sae.finalise(Rows(x))
    l0 = (sae.encode(x) > 0).sum() / len(x)
    assert float(l0) == pytest.approx(3, rel=0.02)


def test_rounded_gradients_keep_their_bits_by_latent(sae, x):
    sae.loss(x, Step(0, ALIVE)).total.backward()
    exact = {name: parameter.grad.clone() for name, parameter in sae.named_parameters() if parameter.grad is not None}
    assert len(exact) >= 4
    sae.round_gradients(bits=12)
    for name, grad in exact.items():
        rounded = sae.get_parameter(name).grad
        assert rounded.shape == grad.shape
        assert not torch.equal(rounded, grad)
        along = grad.abs() if grad.ndim == 1 else grad.abs().amax(0 if name == "W_enc" else 1, keepdim=True)
        assert bool(((rounded - grad).abs() <= along * 2.0**-12).all()), name


def test_gradients_that_differ_in_the_last_bits_are_rounded_to_the_same(sae, x):
    """What another processor's order of summation does."""

    def rounded(noise: float) -> list[torch.Tensor]:
        sae.zero_grad()
        sae.loss(x, Step(0, ALIVE)).total.backward()
        for parameter in sae.parameters():
            parameter.grad *= 1 + noise * torch.randn(parameter.shape, dtype=torch.float64)
        sae.round_gradients(bits=12)
        return [parameter.grad.clone() for parameter in sae.parameters()]

    torch.manual_seed(0)
    assert all(torch.equal(a, b) for a, b in zip(rounded(0.0), rounded(1e-14), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(rounded(0.0), rounded(1e-3), strict=True))
