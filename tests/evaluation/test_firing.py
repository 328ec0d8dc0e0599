import numpy as np
import pytest

from fast_sae.evaluation.firing import dead_fraction, density_histogram, ultra_dense_fraction


@pytest.mark.parametrize(("fired", "share"), [([0, 0, 1, 9], 0.5), ([1, 1], 0.0), ([0, 0], 1.0)], ids=str)
def test_a_latent_that_fired_on_no_row_is_dead(fired, share):
    assert dead_fraction(np.array(fired)) == share


def test_a_latent_that_fires_on_more_than_a_tenth_of_the_rows_is_ultra_dense():
    assert ultra_dense_fraction(np.array([0, 9, 10, 11, 100]), rows=100) == 2 / 5


@pytest.mark.parametrize("rows", [1, 37, 1000, 10**9])
def test_the_histogram_counts_every_latent_once(rows):
    random = np.random.default_rng(0)
    fired = np.concatenate([[0, 0, 1, rows], random.integers(0, rows + 1, 60)])
    assert sum(count for _, count in density_histogram(fired, rows)) == 64


def test_each_latent_lies_in_the_half_decade_of_its_density():
    # densities 0, 2e-6, 5e-5, 0.002, 0.02, 0.02, 0.2, 1
    fired = np.array([0, 2, 50, 2000, 20_000, 20_000, 200_000, 1_000_000])
    found = {edge: count for edge, count in density_histogram(fired, rows=1_000_000) if count}
    assert found == {"dead": 1, "-6.0": 1, "-4.5": 1, "-3.0": 1, "-2.0": 2, "-1.0": 1, "-0.5": 1}


def test_the_bins_are_the_same_for_every_run_so_that_runs_can_be_laid_over_each_other():
    one, other = density_histogram(np.array([0, 1]), 10), density_histogram(np.array([5, 10**7]), 10**9)
    assert [edge for edge, _ in one] == [edge for edge, _ in other]


def test_a_latent_rarer_than_the_lowest_edge_is_not_lost():
    assert dict(density_histogram(np.array([1]), rows=10**9))["-6.0"] == 1


def test_no_rows_make_every_latent_dead():
    assert dict(density_histogram(np.array([0, 0, 0]), rows=1))["dead"] == 3
