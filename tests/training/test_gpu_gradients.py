"""Triton's kernels, in its interpreter where there is no GPU, and the step that they make, against the references."""

import itertools
import os
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from sae_samples import FixedDead, initialised

from fast_sae.sae.base import Step
from fast_sae.sae.functional import normalized_mse, summed_squared_error, top_k
from fast_sae.training.gradients import DenseGradients, gradients_of

if find_spec("triton") is None:
    pytest.skip("no triton: pip install -r requirements-dev.txt", allow_module_level=True)

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported, which decides on it

from fast_sae.training.gpu_gradients import GpuGradients  # noqa: E402
from fast_sae.training.kernels import triton_codes as codes  # noqa: E402

on_gpu = pytest.mark.skipif(not ON_GPU, reason="no CUDA GPU")

D_IN, M, NONE = 6, 12, 99_999
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
FOUND_IN = {torch.bfloat16: torch.float32, torch.float32: torch.float32, torch.float64: torch.float64}


def drawn(*shape, seed=1, dtype=torch.float64):
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return numbers.to(DEVICE, dtype)


def rows(n=5, dtype=torch.float64):
    return drawn(n, D_IN, dtype=dtype) * 2 + 1


def sae_of(dtype=torch.float64, d_in=D_IN, **settings):
    return initialised(d_in, architecture="topk", **settings).to(DEVICE, dtype)


def none_dead(n=M):
    return FixedDead(torch.zeros(n, dtype=torch.bool, device=DEVICE))


def relative(found, wanted):
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30))


def selected(pre, k, names=None):
    n, columns = pre.shape
    names = torch.arange(columns) if names is None else names
    values = torch.full((n, k + 2), -7, dtype=FOUND_IN[pre.dtype], device=DEVICE)
    index = torch.full((n, k + 2), -7, dtype=torch.int32, device=DEVICE)
    codes.select(pre.to(DEVICE), names.int().to(DEVICE), NONE, values[:, 1:-1], index[:, 1:-1])
    assert {*values[:, [0, -1]].flatten().tolist(), *index[:, [0, -1]].flatten().tolist()} == {-7}
    return values[:, 1:-1].double().cpu().numpy(), index[:, 1:-1].tolist()


def test_selection_by_hand():
    values, index = selected(torch.tensor([[3.0, 1.0, 2.0, -1.0], [-1.0, 0.0, -2.0, 5.0]]), 2)
    assert values.tolist() == [[3, 2], [5, 0]]
    assert index == [[0, 2], [3, NONE]]


def test_of_equal_pre_activations_the_first_are_kept():
    _, index = selected(torch.tensor([[1.0, 2.0, 1.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0, 1.0]]), 3)
    assert index == [[0, 1, 2], [0, 1, 2]]
    assert selected(torch.ones(1, 3000), 3)[1] == [[0, 1, 2]]


def test_names_stand_for_the_columns():
    assert selected(torch.tensor([[3.0, 1.0, 2.0]]), 2, torch.tensor([10, 20, 30]))[1] == [[10, 30]]


@pytest.mark.parametrize("dtype", FOUND_IN)
@pytest.mark.parametrize(("columns", "k"), [(1, 1), (12, 12), (33, 5), (2500, 16)])
@pytest.mark.parametrize(("scale", "digits"), [(1e-30, 9), (1e25, 1)])
def test_selection_is_that_of_a_sort(columns, k, scale, digits, dtype):
    pre = (drawn(1, columns).mul(10**digits).round().div(10**digits) * scale).to(dtype)
    values, index = selected(pre, k)
    for row, kept, where in zip(pre.double().cpu().numpy(), values, index, strict=True):
        order = np.argsort(-row, kind="stable")[:k]
        wanted = np.sort(order[row[order] > 0])
        assert where == [*wanted.tolist(), *[NONE] * (k - len(wanted))]
        assert kept.tolist() == [*row[wanted].tolist(), *[0] * (k - len(wanted))]


