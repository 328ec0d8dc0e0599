"""What holds for every architecture: a new file in architectures/ is tested here with no test edited."""

import ast
from pathlib import Path

import pytest
import torch
from sae_samples import FixedDead, Rows, initialised

from fast_sae.sae.base import SparseAutoencoder, Step
from fast_sae.sae.checkpoint import load_sae, save_sae
from fast_sae.sae.functional import aux_k_loss, normalized_mse, summed_squared_error
from fast_sae.sae.settings import ARCHITECTURES
from fast_sae.training.loop import Descent

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
    assert {"topk", "batchtopk", "standard", "jumprelu"} <= set(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_imports_no_sibling_and_no_room_above(name):
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    allowed = {"fast_sae.params", *(f"fast_sae.sae.{m}" for m in ("base", "functional", "settings", "sparsity"))}
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


@pytest.mark.parametrize(
    ("changes", "loss"),
    [({}, normalized_mse), ({"subtract_b_dec": False, "multi_k": 6}, summed_squared_error)],
    ids=["nmse", "sse, multi-K, x itself"],
)
def test_gradients_agree_with_finite_differences(sae, x, changes, loss):
    """Without the auxiliary term, whose detached error a finite difference would differentiate too."""
    sae.settings = sae.settings.model_copy(update={"aux_coef": 0.0} | changes)
    if sae.coefficient is not None:
        sae.coefficient.value.fill_(0.3)
    at_start = Step(0, ALIVE, loss)
    sae.loss(x, at_start).total.backward()
    generator = torch.Generator().manual_seed(2)
    for name, parameter in sae.named_parameters():
        if name in sae.straight_through:
            continue
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        start, losses = parameter.detach().clone(), []
        for step in (1e-6, -1e-6):
            parameter.data = start + step * direction
            losses.append(sae.loss(x, at_start).total.item())
        parameter.data = start
        found = (parameter.grad * direction).sum().item()
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(found, rel=1e-5, abs=1e-8), name


def test_the_auxiliary_term_has_the_gradient_of_its_formula(sae, x):
    dead = torch.arange(12) % 3 == 0
    error = (x - sae(x)).detach()
    pre = sae.pre_activations(x).detach().requires_grad_()
    W_dec = sae.W_dec.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p, w: aux_k_loss(p, dead, 2, w, error), (pre, W_dec))


def test_the_loss_changes_nothing(sae, x):
    before = {name: tensor.clone() for name, tensor in (*sae.named_parameters(), *sae.named_buffers())}
    first, second = (sae.loss(x, Step(0, ALIVE)) for _ in range(2))
    assert torch.equal(first.total, second.total)
    for name, tensor in (*sae.named_parameters(), *sae.named_buffers()):
        assert torch.equal(tensor, before[name]) or bool(tensor.isnan().all()), name


def test_the_loss_tells_which_latents_fired_and_how_many(sae, x):
    loss, latents = sae.loss(x, Step(0, ALIVE)), sae.activate_in_training(sae.pre_activations(x))
    assert torch.equal(loss.fired, (latents > 0).any(0))
    assert loss.l0.item() == pytest.approx((latents > 0).double().sum(1).mean().item())


def test_only_an_architecture_with_a_coefficient_has_a_penalty(sae, x):
    loss = sae.loss(x, Step(0, ALIVE))
    assert (loss.penalty is None) == (sae.coefficient is None)
    if sae.coefficient is not None:
        sae.coefficient.value.fill_(2.0)
        heavier = sae.loss(x, Step(0, ALIVE))
        assert (heavier.total - loss.total).item() == pytest.approx(2 * loss.penalty.item())


@pytest.mark.parametrize("subtract", [True, False])
def test_rows_that_training_scaled_may_be_raw_afterwards(sae, x, subtract):
    sae.settings = sae.settings.model_copy(update={"subtract_b_dec": subtract})
    sae.finalise(Rows(x))
    latents, reconstruction = sae.encode(x) / 8, sae(x) / 8
    assert bool((latents > 0).any())
    sae.take_raw_rows(8.0)
    assert torch.allclose(sae.encode(x / 8), latents, rtol=1e-12)
    assert torch.allclose(sae(x / 8), reconstruction, rtol=1e-12)


def test_without_subtraction_the_encoder_reads_x_itself(sae, x):
    sae.settings = sae.settings.model_copy(update={"subtract_b_dec": False})
    assert torch.equal(sae.pre_activations(x), x @ sae.W_enc + sae.b_enc)
    assert torch.equal(sae.decode(torch.zeros(1, 12, dtype=torch.float64))[0], sae.b_dec)


def test_restarted_latents_point_where_they_are_told(sae):
    index, directions = torch.tensor([3, 7]), torch.eye(6, dtype=torch.float64)[[0, 5]]
    kept = [i for i in range(12) if i not in index]
    before = {name: parameter.detach().clone() for name, parameter in sae.named_parameters()}
    sae.restart_latents(index, directions)
    assert torch.equal(sae.W_dec[index], directions)
    assert torch.allclose(sae.W_enc[:, index].norm(dim=0), 0.2 * before["W_enc"][:, kept].norm(dim=0).mean())
    assert bool((sae.W_enc[:, index].T @ directions.T).diagonal().gt(0).all())
    assert sae.b_enc[index].tolist() == [0, 0]
    for name, axis in sae.latent_axis.items():
        others = torch.tensor(kept)
        assert torch.equal(sae.get_parameter(name).index_select(axis, others), before[name].index_select(axis, others))


def test_without_subtraction_restarted_latents_still_start_from_b_dec(sae):
    sae.settings = sae.settings.model_copy(update={"subtract_b_dec": False})
    index = torch.tensor([3, 7])
    sae.restart_latents(index, torch.eye(6, dtype=torch.float64)[[0, 5]])
    at_centre = sae.pre_activations(sae.b_dec[None])[0, index]
    assert torch.allclose(at_centre, torch.zeros(2, dtype=torch.float64), atol=1e-12)


def test_every_parameter_but_b_dec_runs_over_latents(sae):
    assert {name for name, _ in sae.named_parameters()} == {*sae.latent_axis, "b_dec"}
    assert all(sae.get_parameter(name).shape[axis] == 12 for name, axis in sae.latent_axis.items())


def test_an_untied_encoder_is_drawn_by_itself(sae):
    for tied in (True, False):
        sae.initialise(torch.zeros(6), torch.Generator().manual_seed(0), tied=tied)
        assert torch.equal(sae.W_enc, sae.W_dec.T) == tied
    assert bool((sae.W_enc.abs() <= 1.0).all())  # √(6 / d_in) = 1
    assert sae.W_enc.abs().max().item() > 0.9


def test_the_decoder_has_unit_rows_after_a_step(sae, x):
    before = sae.W_dec.detach().clone()
    Descent(sae, clip=1.0, gradient_bits=None).take_step(x, Step(0, ALIVE), 0.1)
    assert torch.allclose(sae.W_dec.norm(dim=1), torch.ones(12, dtype=torch.float64), rtol=1e-12)
    assert not torch.allclose(sae.W_dec, before, rtol=1e-2)


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
    """Enough latents fire here that every architecture can keep K; one with a penalty is steered there by training."""
    if sae.coefficient is not None:
        pytest.skip("see tests/training/test_steering.py")
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
