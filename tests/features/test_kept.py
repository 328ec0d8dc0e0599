from functools import cache

import numpy as np
import pytest
from collect_samples import (
    BATCH_ROWS,
    TRAINED,
    encoded,
    features_settings,
    peaks_by,
    random_latents,
    random_lengths,
    window_rows,
)

from fast_sae.chat.kinds import Kind
from fast_sae.features import kept as kept_room
from fast_sae.features.kept import KeptWindows

M = 5
LENGTHS = random_lengths(40)
ROWS = sum(LENGTHS)
LATENTS = random_latents(ROWS, M, share=0.1)
KINDS = np.random.default_rng(1).integers(0, len(Kind), ROWS).tolist()
LOOKED_AT = LATENTS * np.isin(KINDS, TRAINED)[:, None]
WINDOWS = window_rows(LENGTHS, 3)
PEAKS = peaks_by(LOOKED_AT, WINDOWS)
SEED = [7, 1]
DRAWN = np.random.default_rng(SEED).random(len(WINDOWS))


def kept(parts, latents: int = M, seed: list[int] = SEED, prune_at: int | None = None, **settings) -> KeptWindows:
    windows = KeptWindows(latents, features_settings(**settings), seed)
    if prune_at is not None:
        windows._prune_at = prune_at
    for part in parts:
        windows.add(part)
    return windows


@cache
def split(batch_rows: int = 1000):
    return encoded(LATENTS, LENGTHS, KINDS, batch_rows=batch_rows)


@pytest.mark.parametrize("batch_rows", BATCH_ROWS)
@pytest.mark.parametrize("n", [1, 3, 12])
def test_the_top_windows_are_those_a_sort_puts_first_and_of_equals_the_earlier(batch_rows, n):
    found = kept(split(batch_rows), top_windows=n).top
    for latent in range(M):
        peaks = PEAKS[:, latent]
        order = np.lexsort((np.arange(len(peaks)), -peaks))
        expected = [int(w) for w in order if peaks[w] > 0][:n]
        assert found.of(latent)[0].tolist() == expected


@pytest.mark.parametrize("batch_rows", [1, 1000])
def test_of_windows_equally_strong_the_first_are_kept_though_stronger_ones_come_late(batch_rows):
    latents = [[1], [1], [1], [2], [1], [3], [1]]
    parts = encoded(latents, [1] * 7, batch_rows=batch_rows)
    assert kept(parts, 1, top_windows=4).top.of(0)[0].tolist() == [5, 3, 0, 1]


@pytest.mark.parametrize("batch_rows", BATCH_ROWS)
@pytest.mark.parametrize("n", [10, 15])
def test_the_windows_drawn_where_it_fires_are_those_of_the_smallest_numbers(batch_rows, n):
    found = kept(split(batch_rows), sampled_windows=n).firing
    for latent in range(M):
        firing = np.flatnonzero(PEAKS[:, latent])
        expected = firing[np.argsort(DRAWN[firing])][:n]
        windows = found.of(latent)[0]
        assert sorted(windows.tolist()) == sorted(expected.tolist())
        assert windows.tolist() == sorted(expected.tolist(), key=lambda w: (-PEAKS[w, latent], w))


@pytest.mark.parametrize("batch_rows", BATCH_ROWS)
@pytest.mark.parametrize("n", [1, 4, 30])
def test_the_silent_windows_are_those_drawn_first_in_which_it_is_silent(batch_rows, n):
    found = kept(split(batch_rows), silent_windows=n).silent()
    pool = np.argsort(DRAWN)[: 20 * n]
    assert len(found) == M
    for latent in range(M):
        silent = pool[PEAKS[pool, latent] == 0]
        assert found[latent].tolist() == silent[:n].tolist()
        assert len(found[latent]) > 0


def test_a_latent_that_always_fires_has_no_silent_window_and_a_dead_one_no_other():
    latents = np.column_stack([np.ones(30), np.zeros(30)])
    found = kept(encoded(latents, [30]), 2)
    assert [len(windows) for windows in found.silent()] == [0, 4]
    assert [len(found.top.of(latent)[0]) for latent in (0, 1)] == [2, 0]
    assert [len(found.firing.of(latent)[0]) for latent in (0, 1)] == [10, 0]


def test_kinds_that_are_not_trained_on_make_no_window_fire():
    found = kept(encoded([[5], [5]], [1, 1], [Kind.BEGIN_OF_TEXT, Kind.CONTENT]), 1)
    assert found.top.of(0)[0].tolist() == [1]
    assert found.silent()[0].tolist() == [0]