def test_chosen_latents_are_encoded_anew_and_those_not_positive_stand_behind():
    W_encT, x = torch.tensor([[1.0, -1.0], [-1.0, 1.5], [1.0, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    values, index = torch.full((2, 4), 9.0), torch.tensor([[0, 1, 2, 3], [0, 2, 3, 3]], dtype=torch.int32)
    x, W_encT, values, index = (tensor.to(DEVICE) for tensor in (x, W_encT, values, index))
    codes.encode(x, W_encT, torch.tensor([-0.5, 0.0, 0.0], device=DEVICE), values, index)
    assert index.tolist() == [[1, 2, 3, 3], [3, 3, 3, 3]]
    assert values.tolist() == [[0.5, 1, 0, 0], [0, 0, 0, 0]]


def test_a_row_is_decoded_and_differentiated_prefix_by_prefix():
    """e₁ = 2 (1, 0) − (1, 1), e₂ = e₁ + 3 (0, 1); the slopes are (e₁ + e₂) · (1, 0) and e₂ · (0, 1)."""
    W_dec, target = torch.eye(2, device=DEVICE), torch.ones(1, 2, device=DEVICE)
    values, index = torch.tensor([[2.0, 3.0, 0.0]], device=DEVICE), torch.tensor([[0, 1, 2]], device=DEVICE).int()
    prefixes, errors = torch.tensor([1, 2], device=DEVICE).int(), torch.empty(1, 2, 2, device=DEVICE)
    bias = torch.zeros(2, device=DEVICE)
    assert codes.decode(values, index, prefixes, W_dec, bias, target, errors).tolist() == [[2, 5]]
    assert errors.tolist() == [[[1, -1], [1, 2]]]
    layers, slopes = torch.empty_like(index), torch.empty_like(values)
    codes.differentiate(index, prefixes, W_dec, 5, errors, layers, slopes)
    assert errors.tolist() == [[[2, 1], [1, 2]]]
    assert slopes.tolist() == [[2, 2, 0]]
    assert layers.tolist()[0][:2] == [5, 6]


@pytest.mark.parametrize("entries", [0, 1, 8, 9])
def test_gradients_of_a_latent_by_hand(entries):
    """All rows are alike: value 2, slope 3 (its row of W_dec is (1, 0), the error (3, 1)), x = (1, 5), scale ½."""
    n, like = 9, {"device": DEVICE}
    flat = (torch.arange(n, **like) >= entries).int()  # latent 0 in the first rows, none (1) in the others
    _, order = flat.sort(stable=True)
    starts = torch.tensor([0, entries], **like)
    values, slopes = torch.full((n, 1), 2.0, **like), torch.full((n, 1), 3.0, **like)
    x, errors = torch.tensor([[1.0, 5.0]] * n, **like), torch.tensor([[[3.0, 1.0]]] * n, **like)
    out = (torch.full((1, 2), 9.0, **like), torch.full((1, 2), 9.0, **like), torch.full((1,), 9.0, **like))
    half, W_dec = torch.full((1,), 0.5, **like), torch.tensor([[1.0, 0.0]], **like)
    codes.gradients(starts, order, values, flat[:, None] * 0, slopes, half, x, errors, W_dec, out)
    assert [tensor.flatten().tolist() for tensor in out] == [
        [0, entries],
        [1.5 * entries, 7.5 * entries],
        [1.5 * entries],
    ]


TERMS = [
    {"matryoshka": prefixes, "subtract_b_dec": subtract, "multi_k": multi, "aux_coef": aux}
    for (prefixes, subtract), multi, aux in itertools.product(
        [(None, True), ([4, 8, 12], False)], (None, 6), (0.0, 0.5)
    )
]
CASES = [  # every term by itself and all of them, in both types
    (TERMS[0], 0, torch.float64, normalized_mse),
    (TERMS[1], 1, torch.float32, summed_squared_error),
    (TERMS[2], 0, torch.float32, normalized_mse),
    (TERMS[4], 0, torch.float32, normalized_mse),
    (TERMS[7], 0, torch.float32, normalized_mse),
    (TERMS[7], 1, torch.float64, normalized_mse),
    (TERMS[7], 5, torch.float32, normalized_mse),
]


def agree(sae, x, step, dtype, encoder_dtype=None):
    """Whether loss and gradients are those of autograd."""
    wanted = DenseGradients(sae)(x, step)
    gradients = {name: parameter.grad.clone() for name, parameter in sae.named_parameters()}
    found = GpuGradients(sae, encoder_dtype)(x, step)
    for name, parameter in sae.named_parameters():
        assert relative(parameter.grad, gradients[name]) < TOLERANCE[dtype], name
        assert bool((gradients[name] != 0).any()), name
    for name in ("total", "reconstruction", "l0"):
        got, expected = getattr(found, name), getattr(wanted, name)
        assert got.item() == pytest.approx(expected.item(), rel=TOLERANCE[dtype]), name
    assert torch.equal(found.fired, wanted.fired)
    assert found.penalty is found.coefficient is None


@pytest.mark.parametrize(("terms", "n_dead", "dtype", "loss"), CASES, ids=str)
def test_values_and_gradients_are_those_of_autograd(terms, n_dead, dtype, loss):
    dead = FixedDead(torch.arange(M, device=DEVICE) % 5 < n_dead)
    agree(sae_of(dtype, **terms), rows(dtype=dtype), Step(0, dead, loss), dtype)


def test_gradients_under_bfloat16_are_those_of_autograd_where_the_choice_is_forced():
    """With K = multi_k = aux_k = M all that is positive is kept, and bfloat16 mistakes no sign here."""
    sae = sae_of(torch.float32, K=M, multi_k=M, aux_k=M)
    x = rows(40, torch.float32)
    x = x[(sae.pre_activations(x).detach().abs() > 0.05).all(1)][:5]
    assert len(x) == 5
    agree(sae, x, Step(0, FixedDead(torch.arange(M, device=DEVICE) % 5 < 2)), torch.float32, torch.bfloat16)


def test_bfloat16_chooses_nearly_the_largest_and_their_values_are_exact():
    sae = sae_of(torch.float32, d_in=32, M=1024, K=16, aux_k=0)
    x = drawn(12, 32, dtype=torch.float32)
    gpu = GpuGradients(sae, torch.bfloat16)
    code = gpu._code(x)
    with torch.no_grad():
        gpu._encode(code, x, (sae.W_enc.bfloat16(), sae.b_enc.bfloat16()))
    pre = sae.pre_activations(x).detach()
    kept = x.new_zeros(12, 1025).scatter_(1, code.index.long(), code.values)[:, :-1]
    active, wanted = kept > 0, top_k(pre, 16) > 0
    assert 0.95 < int((active & wanted).sum()) / int(wanted.sum()) < 1
    assert relative(kept[active], pre[active]) < 1e-5


def test_tiles_of_few_rows_change_nothing(monkeypatch):
    sae, x, found = sae_of(torch.float32, matryoshka=[4, 12]), rows(4, torch.float32), []
    for tile in (1, 3 * M):
        monkeypatch.setattr("fast_sae.training.gpu_gradients._TILE", tile)
        GpuGradients(sae)(x, Step(0, none_dead()))
        found.append([parameter.grad for parameter in sae.parameters()])
    assert all(relative(a, b) < 1e-6 for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("encoder_dtype", [None, torch.bfloat16])
def test_what_is_measured_is_what_the_reference_measures(encoder_dtype):
    sae, x = sae_of(matryoshka=[4, 8, 12], multi_k=6), rows(6)
    gpu, dense = GpuGradients(sae, encoder_dtype).measure(x), DenseGradients(sae).measure(x)
    assert (gpu.rows, gpu.active) == (dense.rows, dense.active) == (6, dense.active)
    assert gpu.squares == pytest.approx(dense.squares, rel=1e-12)
    assert gpu.deviations == pytest.approx(dense.deviations, rel=1e-12)


@on_gpu
@pytest.mark.parametrize("encoder_dtype", [None, torch.bfloat16])
def test_steps_on_a_gpu_are_those_of_the_cpu(encoder_dtype):
    from fast_sae.training.loop import Descent

    weights = []
    for device in ("cpu", "cuda"):
        sae = initialised(256, architecture="topk", M=4096, K=32).to(device, torch.float32)
        descent = Descent(sae, clip=1.0, gradient_bits=None, encoder_dtype=encoder_dtype)
        assert isinstance(descent.gradients, GpuGradients) == (device == "cuda")
        dead = FixedDead(torch.arange(4096, device=device) % 5 == 0)
        for seed in range(3):
            x = drawn(500, 256, seed=seed, dtype=torch.float32).to(device)
            descent.take_step(x, Step(seed, dead), 1e-3)
        weights.append([parameter.detach().cpu() for parameter in sae.parameters()])
    assert all(relative(a, b) < 1e-2 for a, b in zip(*weights, strict=True))


@on_gpu
def test_the_same_step_leaves_the_same_bits():
    found = []
    for _ in range(2):
        sae = initialised(256, architecture="topk", M=4096, K=32).to("cuda", torch.float32)
        gradients_of(sae, None)(drawn(2000, 256, dtype=torch.float32), Step(0, none_dead(4096)))
        found.append([parameter.grad for parameter in sae.parameters()])
    assert all(map(torch.equal, *found))


@on_gpu
def test_a_step_without_an_auxiliary_term_waits_for_no_gpu():
    sae = initialised(256, architecture="topk", M=4096, K=32, aux_k=0).to("cuda", torch.float32)
    gradients, x, step = gradients_of(sae, None), drawn(500, 256, dtype=torch.float32), Step(0, none_dead(4096))
    gradients(x, step)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        gradients(x, step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
