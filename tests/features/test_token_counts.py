from collections import Counter
from functools import cache

import numpy as np
import pytest
from collect_samples import BATCH_ROWS, TRAINED, encoded, random_latents, random_lengths

from fast_sae.chat.kinds import Kind
from fast_sae.features.token_counts import TokenCounts

M = 4
LENGTHS = random_lengths(25)
ROWS = sum(LENGTHS)
LATENTS = random_latents(ROWS, M)
IDS = (np.random.default_rng(2).zipf(1.5, ROWS) % 50).tolist()
KINDS = np.random.default_rng(1).integers(0, len(Kind), ROWS).tolist()
PAIRS = Counter((latent, IDS[row]) for row, latent in zip(*np.nonzero(LATENTS), strict=True) if KINDS[row] in TRAINED)


def counted(parts, latents: int = M, **options) -> TokenCounts:
    counts = TokenCounts(latents, **options)
    for part in parts:
        counts.add(part)
    return counts


@cache
def split(batch_rows: int = 1000):
    return encoded(LATENTS, LENGTHS, KINDS, IDS, batch_rows=batch_rows)


def pairs(counts: TokenCounts, latents: int = M) -> dict[tuple[int, int], int]:
    found = {latent: counts.of(latent) for latent in range(latents)}
    assert all((np.diff(token) > 0).all() for token, _ in found.values())
    return {(k, t): n for k, of in found.items() for t, n in zip(*(part.tolist() for part in of), strict=True)}


@pytest.mark.parametrize("batch_rows", BATCH_ROWS)
def test_firings_are_counted_by_latent_and_token(batch_rows):
    counts = counted(split(batch_rows))
    assert pairs(counts) == PAIRS
    assert counts.short_by == 0
    of_kinds = Counter(token for token, kind in zip(IDS, KINDS, strict=True) if kind in TRAINED)
    assert counts.count(np.arange(max(IDS) + 1)).tolist() == [of_kinds[token] for token in range(max(IDS) + 1)]


def test_counts_asked_for_between_two_batches_are_those_so_far():
    counts, seen = TokenCounts(M), Counter()
    for part in split(7):
        counts.add(part)
        seen.update(zip(part.latent.tolist(), part.tokens.token_id[part.row].tolist(), strict=True))
        assert pairs(counts) == seen


def test_counts_are_whole_though_the_last_batch_was_merged_at_once():
    """2²⁰ entries and more are merged as they come."""
    rows = 2**19 + 1
    (part,) = encoded(np.ones((rows, 2)), [rows], token_ids=np.arange(rows) % 3, window_tokens=rows, batch_rows=rows)
    counts = counted([part], 2)
    expected = np.bincount(np.arange(rows) % 3).tolist()
    assert counts.of(0)[1].tolist() == expected
    assert counts.of(1)[1].tolist() == expected
    for one in encoded([[1, 0]], [1], token_ids=[7]):
        counts.add(one)
    assert counts.of(0)[0].tolist() == [0, 1, 2, 7]


def test_the_lift_is_how_much_likelier_it_fires_on_a_token():
    # token 5 stands four times, 6 twice, 8 twice; the latent fires on 2, 2 and 0 of them: 4 of 8
    counts = counted(encoded([[1], [1], [0], [0], [1], [1], [0], [0]], [8], None, [5, 5, 5, 5, 6, 6, 8, 8]), 1)
    token, fired, lift = counts.lift(0, 1)
    assert (token.tolist(), fired.tolist(), lift.tolist()) == ([6, 5], [2, 2], [2.0, 1.0])


def test_rare_tokens_are_not_listed_but_count_in_the_rate():
    counts = counted(encoded([[1], [1], [1], [0]], [4], None, [5, 5, 6, 7]), 1)
    token, fired, lift = counts.lift(0, 2)
    assert (token.tolist(), fired.tolist()) == ([5], [2])
    assert lift.tolist() == [pytest.approx(1 / (3 / 4))]


def test_of_equal_lifts_the_more_frequent_comes_first_and_then_the_lower_number():
    counts = counted(encoded([[1], [1], [1], [1], [0]], [5], None, [9, 3, 4, 4, 1]), 1)
    assert counts.lift(0, 1)[0].tolist() == [4, 3, 9]


def test_tokens_of_other_kinds_are_not_counted():
    counts = counted(encoded([[1], [1]], [2], [Kind.BEGIN_OF_TEXT, Kind.CONTENT], [5, 5]), 1)
    assert (counts.of(0)[1].tolist(), counts.count(np.array([5])).tolist()) == ([1], [1])


def test_a_latent_that_fires_nowhere_has_no_tokens():
    counts = counted(encoded([[1, 0]], [1]), 2)
    assert [part.tolist() for part in counts.of(1)] == [[], []]
    assert [part.tolist() for part in counts.lift(1, 1)] == [[], [], []]


@pytest.mark.parametrize("most", [1, 5, 20])
def test_beyond_the_bound_counts_are_too_low_by_no_more_than_is_told(most):
    counts = TokenCounts(M, most)
    for part in split(7):
        counts.add(part)
        counts.of(0)
        assert len(counts._pair) <= most
    found = pairs(counts)
    assert 0 < len(found) <= most
    assert counts.short_by > 0
    for pair, true in PAIRS.items():
        assert true - counts.short_by <= found.get(pair, 0) <= true


def test_beyond_the_bound_the_rate_stays_that_of_all_firings():
    """Token 5 fires always, and the latent on 6 of 8 tokens; the two pairs of one firing are dropped."""
    counts = counted(encoded([[1]] * 6 + [[0]] * 2, [8], None, [5, 5, 5, 5, 6, 7, 8, 8]), 1, most=1)
    assert [part.tolist() for part in counts.lift(0, 1)] == [[5], [4], [pytest.approx(1 / (6 / 8))]]
