import numpy as np
import pytest

from fast_sae.chat.kinds import SPECIAL_KINDS, Kind
from fast_sae.evaluation.reconstruction import ReconstructionSums, cell_of, population

EVERY_KIND = tuple(Kind)
CONTENT = (int(Kind.CONTENT),)


def summed(x, reconstruction, *, example=None, kind=None, shared=None, active=None, centre=0.0, parts=1):
    """Sums over rows x and their reconstruction (of the whole SAE, or one for each prefix)."""
    x = np.asarray(x, float)
    n = len(x)
    prefixes = np.asarray(reconstruction, float).reshape(-1, *x.shape)
    example = np.zeros(n, int) if example is None else np.array(example)
    kind = np.full(n, Kind.CONTENT) if kind is None else np.array(kind)
    shared = np.zeros(n, bool) if shared is None else np.array(shared)
    active = np.ones(n, int) if active is None else np.array(active)
    sums = ReconstructionSums(int(example.max()) + 1, x.shape[1], len(prefixes))
    errors = np.square(prefixes - x).sum(2)
    for part in np.array_split(np.arange(n), parts):
        cells = cell_of(kind[part].astype(np.uint8), shared[part])
        sums.add(example[part], cells, errors[:, part], (x - centre)[part], active[part])
    return sums


def test_the_micro_mean_weighs_tokens_and_the_macro_mean_examples():
    # example 0 has one token, off by (2, 0); example 1 has three, one of them off by (0, 6)
    x = [[0, 0], [0, 0], [2, 2], [4, 4]]
    reconstruction = [[2, 0], [0, 0], [2, 2], [4, 10]]
    found = summed(x, reconstruction, example=[0, 1, 1, 1]).measure(population(CONTENT))
    assert (found.rows, found.examples) == (4, 2)
    assert found.mse == 40 / (4 * 2)
    assert found.mse_macro == (4 / 1 + 36 / 3) / 2 / 2


def test_fvu_is_one_ratio_of_whole_sums():
    # x = 0, 2, 4, 6: squared deviations from the mean 3 are 9 + 1 + 1 + 9; squared errors 1 + 0 + 0 + 4
    found = summed([[0], [2], [4], [6]], [[1], [2], [4], [8]], parts=2).measure(population(CONTENT))
    assert found.fvu == (0.25,)


def test_reconstructing_the_mean_leaves_all_the_variance_and_a_constant_offset_is_an_error():
    x = np.array([[1.0, 0.0], [3.0, 4.0]])
    assert summed(x, [[2, 2], [2, 2]]).measure(population(CONTENT)).fvu == (1.0,)
    assert summed(x, x + 1).measure(population(CONTENT)).fvu == (0.4,)  # 4 / 10, where a centred residual gives 0
    assert summed(x, x).measure(population(CONTENT)).fvu == (0.0,)


def test_fvu_is_told_for_each_prefix_and_the_errors_of_the_whole_come_last():
    x = [[0], [2], [4], [6]]
    found = summed(x, [[[3], [3], [3], [3]], [[1], [2], [4], [8]]]).measure(population(CONTENT))
    assert found.fvu == (1.0, 0.25)
    assert found.mse == 5 / 4


@pytest.mark.parametrize("offset", [0.0, 30.0, 3000.0])
def test_fvu_beside_a_large_mean_equals_two_passes_in_float64(offset):
    random = np.random.default_rng(0)
    x = (random.normal(size=(4096, 8)) * 0.01 + offset).astype(np.float16 if offset < 100 else np.float32).astype(float)
    reconstruction = x + random.normal(size=x.shape) * 0.003
    centre = x.mean(0) + 0.02  # what b_dec is: near the mean, not on it
    expected = np.square(reconstruction - x).sum() / np.square(x - x.mean(0)).sum()
    found = summed(x, reconstruction, centre=centre, parts=7).measure(population(CONTENT))
    assert found.fvu[0] == pytest.approx(expected, rel=1e-9)


