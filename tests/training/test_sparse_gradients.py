"""The closed form against autograd: values and gradients, per type, for every term of the loss."""

import itertools

import numpy as np
import pytest
import torch
from sae_samples import FixedDead, initialised

from fast_sae.errors import ParamsError
from fast_sae.sae.base import Step
from fast_sae.sae.functional import normalized_mse, summed_squared_error, top_k
from fast_sae.training.adam import TorchAdam
from fast_sae.training.dead_latents import DeadLatentCounter
from fast_sae.training.gradients import DenseGradients, gradients_of
from fast_sae.training.kernels.codes import by_latent, encode
from fast_sae.training.kernels.selection import select
from fast_sae.training.loop import Descent
from fast_sae.training.sparse_gradients import SparseGradients, is_sparse
from fast_sae.training.workers import Workers

D_IN, M, ROWS = 6, 12, 40
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
TERMS = [
    {"matryoshka": prefixes, "subtract_b_dec": subtract, "multi_k": multi, "aux_coef": aux}
    for prefixes, subtract, multi, aux in itertools.product((None, [4, 8, 12]), (True, False), (None, 6), (0.0, 0.5))
]


def rows(n=ROWS, seed=1, dtype=torch.float64):
    return (torch.randn(n, D_IN, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 + 1).to(dtype)


def dead(n):
    return FixedDead(torch.arange(M) % 5 < n)


def relative(found, wanted):
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n_dead", [0, 1, 5])
@pytest.mark.parametrize("loss", [normalized_mse, summed_squared_error])
@pytest.mark.parametrize("terms", TERMS, ids=str)
def test_values_and_gradients_are_those_of_autograd(terms, loss, n_dead, dtype):
    sae = initialised(D_IN, architecture="topk", **terms).to(dtype)
    step = Step(0, dead(n_dead), loss)
    wanted = DenseGradients(sae)(rows(dtype=dtype), step)
    gradients = {name: parameter.grad.clone() for name, parameter in sae.named_parameters()}
    sparse = SparseGradients(sae, Workers())
    sparse(rows(7, seed=3, dtype=dtype), step)  # leaves arrays of another size, full of other things
    found = sparse(rows(dtype=dtype), step)
    for name, parameter in sae.named_parameters():
        assert relative(parameter.grad, gradients[name]) < TOLERANCE[dtype], name
        assert bool((gradients[name] != 0).any()), name
    norm = torch.stack([gradient.double().norm() for gradient in gradients.values()]).norm().item()
    assert sparse.norm == pytest.approx(norm, rel=TOLERANCE[dtype])
    for name in ("total", "reconstruction"):
        assert getattr(found, name).item() == pytest.approx(getattr(wanted, name).item(), rel=TOLERANCE[dtype]), name
    assert found.l0.item() == pytest.approx(wanted.l0.item(), rel=1e-6)
    assert torch.equal(found.fired, wanted.fired)
    assert found.penalty is found.coefficient is None


@pytest.mark.parametrize("terms", TERMS[::4], ids=str)
def test_the_number_of_threads_changes_gradients_by_rounding_alone(terms, monkeypatch):
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        sae = initialised(D_IN, architecture="topk", **terms)
        SparseGradients(sae, Workers())(rows(), Step(0, dead(2)))
        found.append([parameter.grad for parameter in sae.parameters()])
    assert all(relative(a, b) < 1e-13 for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("terms", TERMS[::4], ids=str)
def test_what_is_measured_is_what_the_reference_measures(terms):
    sae = initialised(D_IN, architecture="topk", **terms)
    x = rows(1100)  # more than are reconstructed at once
    sparse, dense = SparseGradients(sae, Workers()).measure(x), DenseGradients(sae).measure(x)
    assert (sparse.rows, sparse.active) == (dense.rows, dense.active) == (1100, dense.active)
    assert sparse.squares == pytest.approx(dense.squares, rel=1e-12)
    assert sparse.deviations == pytest.approx(dense.deviations, rel=1e-12)
    assert sparse.deviations == pytest.approx(float((x - x.mean(0)).square().sum()), rel=1e-12)


def test_only_top_k_is_known_to_keep_so_few():
    names = ("topk", "batchtopk", "standard", "jumprelu")
    assert [is_sparse(initialised(architecture=name)) for name in names] == [True, False, False, False]


def selected(pre, k, names=None):
    pre = np.ascontiguousarray(pre)
    n, columns = pre.shape
    names = np.arange(columns, dtype=np.int32) if names is None else names
    values, index = np.empty((n, k), pre.dtype), np.empty((n, k), np.int32)
    select(pre, names, 99_999, values, index, np.empty(columns, pre.dtype), np.empty(columns, np.int32))
    return values, index


def test_selection_by_hand():
    values, index = selected(np.array([[3.0, 1.0, 2.0, -1.0], [-1.0, 0.0, -2.0, 5.0]], np.float32), 2)
    assert values.tolist() == [[3, 2], [5, 0]]
    assert index.tolist() == [[0, 2], [3, 99_999]]


def test_of_equal_pre_activations_the_first_are_kept():
    values, index = selected(np.array([[1.0, 2.0, 1.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0, 1.0]]), 3)
    assert index.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert values.tolist() == [[1, 2, 1], [1, 1, 1]]


def test_names_stand_for_the_columns():
    _, index = selected(np.array([[3.0, 1.0, 2.0]]), 2, names=np.array([10, 20, 30], np.int32))
    assert index.tolist() == [[10, 30]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("columns", "k"), [(1, 1), (12, 12), (31, 3), (33, 5), (300, 8), (5000, 64)])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e25])
