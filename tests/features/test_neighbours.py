import numpy as np
import pytest
from collect_samples import BATCH_ROWS, encoded, random_latents, random_lengths

from fast_sae.features import neighbours
from fast_sae.features.neighbours import CoFiring, nearest_directions


@pytest.fixture(params=[2, 512], ids=lambda block: f"block of {block}")
def block(request, monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK", request.param)


def listed(found) -> list[tuple[list[int], list[float]]]:
    return [(near.tolist(), similarity.tolist()) for near, similarity in found]


def sorted_by(similarity: np.ndarray, latents: np.ndarray, n: int, above: float) -> list[tuple[list[int], list[float]]]:
    """Each latent's most similar others: a plain sort, equals by number."""
    lines = []
    for i in range(len(latents)):
        able = [(-round(s, 6), int(k)) for k, s in zip(latents, similarity[i], strict=True) if k != latents[i]]
        best = [(s, k) for s, k in sorted(able) if -s > above][:n]
        lines.append(([k for _, k in best], [-s for s, _ in best]))
    return lines


@pytest.mark.parametrize("n", [1, 3, 100])
def test_the_nearest_directions_are_those_of_the_largest_cosine(block, n):
    latents = np.array([1, 2, 5, 6, 9, 11, 12])
    directions = np.random.default_rng(0).normal(size=(7, 4))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = listed(nearest_directions(directions, latents, n))
    expected = sorted_by(directions @ directions.T, latents, n, above=-2)
    assert [near for near, _ in found] == [near for near, _ in expected]
    for (_, one), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert {len(near) for near, _ in found} == {min(n, 6)}


def test_equally_near_latents_come_by_number_and_none_is_near_itself(block):
    directions = np.array([[1.0, 0], [1, 0], [0, 1], [1, 0]])
    found = listed(nearest_directions(directions, np.array([3, 4, 6, 8]), 2))
    assert found == [([4, 8], [1, 1]), ([3, 8], [1, 1]), ([3, 4], [0, 0]), ([3, 4], [1, 1])]


def test_the_opposite_direction_is_a_neighbour_where_there_is_no_other(block):
    found = listed(nearest_directions(np.array([[1.0, 0], [-1, 0]]), np.array([0, 1]), 3))
    assert found == [([1], [-1]), ([0], [-1])]


def test_no_cosine_is_a_negative_zero(block):
    """Its sign would hang on the processor's last digits, and with it the file's bytes."""
    directions = np.array([[1.0, 0], [-1e-12, 1]])
    found = listed(nearest_directions(directions, np.array([0, 1]), 1))
    assert [str(similarity) for _, (similarity,) in found] == ["0.0", "0.0"]


def cofiring(latents, lengths, rows, batch_rows: int = 1000) -> CoFiring:
    found = CoFiring(np.asarray(rows), latents.shape[1])
    for part in encoded(latents, lengths, batch_rows=batch_rows):
        found.add(part)
    return found


def test_cofiring_is_the_share_of_the_tokens_of_either_on_which_both_fire(block):
    latents = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]], float)
    found = listed(cofiring(latents, [2, 3], range(5)).nearest(np.arange(4), 3))
    assert found[0] == ([1, 3], [0.5, pytest.approx(1 / 3)])
    assert found[1] == ([0, 3], [0.5, pytest.approx(1 / 3)])
    assert found[2] == ([], [])  # never together with another
    assert found[3] == ([0, 1], [pytest.approx(1 / 3)] * 2)


@pytest.mark.parametrize("batch_rows", BATCH_ROWS)
@pytest.mark.parametrize("n", [2, 100])
def test_cofiring_on_drawn_tokens_is_what_a_plain_loop_finds(block, batch_rows, n):
    lengths = random_lengths(25)
    latents = random_latents(sum(lengths), 6, share=0.3)
    latents[:, 2] = 0
    rows = np.sort(np.random.default_rng(4).choice(sum(lengths), 40, replace=False))
    living = np.array([0, 1, 3, 5])
    found = listed(cofiring(latents, lengths, rows, batch_rows).nearest(living, n))
    fires = (latents[rows] > 0)[:, living].astype(int)
    both = fires.T @ fires
    either = fires.sum(0)[:, None] + fires.sum(0) - both
    expected = sorted_by(both / either, living, n, above=0)
    assert [near for near, _ in found] == [near for near, _ in expected]
    for (_, one), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_latents_that_fire_on_no_drawn_token_have_no_neighbour_by_cofiring(block):
    latents = np.array([[1, 1], [0, 0]], float)
    assert listed(cofiring(latents, [2], [1]).nearest(np.arange(2), 5)) == [([], []), ([], [])]
