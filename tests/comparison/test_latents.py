"""What has become of latents, on pairs made by hand."""

import numpy as np
import pytest

from fast_sae.comparison.latents import Described, Status, compare_described

RISING, FALLING, ODD = [0, 1, 2, 3], [3, 2, 1, 0], [0, 5, 0, 5]


def latents(decoder: list | None, pooled: list | None = None, first: int = 0) -> Described:
    """Latents numbered from `first` by tens; `decoder` holds angles in degrees, in the plane, or rows."""
    if decoder is not None and not isinstance(decoder[0], list):
        decoder = [[np.cos(np.radians(one)), np.sin(np.radians(one))] for one in decoder]
    rows = None if decoder is None else np.array(decoder, float)
    seen = None if pooled is None else np.array(pooled, np.float32)
    count = len(rows if rows is not None else seen)  # pyright: ignore[reportArgumentType]
    return Described(first + 10 * np.arange(count), rows, seen)


def rows_of(found) -> dict[tuple, dict]:
    """Rows by (a, b), missing values as None."""
    table = found.rows.astype(object).where(found.rows.notna(), None)
    return {(row["a"], row["b"]): row for row in table.to_dict("records")}


def statuses(found) -> dict[tuple, str]:
    return {pair: str(row["status"]) for pair, row in rows_of(found).items()}


def test_a_permutation_is_found_again_whole():
    found = compare_described(
        latents([0, 90, 180], [RISING, FALLING, ODD]), latents([180, 0, 90], [ODD, RISING, FALLING], 1), "decoder"
    )
    assert statuses(found) == dict.fromkeys([(0, 11), (10, 21), (20, 1)], "found again")
    for row in rows_of(found).values():
        assert (row["cosine"], row["pearson"], row["spearman"]) == (pytest.approx(1),) * 3
        assert row["nearest"] is None
    assert found.exact


def test_of_a_duplicate_one_is_found_and_the_other_appears_beside_it():
    found = compare_described(latents([0]), latents([0, 0], first=1), "decoder")
    assert sorted(statuses(found).values()) == ["appeared", "found again"]
    (alone,) = [row for (a, _), row in rows_of(found).items() if a is None]
    assert (alone["nearest"], alone["nearest_cosine"]) == (0, pytest.approx(1))


def test_what_is_missing_vanishes_and_tells_what_is_nearest_and_likest():
    """A's latent at 90° is nearest by direction to B's at 60°, which another does the work of: the one at 270°."""
    a = latents([0, 90], [RISING, ODD])
    b = latents([0, 40, 270], [RISING, FALLING, ODD], 1)
    found = compare_described(a, b, "decoder")
    assert statuses(found) == {
        (0, 1): "found again",
        (10, None): "vanished",
        (None, 11): "appeared",
        (None, 21): "appeared",
    }
    gone = rows_of(found)[10, None]
    assert (gone["nearest"], gone["nearest_cosine"]) == (11, pytest.approx(np.cos(np.radians(50))))
    assert (gone["nearest_by_activation"], gone["nearest_pearson"]) == (21, pytest.approx(1))
    assert gone["cosine"] is None
    assert rows_of(found)[None, 21]["nearest_by_activation"] == 10
    assert found.living_on == 1
    assert [found.count(status) for status in Status] == [0, 1, 2, 1]


def test_what_fires_equally_everywhere_is_like_nothing():
    found = compare_described(latents([0], [ODD]), latents([90], [[2, 2, 2, 2]], 1), "decoder")
    alone = rows_of(found)[None, 1]
    assert (alone["nearest"], alone["nearest_by_activation"], alone["nearest_pearson"]) == (0, None, None)


def test_the_bound_of_a_pair_is_within_it():
    inside, outside = [0.7, np.sqrt(1 - 0.49)], [0.6999, np.sqrt(1 - 0.6999**2)]
    assert statuses(compare_described(latents([[1, 0]]), latents([inside]), "decoder")) == {(0, 0): "found again"}
    assert statuses(compare_described(latents([[1, 0]]), latents([outside]), "decoder")) == {
        (0, None): "vanished",
        (None, 0): "appeared",
    }


@pytest.mark.parametrize(
    ("other", "status", "pearson"),
    [
        (FALLING, "changed its meaning", -1.0),
        ([0, 1, 2, 4], "found again", 0.9827),  # of 0,1,2,3: 6.5 / sqrt(5 * 8.75)
        ([3, 3, 3, 3], "found again", None),  # one that fires equally everywhere is not judged
        ([0, 0, 0, 0], "found again", None),
    ],
)
def test_a_pair_whose_activations_part_has_changed_its_meaning(other, status, pearson):
    found = compare_described(latents([0], [RISING]), latents([10], [other], 1), "decoder")
    (row,) = rows_of(found).values()
    assert (str(row["status"]), row["pearson"]) == (status, pearson and pytest.approx(pearson, abs=1e-4))


def test_without_activations_no_pair_is_judged():
    (row,) = rows_of(compare_described(latents([0]), latents([10], first=1), "decoder")).values()
    assert (str(row["status"]), row["pearson"], row["spearman"]) == ("found again", None, None)


def test_of_other_directions_latents_are_matched_by_what_they_do():
    found = compare_described(latents(None, [RISING, ODD]), latents(None, [ODD, [1, 0, 0, 0]], 1), "activation")
    assert statuses(found) == {(0, None): "vanished", (10, 1): "found again", (None, 11): "appeared"}
    pair = rows_of(found)[10, 1]
    assert (pair["cosine"], pair["pearson"]) == (None, pytest.approx(1))
    assert rows_of(found)[0, None]["nearest"] is None


def test_past_the_exact_the_same_latents_are_found():
    a, b = latents([0, 90, 200], [RISING, ODD, FALLING]), latents([201, 1, 50], [FALLING, RISING, ODD], 1)
    exact, greedy = (compare_described(a, b, "decoder", most) for most in (8, 1))
    assert statuses(exact) == statuses(greedy)
    assert (exact.exact, greedy.exact) == (True, False)