@pytest.mark.parametrize("digits", [1, 9])
def test_selection_is_that_of_a_sort(columns, k, scale, digits, dtype):
    pre = (np.random.default_rng(columns).standard_normal((20, columns)).round(digits) * scale).astype(dtype)
    values, index = selected(pre, k)
    for row, kept, where in zip(pre, values, index, strict=True):
        order = np.argsort(-row, kind="stable")[:k]
        wanted = np.sort(order[row[order] > 0])
        assert where[: len(wanted)].tolist() == wanted.tolist()
        assert set(where[len(wanted) :].tolist()) <= {99_999}
        assert kept[: len(wanted)].tolist() == row[wanted].tolist()
        assert not kept[len(wanted) :].any()


def test_places_are_sorted_by_latent():
    starts, entries = np.empty(5, np.int64), np.empty(6, np.int64)
    index = np.array([[2, 0, 9], [3, 0, 9], [2, 3, 9]], np.int32)  # the last place of each row is not in use
    by_latent(index[:, :2], 3, starts, entries)
    assert starts.tolist() == [0, 2, 2, 4, 6]
    assert entries.tolist() == [1, 4, 0, 6, 3, 7]


def encoded(sae, x):
    """The exact pre-activations of rows, and what a step that encodes in bfloat16 keeps of them."""
    sparse = SparseGradients(sae, Workers(), torch.bfloat16)
    sparse(x, Step(0, FixedDead(torch.zeros(sae.settings.M, dtype=torch.bool))))
    code = sparse._space.code(len(x))
    pre = sae.pre_activations(x).detach()
    kept = torch.zeros(len(x), sae.settings.M + 1, dtype=x.dtype)
    return pre, kept.scatter_(1, torch.from_numpy(code.index).long(), torch.from_numpy(code.values))[:, :-1]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_bfloat16_chooses_nearly_the_largest_and_their_values_are_exact(dtype):
    sae = initialised(64, architecture="topk", M=1024, K=16, aux_k=0).to(dtype)
    x = torch.randn(200, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)
    pre, kept = encoded(sae, x)
    active, wanted = kept > 0, top_k(pre, 16) > 0
    assert 0.95 < int((active & wanted).sum()) / int(wanted.sum()) < 1
    assert (active.sum(1) <= 16).all()
    assert relative(kept[active], pre[active]) < TOLERANCE[dtype] / 10


def test_a_chosen_latent_that_is_not_positive_becomes_no_latent():
    W_encT, x = np.array([[1.0, -1.0], [-1.0, 1.001], [1.0, 0.0]]), np.array([[1.0, 1.0]])
    values, index = np.array([[9.0, 9.0, 9.0, 9.0]]), np.array([[0, 1, 2, 3]], np.int32)
    encode(x, W_encT, np.array([-0.5, 0.0, 0.0]), 3, values, index)
    assert index.tolist() == [[1, 2, 3, 3]]
    assert values[0] == pytest.approx([0.001, 1, 0, 0])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("terms", TERMS[::3], ids=str)
def test_gradients_under_bfloat16_are_those_of_autograd_on_what_it_chose(terms, dtype):
    """Equal where the choice is forced: with K = multi_k = aux_k = M, all that is positive is kept."""
    terms = terms | {"K": M, "aux_k": M} | ({"multi_k": M} if terms["multi_k"] else {})
    sae = initialised(D_IN, architecture="topk", **terms).to(dtype)
    step = Step(0, dead(2))
    with torch.no_grad():
        pre = sae.pre_activations(rows(dtype=dtype))
        x = rows(dtype=dtype)[(pre.abs() > 0.05).all(1)]  # no sign that bfloat16 could mistake
    assert len(x) > 20
    wanted = DenseGradients(sae)(x, step)
    gradients = {name: parameter.grad.clone() for name, parameter in sae.named_parameters()}
    found = SparseGradients(sae, Workers(), torch.bfloat16)(x, step)
    for name, parameter in sae.named_parameters():
        assert relative(parameter.grad, gradients[name]) < TOLERANCE[dtype], name
    assert found.total.item() == pytest.approx(wanted.total.item(), rel=TOLERANCE[dtype])