def test_the_centre_that_is_subtracted_does_not_matter():
    x = np.random.default_rng(0).normal(size=(50, 3))
    found = [summed(x, x * 0.9, centre=centre).measure(population(CONTENT)).fvu[0] for centre in (0.0, 1.0, -20.0)]
    assert found == pytest.approx([found[0]] * 3, rel=1e-9)


@pytest.mark.parametrize("centre", [0.0, 0.1, 2.5])
@pytest.mark.parametrize("value", [0.0, 0.1, 3000.1])
def test_rows_that_do_not_vary_have_no_fvu_but_an_mse(value, centre):
    x = np.full((7, 3), value)
    found = summed(x, x + 0.5, centre=centre).measure(population(CONTENT))
    assert found.fvu == (None,)
    assert found.mse == pytest.approx(0.25)


def test_one_row_does_not_vary():
    assert summed([[1, 2]], [[1, 2]]).measure(population(CONTENT)).fvu == (None,)


def test_l0_is_the_mean_number_of_active_latents():
    assert summed([[0]] * 4, [[0]] * 4, active=[0, 3, 8, 2]).measure(population(CONTENT)).l0 == 13 / 4


MIXED = {
    "x": [[9], [1], [3], [5], [7], [2]],
    "reconstruction": [[9], [2], [3], [7], [7], [5]],
    "example": [0, 0, 0, 1, 1, 1],
    "kind": [Kind.BEGIN_OF_TEXT, Kind.SCAFFOLD, Kind.CONTENT, Kind.CONTENT, Kind.CONTENT, Kind.END_OF_TURN],
    "shared": [True, True, False, False, False, False],
    "active": [1, 2, 3, 4, 5, 6],
}


@pytest.mark.parametrize(
    ("kinds", "shared_prefix", "rows", "error", "active"),
    [
        (EVERY_KIND, True, 6, 14, 21),
        (EVERY_KIND, False, 4, 13, 18),
        (CONTENT, True, 3, 4, 12),
        (SPECIAL_KINDS, True, 2, 10, 8),
        (SPECIAL_KINDS, False, 1, 9, 6),
        ((Kind.BEGIN_OF_TEXT,), True, 1, 0, 1),
    ],
    ids=["all", "all without the shared prefix", "content", "special", "special that vary", "begin of text"],
)
def test_a_population_holds_its_kinds_with_or_without_the_shared_prefix(kinds, shared_prefix, rows, error, active):
    kinds = tuple(int(kind) for kind in kinds)
    found = summed(**MIXED).measure(population(kinds, shared_prefix=shared_prefix))
    assert (found.rows, found.mse, found.l0) == (rows, error / rows, active / rows)


def test_the_variance_of_a_population_is_around_its_own_mean():
    # content is 3, 5, 7 around 5: 8; errors 0 + 4 + 0
    assert summed(**MIXED, centre=2.0).measure(population(CONTENT)).fvu[0] == pytest.approx(0.5)


def test_an_example_without_such_rows_does_not_count():
    found = summed(**MIXED).measure(population((int(Kind.SCAFFOLD),)))
    assert (found.examples, found.mse_macro) == (1, 1.0)


@pytest.mark.parametrize("kinds", [(int(Kind.ROLE_NAME),), ()], ids=["none there", "none asked"])
def test_a_population_without_rows_has_no_metrics(kinds):
    assert summed(**MIXED).measure(population(kinds)) is None


def test_a_population_of_the_shared_prefix_alone_has_none_without_it():
    sums, kinds = summed(**MIXED), (int(Kind.SCAFFOLD), int(Kind.BEGIN_OF_TEXT))
    assert sums.measure(population(kinds)).rows == 2
    assert sums.measure(population(kinds, shared_prefix=False)) is None


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_adding_in_parts_equals_adding_at_once(parts):
    for kinds in (EVERY_KIND, CONTENT):
        cells = population(tuple(int(kind) for kind in kinds))
        assert summed(**MIXED, parts=parts).measure(cells) == summed(**MIXED).measure(cells)
