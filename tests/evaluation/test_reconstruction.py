import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest

from fast_sae.chat.kinds import SPECIAL_KINDS, Kind
from fast_sae.evaluation.cells import N_CELLS, cell_of, only_outliers, population, without_outliers
from fast_sae.evaluation.reconstruction import Reconstruction, ReconstructionSums
from fast_sae.statistics import resample_counts

EVERY_KIND = tuple(Kind)
CONTENT = (int(Kind.CONTENT),)


@dataclass
class Sums:
    """Sums, and what they measure of a population."""

    sums: ReconstructionSums

    def measure(self, cells) -> Reconstruction | None:
        return self.sums.measure(cells, confidence=0.9)


def summed(
    x,
    reconstruction,
    *,
    example=None,
    kind=None,
    shared=None,
    outlier=None,
    active=None,
    centre=0.0,
    parts=1,
    borders=None,
    resamples=3,
) -> Sums:
    """Sums over rows x and their reconstruction (of the whole SAE, or one for each prefix).

    `parts` are added one after the other; between `borders` the rows go to accumulators of their own, merged at last.
    """
    x = np.asarray(x, float)
    n = len(x)
    prefixes = np.asarray(reconstruction, float).reshape(-1, *x.shape)
    example = np.zeros(n, int) if example is None else np.array(example)
    kind = np.full(n, Kind.CONTENT) if kind is None else np.array(kind)
    shared = np.zeros(n, bool) if shared is None else np.array(shared)
    outlier = np.zeros(n, bool) if outlier is None else np.array(outlier)
    active = np.ones(n, int) if active is None else np.array(active)
    counts = resample_counts(int(example.max()) + 1, resamples, seed=0)
    errors = np.square(prefixes - x).sum(2)
    found = [
        ReconstructionSums(counts, np.full(x.shape[1], centre), len(prefixes)) for _ in range(len(borders or ()) + 1)
    ]
    for sums, whole in zip(found, np.split(np.arange(n), borders or []), strict=True):
        for part in np.array_split(whole, parts):
            cells = cell_of(kind[part].astype(np.uint8), shared[part], outlier[part])
            sums.add(example[part], cells, errors[:, part], (x - centre)[part], active[part])
    for other in found[1:]:
        found[0].merge(other)
    return Sums(found[0])


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


def test_cells_part_rows_by_kind_prefix_and_outlier():
    kind, shared, outlier = np.meshgrid(np.arange(len(Kind), dtype=np.uint8), [False, True], [False, True])
    cells = cell_of(kind.ravel(), shared.ravel(), outlier.ravel())
    assert sorted(cells) == list(range(N_CELLS))
    assert set(cells[outlier.ravel()]) == set(np.flatnonzero(only_outliers(np.ones(N_CELLS, bool))))
    assert set(cells[~shared.ravel()]) == set(np.flatnonzero(population(tuple(range(len(Kind))), shared_prefix=False)))


def test_without_its_outliers_a_population_has_their_own_mean_and_errors():
    # without 101 and its error of 0: 0, 2, 4 around 2 and errors 1 + 0 + 1
    sums = summed([[0], [2], [101], [4]], [[1], [2], [101], [5]], outlier=[False, False, True, False], centre=50.0)
    assert sums.measure(without_outliers(population(CONTENT))).fvu == (2 / 8,)
    assert sums.measure(without_outliers(population(CONTENT))).rows == 3


def test_the_spread_tells_the_mean_the_variance_and_what_outliers_carry():
    # (0, 3), (4, 3), (2, 3), (2, 19): mean (2, 7), deviations 4 + 16, 4 + 16, 16, 144
    x = [[0, 3], [4, 3], [2, 3], [2, 19]]
    found = summed(x, x, outlier=[False, False, False, True], centre=1.0).sums.spread(population(CONTENT))
    assert found.mean_norm == pytest.approx(53**0.5)
    assert found.variance == 200 / 4
    assert (found.outliers, found.outlier_share) == (1, 144 / 200)


@pytest.mark.parametrize("borders", [[1], [3], [5], [2, 3], [1, 2, 3, 4, 5], [0, 6]], ids=str)
def test_merged_sums_equal_the_sums_of_the_whole_whatever_the_cut(borders):
    whole, merged = summed(**MIXED), summed(**MIXED, borders=borders)
    for name in ("rows", "squared_error", "sums"):
        np.testing.assert_array_equal(getattr(merged.sums, name), getattr(whole.sums, name))
    for kinds in (EVERY_KIND, CONTENT, tuple(int(kind) for kind in SPECIAL_KINDS)):
        assert merged.measure(population(kinds)) == whole.measure(population(kinds))