def test_what_is_measured_is_chosen_in_full_whatever_training_chooses_in():
    sae, x = initialised(64, architecture="topk", M=512, K=8), rows(300)[:, :1] * torch.linspace(-1, 1, 64).double()
    full, rough = (SparseGradients(sae, Workers(), dtype).measure(x) for dtype in (None, torch.bfloat16))
    assert full.squares.tolist() == rough.squares.tolist()


def test_an_architecture_without_an_encoder_of_its_own_type_is_refused_in_one_line():
    with pytest.raises(ParamsError, match=r"train\.encode_in: full"):
        gradients_of(initialised(architecture="batchtopk"), None, torch.bfloat16)


def test_sixty_rounded_steps_are_those_of_the_plain_path():
    """Gradients to the bit, parameters but for the order of sums, with dead latents to revive on the way."""
    ours, plain = (initialised(D_IN, architecture="topk", **TERMS[-1]).double() for _ in range(2))
    descent = Descent(ours, clip=0.5, gradient_bits=12)
    gradients, adam = DenseGradients(plain), TorchAdam(plain, clip=0.5, gradient_bits=12)
    counts = [DeadLatentCounter(ours.settings.M, 0, torch.device("cpu")) for _ in range(2)]
    revived = 0
    with descent.alone():
        for number in range(60):
            x = rows(5, seed=number)
            revived += int(counts[0].dead.sum())
            found = descent.take_step(x, Step(number, counts[0]), 0.003)
            wanted = gradients(x, Step(number, counts[1]))
            adam.step(0.003, gradients.norm)
            counts[0].observe(found.fired)
            counts[1].observe(wanted.fired)
            for name, parameter in ours.named_parameters():
                other = plain.get_parameter(name)
                assert torch.equal(parameter.grad, other.grad), (number, name)
                assert torch.allclose(parameter, other, rtol=1e-12, atol=1e-13), (number, name)
    assert revived


@pytest.mark.parametrize("shape", [{"M": 1, "K": 1}, {"M": 12, "K": 1}], ids=str)
@pytest.mark.parametrize("d_in", [1, 6])
def test_one_latent_and_one_dimension_have_the_gradients_of_autograd(shape, d_in):
    sae = initialised(d_in, architecture="topk", matryoshka=None, **shape).double()
    x = torch.randn(20, d_in, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = Step(0, FixedDead(torch.zeros(shape["M"], dtype=torch.bool)))
    DenseGradients(sae)(x, step)
    wanted = {name: parameter.grad.clone() for name, parameter in sae.named_parameters()}
    SparseGradients(sae, Workers())(x, step)
    for name, parameter in sae.named_parameters():
        assert torch.allclose(parameter.grad, wanted[name], rtol=1e-12, atol=1e-12), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_is_never_kept_and_nothing_is_written_past_the_places(dtype):
    pre = np.random.default_rng(0).standard_normal((8, 67)).astype(dtype)
    pre[:, ::3] = np.nan
    k, guarded = 4, np.full((2, 8, 64), 7.0)
    values, index = guarded[0].astype(dtype), guarded[1].astype(np.int32)
    select(
        pre, np.arange(67, dtype=np.int32), 67, values[:, :k], index[:, :k], np.empty(67, dtype), np.empty(67, np.int32)
    )
    assert (values[:, k:] == 7).all()
    assert (index[:, k:] == 7).all()
    for row, kept, where in zip(pre, values[:, :k], index[:, :k], strict=True):
        order = np.argsort(np.where(np.isnan(row), -np.inf, row))[::-1][:k]
        assert sorted(where) == sorted(order)
        assert sorted(kept) == sorted(row[order])


def test_equal_rows_leave_no_finite_sae_behind():
    """Their loss has no denominator: what comes of it is NaN, in the closed form as by autograd, and no crash."""
    sae = initialised(D_IN, architecture="topk", subtract_b_dec=False)
    descent = Descent(sae, clip=1.0, gradient_bits=None)
    with descent.alone():
        for number, x in enumerate((rows(), torch.ones(8, D_IN), rows())):
            descent.take_step(x.to(sae.W_enc.dtype), Step(number, dead(0)), 0.01)
    assert sae.b_dec.isnan().all()
