"""Centres by hand, and where Weiszfeld's iteration would divide by 0."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from fast_sae.training.centre import CENTRES, geometric_median, unit_scale


def test_the_geometric_median_of_a_triangle_with_an_angle_beyond_120_degrees_is_that_corner():
    """Fermat's point; it is a row itself, where Weiszfeld's weights are infinite."""
    x = torch.tensor([[0.0, 0.0], [10.0, 1.0], [-10.0, 1.0]])
    assert torch.allclose(geometric_median(x), torch.zeros(2, dtype=torch.float64), atol=1e-6)


def test_it_leaves_a_row_that_is_the_mean_but_not_the_median():
    """The iteration starts at the mean, which is the first row here."""
    x = torch.tensor([[0.0, 0.0], [3.0, 1.0], [3.0, -1.0], [3.0, 0.0], [-9.0, 0.0]])
    found = geometric_median(x)
    assert found[0] > 0.1
    assert found[1].item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("rows", [5, 20_000])
def test_it_has_the_least_sum_of_distances(rows):
    x = np.random.default_rng(0).standard_cauchy((rows, 3)).clip(-1e3, 1e3)
    found = geometric_median(torch.from_numpy(x)).numpy()
    total = lambda y: np.linalg.norm(x - y, axis=1).sum()  # noqa: E731
    assert total(found) <= minimize(total, np.median(x, 0), method="Nelder-Mead", options={"xatol": 1e-9}).fun * (
        1 + 1e-8
    )


def test_rows_that_are_all_equal_are_their_own_median():
    assert geometric_median(torch.full((7, 2), 3.0)).tolist() == [3, 3]


def test_every_centre_follows_the_data_but_zero():
    x = torch.tensor([[1.0, 2.0], [3.0, 2.0], [8.0, 5.0]], dtype=torch.float64)
    for name, centre in CENTRES.items():
        assert torch.allclose(centre(x + 100) - centre(x), torch.full((2,), 100.0 if name != "zero" else 0.0).double())


def test_the_scale_is_about_the_mean_and_not_about_0():
    x = torch.tensor([[1000.0, 3.0], [1000.0, -3.0], [1004.0, 0.0], [996.0, 0.0]])
    assert unit_scale(x) == pytest.approx(1 / ((9 + 9 + 16 + 16) / 4) ** 0.5)


def test_rows_without_variance_are_left_as_they_are():
    assert unit_scale(torch.ones(3, 2)) == 1.0


def test_a_sample_in_the_type_it_is_stored_in_gives_what_it_gives_in_float64(monkeypatch):
    """Training hands over float16 rows, since float64 ones would take four times the memory."""
    monkeypatch.setattr("fast_sae.training.centre._CHUNK", 7)
    monkeypatch.setattr("fast_sae.training.centre._COLUMNS", 2)
    x = torch.from_numpy(np.random.default_rng(0).normal(3, 1, (50, 5)).astype(np.float16))
    whole = x.double()
    for name, centre in CENTRES.items():
        assert torch.allclose(centre(x), centre(whole), rtol=1e-14), name
    assert CENTRES["median"](x).tolist() == np.median(whole.numpy(), axis=0).tolist()
    assert CENTRES["mean"](x).tolist() == pytest.approx(whole.mean(0).tolist(), rel=1e-14)
    assert unit_scale(x) == pytest.approx(1 / float((whole - whole.mean(0)).square().sum(1).mean().sqrt()), rel=1e-14)
