import numpy as np
import pytest
from collect_samples import (
    BATCH_ROWS,
    TRAINED,
    encoded,
    peaks_by,
    random_latents,
    random_lengths,
    split_source,
    window_rows,
)

from fast_sae.chat.kinds import Kind
from fast_sae.features.encoded import number_windows, whole_examples
from fast_sae.features.tables import stored_number

BOT, SCAFFOLD, ROLE, CONTENT, END = Kind
LENGTHS = [3, 1, 8, 2, 2, 1]


def joined(parts, name: str) -> np.ndarray:
    return np.concatenate([getattr(part, name) for part in parts])


@pytest.mark.parametrize("rows", [*BATCH_ROWS, 2])
@pytest.mark.parametrize("lengths", [LENGTHS, [1], [9], [1, 1, 1], [7, 7]], ids=str)
def test_no_example_is_cut_and_every_row_comes_once_in_order(rows, lengths):
    source = split_source(np.arange(2.0 * sum(lengths)).reshape(-1, 2), lengths)
    parts = list(whole_examples(source, rows))
    for name in ("activations", "example", "position", "token_id", "kind"):
        np.testing.assert_array_equal(joined(parts, name), getattr(source.rows, name))
    seen = [set(part.example.tolist()) for part in parts]
    assert all(len(part) for part in parts)
    assert sum(map(len, seen)) == len(set.union(*seen)) == len(lengths)


def test_a_part_holds_little_more_than_was_asked():
    lengths = random_lengths(200, longest=5)
    source = split_source(np.zeros((sum(lengths), 1)), lengths)
    assert max(map(len, whole_examples(source, 20))) < 20 + 5


@pytest.mark.parametrize(
    ("window_tokens", "numbers"),
    [
        (1, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (3, [0, 0, 0, 1, 2, 3, 3, 3, 4]),
        (4, [0, 0, 0, 0, 1, 2, 2, 2, 2]),
        (100, [0, 0, 0, 0, 1, 2, 2, 2, 2]),
    ],
)
def test_windows_are_numbered_through_and_hold_tokens_of_one_example(window_tokens, numbers):
    rows = split_source(np.zeros((9, 1)), [4, 1, 4]).rows
    assert number_windows(rows, window_tokens).tolist() == numbers


def test_neighbouring_examples_of_one_token_are_windows_of_their_own():
    """Their position is the same, as is that of an example as long as a window and the next."""
    assert number_windows(split_source(np.zeros((3, 1)), [1, 1, 1]).rows, 5).tolist() == [0, 1, 2]
    assert number_windows(split_source(np.zeros((4, 1)), [2, 2]).rows, 2).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("batch_rows", BATCH_ROWS)
@pytest.mark.parametrize("window_tokens", [1, 3, 50])
def test_window_numbers_go_on_from_batch_to_batch(batch_rows, window_tokens):
    parts = encoded(np.zeros((17, 1)), LENGTHS, window_tokens=window_tokens, batch_rows=batch_rows)
    rows = window_rows(LENGTHS, window_tokens)
    expected = [number for number, window in enumerate(rows) for _ in window]
    assert joined(parts, "window").tolist() == expected
    assert [number for part in parts for number in part.windows] == list(range(len(rows)))


@pytest.mark.parametrize("batch_rows", BATCH_ROWS)
def test_there_is_an_entry_for_each_latent_above_zero_and_no_other(batch_rows):
    latents = [[1, 0, -2], [0, 0, 0], [0, 3, 4], [-1, -1, 5]]
    parts = encoded(latents, [1, 3], batch_rows=batch_rows)
    starts = np.cumsum([0, *(len(part.tokens) for part in parts)])
    found = [
        (int(row + start), int(latent), float(value))
        for part, start in zip(parts, starts, strict=False)
        for row, latent, value in zip(part.row, part.latent, part.value, strict=True)
    ]
    assert sorted(found) == [(0, 0, 1.0), (2, 1, 3.0), (2, 2, 4.0), (3, 2, 5.0)]


def test_tokens_of_other_kinds_have_no_entry_but_stand_in_their_window():
    (part,) = encoded([[9, 9], [1, 0], [0, 2]], [3], [BOT, CONTENT, SCAFFOLD])
    assert part.trained.tolist() == [False, True, True]
    assert part.row.tolist() == [1, 2]
    assert part.windows == range(1)
    (content,) = encoded([[9, 9], [1, 0], [0, 2]], [3], [BOT, CONTENT, SCAFFOLD], trained=(int(CONTENT),))
    assert content.row.tolist() == [1]


def test_values_are_those_of_the_sae_with_eleven_bits():
    value = np.random.default_rng(0).random((6, 2)) * 10
    (part,) = encoded(value, [6])
    np.testing.assert_array_equal(part.value, stored_number(value[part.row, part.latent]))
    np.testing.assert_allclose(part.value, value[part.row, part.latent], rtol=2**-11)


@pytest.mark.parametrize("batch_rows", BATCH_ROWS)
@pytest.mark.parametrize("by", ["window", "example"])
def test_peaks_are_what_a_dictionary_gathers(batch_rows, by):
    lengths = random_lengths(20)
    latents = random_latents(sum(lengths), 5)
    kinds = np.random.default_rng(1).integers(0, 5, len(latents))
    rows = window_rows(lengths, 3 if by == "window" else 100)
    wanted = peaks_by(latents * np.isin(kinds, TRAINED)[:, None], rows)
    expected = {(g, k): wanted[g, k] for g, k in zip(*np.nonzero(wanted), strict=True)}
    found = {}
    for part in encoded(latents, lengths, kinds.tolist(), batch_rows=batch_rows):
        grouped = getattr(part, f"by_{by}")
        pairs = list(zip(grouped.group.tolist(), grouped.latent.tolist(), strict=True))
        assert pairs == sorted(set(pairs))
        found |= dict(zip(pairs, grouped.peak.tolist(), strict=True))
        ends = [*grouped.start, len(part.row)][1:]
        for pair, peak, start, end in zip(pairs, grouped.peak, grouped.start, ends, strict=True):
            here = grouped.order[start:end]
            assert set(part.latent[here].tolist()) == {pair[1]}
            assert part.value[here].max() == peak
            assert (np.diff(part.row[here]) > 0).all()
    assert found == expected


def test_a_batch_in_which_nothing_fires_has_neither_entries_nor_peaks():
    (part,) = encoded([[-1, 0], [0, 0]], [2])
    assert (len(part.row), len(part.latent), len(part.value)) == (0, 0, 0)
    for grouped in (part.by_window, part.by_example):
        assert [len(column) for column in vars(grouped).values()] == [0] * 5
    assert part.windows == range(1)