def test_measuring_takes_the_memory_of_a_few_cells_and_not_of_all():
    cells, width, resamples = N_CELLS, 256, 400
    kind, shared, outlier = np.unravel_index(np.arange(cells), (len(Kind), 2, 2))
    x = np.random.default_rng(0).normal(size=(cells, width))
    flags = {"shared": shared == 1, "outlier": outlier == 1}
    sums = summed(x, x * 0.9, example=np.arange(cells), kind=kind, **flags, resamples=resamples)
    tracemalloc.start()
    found = sums.measure(population(tuple(int(kind) for kind in EVERY_KIND)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.rows == cells
    assert peak < 4 * 8 * resamples * width


def test_sums_of_other_resamples_or_another_centre_are_not_merged():
    for other in (summed(**MIXED, resamples=2), summed(**MIXED, centre=1.0)):
        with pytest.raises(AssertionError):
            summed(**MIXED).sums.merge(other.sums)


def test_each_resample_is_the_data_set_in_which_its_examples_stand_so_often():
    random = np.random.default_rng(0)
    example, x = np.repeat(np.arange(5), [3, 1, 4, 2, 5]), random.normal(size=(15, 3)) + 7
    reconstruction, active = x + random.normal(size=x.shape) * 0.3, random.integers(0, 9, 15)
    found = summed(x, reconstruction, example=example, active=active, centre=6.5, resamples=40)
    metrics = {"mse": [], "mse_macro": [], "fvu": [], "l0": []}
    for counts in resample_counts(5, 40, seed=0)[1:]:
        of_row = counts[example]
        taken = np.repeat(np.arange(15), of_row)
        errors = np.square(reconstruction - x).sum(1)
        variance = np.square(x[taken] - x[taken].mean(0)).sum()
        metrics["mse"].append(errors[taken].mean() / 3)
        metrics["fvu"].append(errors[taken].sum() / variance)
        metrics["l0"].append(active[taken].mean())
        by_example = [errors[example == i].mean() / 3 for i in range(5)]
        metrics["mse_macro"].append(np.average(by_example, weights=counts))
    intervals = found.measure(population(CONTENT)).intervals
    assert intervals.keys() == metrics.keys()
    for name, values in metrics.items():
        assert intervals[name] == pytest.approx(np.quantile(values, [0.05, 0.95])), name


def test_a_resample_without_such_rows_is_left_out_of_the_interval():
    # only example 0 of 2 has a role name; a quarter of the resamples lack it
    kind = [Kind.ROLE_NAME, Kind.CONTENT, Kind.CONTENT]
    found = summed([[1], [2], [3]], [[3], [2], [3]], example=[0, 0, 1], kind=kind, resamples=50)
    assert found.measure(population((int(Kind.ROLE_NAME),))).intervals["mse"] == (4, 4)


def test_rows_that_do_not_vary_have_no_interval_of_fvu():
    found = summed([[3]] * 4, [[4]] * 4, example=[0, 0, 1, 1], resamples=20).measure(population(CONTENT))
    assert "fvu" not in found.intervals
    assert found.intervals["mse"] == (1, 1)


def simulated(random, examples=80):
    """Examples that differ in length, in where they lie and in how well they are reconstructed; population FVU 0.2."""
    lengths = random.integers(5, 40, examples)
    example = np.repeat(np.arange(examples), lengths)
    centre, quality = random.normal(size=(examples, 3)), random.gamma(2, 0.5, examples)
    x = 20 + centre[example] + random.normal(size=(len(example), 3))
    error = random.normal(size=x.shape) * np.sqrt(0.4 * quality[example])[:, None]
    return x, x + error, example


def coverage(random, repeats, cluster_of):
    """How often the interval holds the true FVU, 0.4 / 2, when `cluster_of` says what is resampled."""
    covered = 0
    for _ in range(repeats):
        x, reconstruction, example = simulated(random)
        sums = summed(x, reconstruction, example=cluster_of(example), centre=19.0, resamples=150)
        low, high = sums.measure(population(CONTENT)).intervals["fvu"]
        covered += low <= 0.2 <= high
    return covered / repeats


def test_intervals_by_example_cover_the_true_fvu_as_often_as_they_say():
    """90 %; 1.96 standard errors of 150 repeats are 5 points. Each resample has its own mean and its own variance."""
    assert 0.85 <= coverage(np.random.default_rng(0), 150, lambda example: example) <= 0.95


def test_intervals_by_row_would_claim_too_much():
    assert coverage(np.random.default_rng(0), 30, lambda example: np.arange(len(example))) < 0.7