@pytest.mark.parametrize("which", ["firing", "silent"])
def test_every_window_is_drawn_as_often_as_any_other(which):
    """60 windows, each a third (or a sixth) of the time: the sum of squares follows χ² of 59 degrees."""
    n_windows, seeds = 60, 120
    parts = encoded(np.full((n_windows, 1), float(which == "firing")), [1] * n_windows)
    times = np.zeros(n_windows)
    for seed in range(seeds):
        found = kept(parts, 1, [seed, 0], sampled_windows=20, silent_windows=10)
        windows = found.firing.of(0)[0] if which == "firing" else found.silent()[0]
        times[windows] += 1
    share = (20 if which == "firing" else 10) / n_windows
    assert times.sum() == pytest.approx(seeds * share * n_windows)
    chi2 = ((times - seeds * share) ** 2 / (seeds * share * (1 - share))).sum() * (1 - 1 / n_windows)
    assert 59 - 4 * (2 * 59) ** 0.5 < chi2 < 59 + 4 * (2 * 59) ** 0.5


def test_the_splits_draw_each_for_itself():
    one, other = (kept(split(), seed=[7, n]).firing.window for n in (0, 1))
    assert one.tolist() != other.tolist()


@pytest.mark.parametrize("batch_rows", BATCH_ROWS)
@pytest.mark.parametrize("which", ["top", "firing"])
def test_what_a_latent_does_in_a_kept_window_is_what_its_tokens_encode_to(batch_rows, which):
    found = getattr(kept(split(batch_rows), top_windows=20), which)
    for latent in range(M):
        windows, activations = found.of(latent)
        assert len(windows) > 5
        for window, row in zip(windows, activations, strict=True):
            expected = np.zeros(3)
            expected[: len(WINDOWS[window])] = LOOKED_AT[WINDOWS[window], latent]
            assert row.tolist() == expected.tolist()


def all_kept(found: KeptWindows) -> set[int]:
    shown = {window for best in (found.top, found.firing) for latent in range(M) for window in best.of(latent)[0]}
    return shown | {window for windows in found.silent() for window in windows}


@pytest.mark.parametrize("batch_rows", BATCH_ROWS)
@pytest.mark.parametrize("prune_at", [0, 30])
def test_the_tokens_of_every_kept_window_are_known(batch_rows, prune_at):
    found = kept(split(batch_rows), prune_at=prune_at, silent_windows=1)
    example = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    position = np.concatenate([np.arange(n) for n in LENGTHS])
    assert len(all_kept(found)) > 30
    for window in all_kept(found):
        tokens, rows = found.tokens[window], WINDOWS[window]
        assert (tokens.example, tokens.start) == (example[rows[0]], position[rows[0]])
        assert tokens.token_ids.tolist() == list(rows)
        assert tokens.kinds.tolist() == [KINDS[row] for row in rows]


def test_pruning_changes_nothing_that_is_kept():
    pruned, whole = (kept(split(7), prune_at=n, silent_windows=1) for n in (0, 10**9))
    assert len(pruned.tokens) < len(whole.tokens)
    for latent in range(M):
        assert pruned.top.of(latent)[0].tolist() == whole.top.of(latent)[0].tolist()
        assert pruned.firing.of(latent)[0].tolist() == whole.firing.of(latent)[0].tolist()
        assert pruned.silent()[latent].tolist() == whole.silent()[latent].tolist()


def test_as_many_tokens_are_held_of_a_long_split_as_of_a_short_one():
    latents = random_latents(1500, 2, share=0.5)
    latents[:, 0] *= 1 + np.arange(1500) / 1000  # stronger and stronger, so that windows are taken to the end
    windows = KeptWindows(2, features_settings(silent_windows=1, window_tokens=1), SEED)
    most = []
    for part in encoded(latents, [1] * 1500, window_tokens=1, batch_rows=20):
        windows.add(part)
        most.append(len(windows.tokens))
    needed = 2 * (2 + 10) + kept_room._POOL
    assert max(most) <= 2 * needed + 20
    assert len(windows._pool.windows()) <= kept_room._POOL


def test_nothing_that_is_kept_is_a_view_that_would_keep_its_batch():
    found = kept(split(7))
    held = [latents for _, latents in found._pool._held.values()]
    tokens = [array for window in found.tokens.values() for array in (window.token_ids, window.kinds)]
    assert len(held) > 40
    assert all(array.base is None for array in [*held, *tokens])
