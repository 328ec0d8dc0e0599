"""Hand-computed latents and thresholds."""

import pytest
import torch
from sae_samples import FixedDead, Rows, initialised

from fast_sae.sae.base import Step
from fast_sae.sae.functional import aux_k_loss, batch_top_k, normalized_mse, threshold_for_l0, top_k


def test_top_k_keeps_k_and_drops_what_is_not_positive():
    pre = torch.tensor([[3.0, -1.0, 2.0], [-5.0, -1.0, 4.0]])
    assert top_k(pre, 2).tolist() == [[3.0, 0.0, 2.0], [0.0, 0.0, 4.0]]


def test_batch_top_k_spends_the_budget_where_it_is_worth_most():
    pre = torch.tensor([[9.0, 8.0, 7.0], [1.0, 2.0, 3.0]])
    assert batch_top_k(pre, 2).tolist() == [[9.0, 8.0, 7.0], [0.0, 0.0, 3.0]]


def test_normalised_mse_of_the_batch_mean_is_1():
    target = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert normalized_mse(target.mean(0).expand(2, -1), target).item() == 1.0


def test_the_auxiliary_term_is_0_when_nothing_is_dead():
    nothing = torch.zeros(3, dtype=torch.bool)
    assert aux_k_loss(torch.ones(2, 3), nothing, 2, torch.eye(3), torch.ones(2, 3)).item() == 0


def test_the_auxiliary_term_uses_the_most_active_dead_latents():
    pre = torch.tensor([[9.0, 2.0, 1.0], [9.0, 1.0, 4.0]])
    error = torch.tensor([[0.0, 2.0, 1.0], [0.0, 0.0, 4.0]])
    dead = torch.tensor([False, True, True])
    # one dead latent a row: (0, 2, 0) and (0, 0, 4); squared errors 1 and 0; error's deviations 1 + 1 + 2.25 + 2.25
    assert aux_k_loss(pre, dead, 1, torch.eye(3), error).item() == pytest.approx(1 / 6.5)


def test_a_dead_latent_learns_from_the_auxiliary_term_alone():
    sae = initialised(K=1)
    with torch.no_grad():
        sae.b_enc[5] = -0.5
    x = torch.randn(30, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    silent = (sae.encode(x) > 0).sum(0) == 0
    assert bool(silent.any())
    sae.loss(x, Step(0, FixedDead(torch.zeros(12, dtype=torch.bool)))).total.backward()
    assert sae.W_enc.grad is not None
    assert bool((sae.W_enc.grad[:, silent] == 0).all())
    sae.zero_grad()
    sae.loss(x, Step(0, FixedDead(silent))).total.backward()
    assert bool((sae.W_enc.grad[:, silent] != 0).any())
    assert bool((sae.W_dec.grad[silent] != 0).any())


@pytest.mark.parametrize(("wanted", "threshold"), [(1, 4.5), (2, 3.0), (3, 0.0), (9, 0.0)])
def test_the_threshold_lies_between_the_last_kept_and_the_first_dropped(wanted, threshold):
    values = torch.tensor([5.0, 2.0, 4.0])
    assert threshold_for_l0(values, wanted) == threshold


@pytest.mark.parametrize("portion", [7, 64, 1000])
def test_batchtopk_calibrates_to_k_whatever_the_portions(portion):
    sae = initialised(architecture="batchtopk")
    x = torch.randn(1000, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * 3
    sae.finalise(Rows(x, portion))
    assert int((sae.encode(x) > 0).sum()) == 3 * 1000
    assert sae.threshold > 0


def test_batchtopk_with_fewer_positive_values_than_it_may_keep_keeps_them_all():
    sae = initialised(architecture="batchtopk", K=12)
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    sae.finalise(Rows(x))
    assert torch.equal(sae.encode(x) > 0, sae.pre_activations(x) > 0)


def test_multi_k_adds_a_less_sparse_reconstruction():
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    alive = FixedDead(torch.zeros(12, dtype=torch.bool))
    plain, multi = initialised(), initialised(multi_k=6)
    expected = (
        plain.loss(x, Step(0, alive)).total + normalized_mse(plain.decode(top_k(plain.pre_activations(x), 6)), x) / 8
    )
    assert multi.loss(x, Step(0, alive)).total.item() == pytest.approx(expected.item(), rel=1e-12)
