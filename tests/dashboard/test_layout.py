"""The map: the gradient that its docstring states, clusters that come apart, and maps of hardly any latents."""

import numpy as np
import pytest

from fast_sae.dashboard import layout
from fast_sae.dashboard.layout import lay_out


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clusters(n: int, each: int, d_in: int = 8) -> np.ndarray:
    generator = np.random.default_rng(0)
    centres = np.eye(d_in)[:n]
    return unit(np.repeat(centres, each, 0) + 0.1 * generator.normal(size=(n * each, d_in)))


def test_clusters_come_apart():
    places = lay_out(clusters(3, 20), neighbours=5, steps=300, seed=1)
    groups = places.reshape(3, 20, 2)
    centres = groups.mean(1)
    apart = min(np.linalg.norm(centres[i] - centres[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    wide = max(np.linalg.norm(group - centre, axis=1).max() for group, centre in zip(groups, centres, strict=True))
    assert apart > 1.5 * wide
    assert places.min() == 0
    assert places.max() == 1


def test_the_force_is_the_loss_gradient():
    """Against finite differences of the Kullback-Leibler divergence, whose gradient it is."""
    places = np.random.default_rng(2).normal(size=(12, 2))
    graph = layout._graph(clusters(3, 4), 3)
    p = graph.toarray()

    def loss(y: np.ndarray) -> float:
        q = 1 / (1 + ((y[:, None] - y[None]) ** 2).sum(2))
        np.fill_diagonal(q, 0)
        return float(-(p * np.log(np.where(q > 0, q / q.sum(), 1))).sum())

    force = 4 * (layout._attraction(places, graph) + layout._repulsion(places, np.arange(12)))
    assert p.sum() == pytest.approx(1)
    for i, axis in ((0, 0), (5, 1), (11, 0)):
        step = np.zeros_like(places)
        step[i, axis] = 1e-6
        assert force[i, axis] == pytest.approx(-(loss(places + step) - loss(places - step)) / 2e-6, rel=1e-5)


def test_blocks_change_nothing_and_a_sample_estimates_the_whole(monkeypatch):
    places = np.random.default_rng(3).normal(size=(400, 2))
    whole = layout._repulsion(places, np.arange(400))
    monkeypatch.setattr(layout, "_BLOCK", 7)
    np.testing.assert_allclose(layout._repulsion(places, np.arange(400)), whole, rtol=1e-12)
    some = np.mean(
        [
            layout._repulsion(places, np.sort(np.random.default_rng(s).choice(400, 100, replace=False)))
            for s in range(40)
        ],
        axis=0,
    )
    assert np.corrcoef(some.ravel(), whole.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_hardly_any_latents_have_places_too(n):
    places = lay_out(unit(np.eye(4)[:n] + 0.1) if n else np.empty((0, 4)), neighbours=10, steps=20, seed=0)
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()
    assert ((places >= 0) & (places <= 1)).all()


@pytest.mark.parametrize("directions", [np.ones((6, 1)), np.array([[1.0], [-1.0]] * 3), unit(np.ones((6, 4)))])
def test_latents_of_one_direction_or_of_one_dimension_have_places(directions):
    assert np.isfinite(lay_out(directions, neighbours=3, steps=30, seed=0)).all()


def test_the_seed_decides_only_where_latents_are_sampled(monkeypatch):
    rows = clusters(4, 10)
    np.testing.assert_array_equal(lay_out(rows, 4, 40, seed=1), lay_out(rows, 4, 40, seed=2))
    monkeypatch.setattr(layout, "_OTHERS", 10)
    np.testing.assert_array_equal(lay_out(rows, 4, 40, seed=1), lay_out(rows, 4, 40, seed=1))
    assert (lay_out(rows, 4, 40, seed=1) != lay_out(rows, 4, 40, seed=2)).any()
