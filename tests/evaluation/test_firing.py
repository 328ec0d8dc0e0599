import numpy as np
import pytest
import torch

from fast_sae.evaluation.cells import N_CELLS
from fast_sae.evaluation.firing import (
    FiringCounts,
    dead_fraction,
    density_bound,
    density_histogram,
    ultra_dense_fraction,
)

EVERY_CELL = np.ones(N_CELLS, bool)


def cells(*numbers):
    return np.isin(np.arange(N_CELLS), numbers)


def counted(cell, active, borders=()):
    """Counts of rows in parts, cut at `borders`, each with an accumulator of its own, merged at last."""
    cell, active = np.array(cell), np.array(active, bool)
    parts = []
    for part in np.split(np.arange(len(cell)), borders):
        parts.append(FiringCounts(active.shape[1]))
        parts[-1].add(cell[part], torch.from_numpy(active[part]))
    for other in parts[1:]:
        parts[0].merge(other)
    return parts[0]


CELL = [0, 0, 5, 5, 5, 7]
ACTIVE = [[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]


def test_a_latents_rows_are_counted_in_each_population():
    found = counted(CELL, ACTIVE)
    assert found.fired_in(EVERY_CELL).tolist() == [4, 3, 0]
    assert found.fired_in(cells(5)).tolist() == [2, 1, 0]
    assert found.fired_in(cells(0, 7)).tolist() == [2, 2, 0]


def test_the_l0_of_each_row_is_returned():
    assert FiringCounts(3).add(np.array(CELL), torch.tensor(ACTIVE, dtype=torch.bool)).tolist() == [1, 2, 0, 1, 2, 1]


def test_percentiles_of_l0_are_those_of_its_population():
    found = counted(CELL, ACTIVE)
    assert found.l0_percentiles(cells(5)) == {"l0_p5": 0, "l0_p50": 1, "l0_p95": 2}
    assert found.l0_percentiles(cells(7)) == {"l0_p5": 1, "l0_p50": 1, "l0_p95": 1}


@pytest.mark.parametrize("rows", [1, 2, 19, 20, 21, 100, 1000])
def test_percentiles_are_exact(rows):
    random = np.random.default_rng(rows)
    active = random.random((rows, 40)) < random.random((rows, 1))
    found = counted(np.zeros(rows, int), active).l0_percentiles(EVERY_CELL)
    expected = np.percentile(active.sum(1), [5, 50, 95], method="inverted_cdf")
    assert list(found.values()) == expected.tolist()


@pytest.mark.parametrize("borders", [[1], [4], [1, 2, 3, 4, 5], [0, 6]], ids=str)
def test_merged_counts_equal_those_of_the_whole_whatever_the_cut(borders):
    whole, merged = counted(CELL, ACTIVE), counted(CELL, ACTIVE, borders)
    np.testing.assert_array_equal(merged.fired, whole.fired)
    np.testing.assert_array_equal(merged.l0, whole.l0)


@pytest.mark.parametrize(("rows", "bound"), [(1, 1.0), (3, 1.0), (300, 0.01), (10**9, 3e-9)])
def test_silence_on_n_rows_bounds_a_density_by_three_over_n(rows, bound):
    assert density_bound(rows) == bound


@pytest.mark.parametrize("rows", [30, 1000, 10**6])
def test_a_latent_as_dense_as_the_bound_is_silent_in_one_set_of_twenty(rows):
    assert (1 - density_bound(rows)) ** rows == pytest.approx(0.05, abs=0.008)


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
