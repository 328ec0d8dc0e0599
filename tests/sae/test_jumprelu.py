"""JumpReLU's estimated gradient against what it estimates."""

import pytest
import torch
from sae_samples import PENALTY, FixedDead, initialised

from fast_sae.sae.base import Step
from fast_sae.sae.functional import summed_squared_error

X = torch.randn(20_000, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
BANDWIDTH = 0.2


@pytest.fixture
def sae():
    options = PENALTY | {"coefficient": 0.03, "bandwidth": BANDWIDTH, "initial_threshold": 0.4}
    return initialised(architecture="jumprelu", aux_k=0, jumprelu=options)


def losses(sae, latent, shift):
    """Penalty and whole loss with one threshold shifted."""
    with torch.no_grad():
        sae.threshold[latent] += shift
    found = sae.loss(X, Step(0, FixedDead(torch.zeros(12, dtype=torch.bool))))
    with torch.no_grad():
        sae.threshold[latent] -= shift
    return found.penalty.item(), found.total.item()


def test_the_gradient_of_l0_is_its_change_over_the_window(sae):
    """The rectangle estimate over a window is, exactly, the difference quotient of the window's width."""
    pre = sae.pre_activations(X)
    sae.penalty(pre, sae.activate(pre)).backward()
    for latent in (0, 5, 11):
        change = losses(sae, latent, BANDWIDTH / 2)[0] - losses(sae, latent, -BANDWIDTH / 2)[0]
        assert sae.threshold.grad[latent].item() == pytest.approx(change / BANDWIDTH, rel=1e-9)
        assert change < 0


def test_the_gradient_of_the_loss_is_near_its_change_over_the_window(sae):
    """Within the window a latent that opens jumps by z, and the estimate says θ: equal to first order in the width."""
    sae.loss(X, Step(0, FixedDead(torch.zeros(12, dtype=torch.bool)))).total.backward()
    found, expected = [], []
    for latent in range(12):
        change = losses(sae, latent, BANDWIDTH / 2)[1] - losses(sae, latent, -BANDWIDTH / 2)[1]
        found.append(sae.threshold.grad[latent].item())
        expected.append(change / BANDWIDTH)
    assert torch.nn.functional.cosine_similarity(torch.tensor(found), torch.tensor(expected), dim=0) > 0.98


def test_by_hand():
    """One latent, one dimension: z = 0.45 lies in the window around θ = 0.4, z = 0.9 does not."""
    options = PENALTY | {"coefficient": 2.0, "bandwidth": 0.2, "initial_threshold": 0.4}
    sae = initialised(1, architecture="jumprelu", M=1, K=1, aux_k=0, jumprelu=options)
    with torch.no_grad():
        for parameter, value in ((sae.W_enc, 1.0), (sae.W_dec, 1.0), (sae.b_enc, -0.55), (sae.b_dec, 0.0)):
            parameter.fill_(value)
    x = torch.tensor([[1.0], [1.45]], dtype=torch.float64)
    loss = sae.loss(x, Step(0, FixedDead(torch.zeros(1, dtype=torch.bool)), summed_squared_error))
    assert loss.total.item() == pytest.approx((0.55**2 + 0.55**2) / 2 + 2 * 1)
    loss.total.backward()
    # ∂R/∂f = (x̂ − x) = −0.55 for the first row; ∂f/∂θ = −0.4/0.2; ∂‖f‖₀/∂θ = −1/0.2, over two rows
    assert sae.threshold.grad.item() == pytest.approx(-0.55 * -2 + 2 * -5 / 2)
    # z has the gradient of an open gate alone: −0.55 for both rows
    assert sae.b_enc.grad.item() == pytest.approx(-1.1)


def test_thresholds_stay_at_least_0(sae):
    loss = sae.loss(X[:8], Step(0, FixedDead(torch.zeros(12, dtype=torch.bool))))
    with torch.no_grad():
        sae.threshold.fill_(-0.5)
    sae.after_step(loss, lr=1e-3)
    assert sae.threshold.tolist() == [0.0] * 12


def test_a_value_at_its_threshold_is_closed(sae):
    assert sae.activate(torch.full((1, 12), 0.4, dtype=torch.float64)).sum() == 0
