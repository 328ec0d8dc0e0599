"""Matching past what is exact, by hand."""

import numpy as np
import pytest

from fast_sae.comparison.matching import match, match_greedily, nearest


def at(*degrees: float) -> np.ndarray:
    """Rows of length 1 in the plane, at these angles."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_the_largest_cosine_goes_first_and_takes_both_its_latents():
    """A at 0° and 10°, B at 5.5° and 40°: 10°–5.5° is largest and leaves 0°–40°; 0°–5.5°, 10°–40° sum to more."""
    found = match_greedily(at(0, 10), at(5.5, 40), least=0.7)
    assert [*zip(found.first.tolist(), found.second.tolist(), strict=True)] == [(0, 1), (1, 0)]
    assert found.cosine == pytest.approx(np.cos(np.radians([40, 4.5])))
    assert not found.exact
    exact = match(at(0, 10), at(5.5, 40))
    assert exact.second.tolist() == [0, 1]
    assert exact.cosine.sum() > found.cosine.sum()


def test_past_the_most_that_is_exact_pairs_below_the_bound_are_not_made():
    found = match(at(0, 90), at(1, 180), most=1)
    assert (found.first.tolist(), found.second.tolist(), found.exact) == ([0], [0], False)


def test_greedy_and_exact_agree_on_a_permutation(monkeypatch):
    monkeypatch.setattr("fast_sae.comparison.matching._BLOCK", 3)  # several blocks
    rows = np.random.default_rng(0).normal(size=(10, 40))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order = np.random.default_rng(1).permutation(10)
    for most in (1, 10):
        found = match(rows, rows[order], most)
        assert found.first.tolist() == [*range(10)]
        assert order[found.second].tolist() == [*range(10)]
    assert nearest(rows, rows[order])[1] == pytest.approx(np.ones(10))


def test_no_rows_make_no_pairs():
    found = match_greedily(at(), at(0), least=0.7)
    assert (len(found.first), len(found.second), len(found.cosine)) == (0, 0, 0)
