import numpy as np
import pytest
import torch
from sae_samples import axis_sae
from samples import array_source, evaluate_settings, runtime

from fast_sae.activations.held import Held
from fast_sae.chat.kinds import Kind
from fast_sae.evaluation.cells import N_CELLS, cell_of
from fast_sae.evaluation.evaluate import evaluate_sae
from fast_sae.evaluation.sinks import GiantCounts, Norms, Scale

EVERY_CELL = np.ones(N_CELLS, bool)


def norms(norm, deviation, borders=()):
    norm, deviation = np.array(norm, float), np.array(deviation, float)
    found = Norms()
    for part in np.split(np.arange(len(norm)), borders):
        other = Norms()
        other.add(norm[part], deviation[part])
        found.merge(other)
    return found


def test_usual_is_the_median_norm_and_an_outlier_lies_beyond_the_99th_percentile():
    found = norms(np.arange(1, 102), np.arange(101)).scale()
    assert found.median_norm == 51
    assert found.outliers(np.array([98.9, 99.1])).tolist() == [False, True]


@pytest.mark.parametrize("borders", [[1], [50], [3, 4, 90], [0, 101]], ids=str)
def test_what_is_usual_does_not_hang_on_the_cut(borders):
    random = np.random.default_rng(0).gamma(2, size=(2, 101))
    assert norms(*random, borders).scale() == norms(*random).scale()


@pytest.mark.parametrize("rounding", [1 - 1e-7, 1.0, 1 + 1e-7])
def test_equal_rows_at_the_border_are_outliers_together_whatever_the_last_digit(rounding):
    """One constant row in each example of 64 tokens is 1.6 % of the rows: the 99th percentile lies among them."""
    deviation = np.where(np.arange(6400) % 64 == 0, 5000.0, 1.0)
    assert norms(deviation, deviation).scale().outliers(deviation * rounding).sum() == 100


def test_of_a_large_split_evenly_spaced_rows_say_what_is_usual(monkeypatch):
    """So many norms are sorted at most as memory is set aside for, whatever the split's size."""
    monkeypatch.setattr("fast_sae.evaluation.measure.USUAL_ROWS", 50)
    sorted_ = []
    monkeypatch.setattr("fast_sae.evaluation.sinks.np.median", lambda x, **_: sorted_.append(len(x)) or np.sort(x)[0])
    found = report([[1.0, i % 3] for i in range(150)], [Kind.CONTENT] * 150)
    assert sorted_ == [50]
    assert lines(found)["trained"]["largest_norm_over_median"] == pytest.approx(5**0.5)


def test_without_rows_nothing_is_unusual():
    scale = Norms().scale()
    assert not scale.outliers(np.array([0.0, 1e30])).any()
    found = GiantCounts(scale.median_norm)
    found.add(np.array([0]), np.array([1e30]))
    assert found.in_cells(EVERY_CELL)["rows_beyond_10_medians"] == 0


def giants(cell, norm, borders=()):
    cell, norm = np.array(cell), np.array(norm, float)
    parts = []
    for part in np.split(np.arange(len(cell)), borders):
        parts.append(GiantCounts(2.0))
        parts[-1].add(cell[part], norm[part])
    for other in parts[1:]:
        parts[0].merge(other)
    return parts[0]


CELL, NORM = [0, 0, 4, 4, 4], [2, 20, 21, 200, 201]


def test_rows_beyond_10_and_100_medians_are_counted_in_their_population():
    found = giants(CELL, NORM)
    first = np.arange(N_CELLS) == 0
    assert found.in_cells(first) == {
        "rows_beyond_10_medians": 0,
        "rows_beyond_100_medians": 0,
        "largest_norm_over_median": 10,
    }
    assert found.in_cells(~first) == {
        "rows_beyond_10_medians": 3,
        "rows_beyond_100_medians": 1,
        "largest_norm_over_median": 100.5,
    }


@pytest.mark.parametrize("borders", [[1], [3], [1, 2, 3, 4], [0, 5]], ids=str)
def test_merged_counts_equal_those_of_the_whole_whatever_the_cut(borders):
    for cells in (EVERY_CELL, np.arange(N_CELLS) == 4):
        assert giants(CELL, NORM, borders).in_cells(cells) == giants(CELL, NORM).in_cells(cells)


