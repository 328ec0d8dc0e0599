import numpy as np
import pytest
from collect_samples import encoded, random_latents, random_lengths

from fast_sae.chat.kinds import KIND_NAMES, Kind
from fast_sae.features.firing import QUANTILES, FiringSums, bin_edges

BOT, SCAFFOLD, ROLE, CONTENT, END = Kind


def summed(parts, M: int) -> FiringSums:
    sums = FiringSums(M)
    for part in parts:
        sums.add(part)
    return sums


# two examples, of windows (0 1 2)(3) and (4 5); latent 2 is dead
LATENTS = [[9, 9, 9], [2, 0, 0], [4, 0, 0], [6, 1, 0], [0, 3, 0], [0, 0, 0]]
KINDS = [BOT, ROLE, CONTENT, CONTENT, CONTENT, END]


@pytest.fixture
def sums():
    return summed(encoded(LATENTS, [4, 2], KINDS), 3)


def test_tokens_windows_and_examples_are_counted(sums):
    assert (sums.tokens, sums.windows, sums.examples) == (5, 3, 2)
    assert sums.fired.tolist() == [3, 2, 0]
    assert sums.windows_fired.tolist() == [2, 2, 0]
    assert sums.examples_fired.tolist() == [1, 2, 0]


def test_strength_is_told_where_a_latent_fires(sums):
    assert sums.mean.tolist() == [4, 2, 0]
    assert sums.largest.tolist() == [6, 3, 0]


def test_firings_are_told_by_the_kind_of_their_token(sums):
    by_kind = dict(zip(KIND_NAMES, sums.by_kind.T.tolist(), strict=True))
    nothing = [0, 0, 0]
    assert by_kind == {
        "begin_of_text": nothing,
        "scaffold": nothing,
        "role_name": [1, 0, 0],
        "content": [2, 2, 0],
        "end_of_turn": nothing,
    }


def test_bins_begin_at_powers_of_two_and_divide_a_doubling_evenly():
    edges = bin_edges()
    assert (edges[0], edges[320], edges[336], edges[-1]) == (2.0**-20, 1.0, 2.0, 2.0**20)
    np.testing.assert_allclose(edges[1:] / edges[:-1], 2 ** (1 / 16))


@pytest.mark.parametrize(
    ("value", "bin"),
    [
        (1.0, 320),
        (0.9995, 319),
        (1.04, 320),
        (1.05, 321),
        (2.0, 336),
        (2.0**-20, 0),
        (2.0**-30, 0),
        (2.0**19.97, 639),
        (2.0**20, 639),
        (2.0**40, 639),
    ],
)
def test_each_activation_lies_in_its_bin_and_those_beyond_the_ends_in_the_last_one_there(value, bin):
    found = summed(encoded([[value]], [1]), 1)
    assert np.flatnonzero(found.histogram[0]).tolist() == [bin]
    assert found.histogram.sum() == 1
    if 0 < bin < 639:
        assert bin_edges()[bin] <= value < bin_edges()[bin + 1]


def test_the_histogram_holds_every_firing():
    latents = random_latents(300, 4)
    found = summed(encoded(latents, [300]), 4)
    assert found.histogram.sum(1).tolist() == (latents > 0).sum(0).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_quantiles_are_numpys_to_a_fortieth_where_there_are_many_firings(seed):
    random = np.random.default_rng(seed)
    latents = np.column_stack([random.exponential(3, 20_000), random.lognormal(0, 2, 20_000), random.random(20_000)])
    found = summed(encoded(latents, [20_000], window_tokens=500), 3)
    expected = np.quantile(latents, QUANTILES, axis=0).T
    np.testing.assert_allclose(found.quantiles(), expected, rtol=0.022)


def test_quantiles_of_few_equal_values_lie_in_their_bin():
    """The worst case: all at the lower edge of a bin."""
    latents = [[1.0]] * 99 + [[50.0]]
    found = summed(encoded(latents, [100]), 1).quantiles()[0]
    assert (found >= 1).all()
    assert (found <= 2 ** (1 / 16)).all()


def test_quantiles_rise_and_end_at_the_largest():
    found = summed(encoded(random_latents(100, 5), [100]), 5)
    quantiles = found.quantiles()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert (quantiles[:, -1] <= found.largest).all()
    one = summed(encoded([[0.0, 3.0]], [1]), 2).quantiles()
    assert one[0].tolist() == [0] * 5
    np.testing.assert_allclose(one[1], 3, rtol=0.045)
    assert one[1].max() == 3


@pytest.mark.parametrize("value", [2.0**-25, 2.0**30])
def test_quantiles_of_values_beyond_the_ends_are_no_nonsense(value):
    found = summed(encoded([[value]], [1]), 1)
    assert found.largest.tolist() == found.total.tolist() == [value]
    assert (found.quantiles() > 0).all()
    assert (found.quantiles() <= value).all()


@pytest.mark.parametrize("border", [0, 1, 7, 20])
def test_two_parts_merged_are_the_whole(border):
    lengths = random_lengths(20)
    rows = sum(lengths)
    latents = random_latents(rows, 4)
    kinds = np.random.default_rng(0).integers(0, 5, rows).tolist()
    parts = encoded(latents, lengths, kinds, batch_rows=1)
    assert len(parts) == 20
    whole = summed(encoded(latents, lengths, kinds), 4)
    merged = summed(parts[:border], 4)
    merged.merge(summed(parts[border:], 4))
    assert vars(merged).keys() == vars(whole).keys()
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(merged, name), value, err_msg=name)


def test_a_split_in_which_nothing_fires_is_zeros():
    found = summed(encoded([[0.0, -1.0]], [1]), 2)
    assert (found.tokens, found.windows, found.examples) == (1, 1, 1)
    for counts in (found.fired, found.windows_fired, found.examples_fired, found.mean, found.quantiles()):
        assert not counts.any()