def report(test_x, kinds, validation_x=None, trained=tuple(Kind)):
    """Evaluate an SAE that keeps the larger of two axes; one example per row."""
    held = [
        Held(name, array_source(x, None, kinds), [None] * len(x))
        for name, x in (("validation", test_x if validation_x is None else validation_x), ("test", test_x))
    ]
    trained = tuple(int(kind) for kind in trained)
    settings = evaluate_settings(bootstrap_resamples=10)
    return evaluate_sae(axis_sae(), *held, settings, kinds=trained, dtype=torch.float64, runtime=runtime())


def lines(found):
    return {line["kind"]: line for line in found.tables()["sinks"].to_dict("records")}


def test_gamma_is_the_norm_of_the_mean_over_that_of_the_standard_deviations():
    # content (1, 4), (5, 4): mean (3, 4), standard deviations (2, 0); end of turn (0, 1), (0, 3)
    kinds = [Kind.CONTENT, Kind.CONTENT, Kind.END_OF_TURN, Kind.END_OF_TURN]
    found = lines(report([[1, 4], [5, 4], [0, 1], [0, 3]], kinds))
    assert found["content"]["gamma"] == 5 / 2
    assert found["end_of_turn"]["gamma"] == 2


def test_one_sink_row_hides_an_error_that_the_figures_without_it_show():
    """198 rows (1, ±1) of which the SAE loses an axis, and two sinks (3000, 0) that it keeps."""
    x = [[1, (-1) ** i] for i in range(198)] + [[3000, 0]] * 2
    kinds = [Kind.CONTENT] * 198 + [Kind.SCAFFOLD] * 2
    found = report(x, kinds)
    line = lines(found)["trained"]
    assert (line["rows_beyond_10_medians"], line["rows_beyond_100_medians"]) == (2, 2)
    assert line["largest_norm_over_median"] == pytest.approx(3000 / 2**0.5)
    assert line["outlier_rows"] == 2
    assert line["fvu"] < 1e-4
    # without them the rows vary along the second axis alone, around 0, and the errors are its squares
    assert line["fvu_without_outliers"] == 1.0
    assert line["outlier_variance_share"] > 0.98
    told = found.warning()
    assert told.startswith("sinks: 2 of 200 test rows (scaffold), with norms of up to 2121.3 times the median, carry ")
    assert "train.kinds" in told
    assert "\n" not in told


def test_sinks_of_a_kind_that_is_not_trained_on_are_in_the_table_and_give_no_warning():
    x = [[1, (-1) ** i * (1 + i / 1000)] for i in range(199)] + [[3000, 0]]
    found = report(x, [Kind.CONTENT] * 199 + [Kind.BEGIN_OF_TEXT], trained=[Kind.CONTENT])
    assert found.warning() is None
    assert lines(found)["begin_of_text"]["rows_beyond_100_medians"] == 1
    assert lines(found)["trained"]["rows_beyond_10_medians"] == 0


def test_rows_of_a_normal_distribution_give_no_warning():
    x = np.random.default_rng(0).normal(size=(500, 2)) + 3
    assert report(x, [Kind.CONTENT] * 500).warning() is None


def test_outliers_begin_where_validation_says():
    x = [[1, 0], [2, 0], [3, 0], [4, 0]]
    found = lines(report(x, [Kind.CONTENT] * 4, validation_x=[[2.5, 0]] * 4))["content"]
    assert found["outlier_rows"] == 2
    # 3 and 4 around 2.5: 0.25 + 2.25 of 5
    assert found["outlier_variance_share"] == 0.5


def test_no_trained_row_gives_no_warning():
    assert report([[1, 0]], [Kind.BEGIN_OF_TEXT], trained=[Kind.CONTENT]).warning() is None


def test_a_row_is_an_outlier_by_its_distance_from_b_dec():
    scale = Scale(1.0, 9.0)
    cell = cell_of(np.zeros(2, np.uint8), np.zeros(2, bool), scale.outliers(np.array([8.0, 9.0])))
    assert cell.tolist() == [0, 1]
