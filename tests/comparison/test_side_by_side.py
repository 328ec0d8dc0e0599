"""Metrics of two runs, by hand."""

import pandas as pd

from fast_sae.comparison.side_by_side import metric_table


def told(a: dict, b: dict) -> dict[str, dict]:
    table = metric_table(a, b).astype(object)
    return {row["metric"]: row for row in table.where(pd.notna(table), None).to_dict("records")}


def bounded(value: float, low: float, high: float) -> dict[str, float]:
    return {"x.auroc": value, "x.auroc_low": low, "x.auroc_high": high}


def test_values_and_intervals_stand_in_a_row():
    assert told(bounded(0.5, 0.4, 0.6), bounded(0.75, 0.6, 0.9)) == {
        "x.auroc": {
            **{"metric": "x.auroc", "a": 0.5, "a_low": 0.4, "a_high": 0.6, "b": 0.75, "b_low": 0.6, "b_high": 0.9},
            **{"difference": 0.25, "intervals_overlap": True},
        }
    }


def test_intervals_overlap_or_do_not_whichever_is_higher():
    low, high = bounded(0.5, 0.4, 0.59), bounded(0.75, 0.6, 0.9)
    assert [told(*pair)["x.auroc"]["intervals_overlap"] for pair in ((low, high), (high, low), (low, low))] == [
        *(False, False, True)
    ]


def test_what_a_run_lacks_is_missing_and_no_difference():
    found = told({"x.fvu": 0.5, "x.l0": 8.0}, {"x.fvu": 0.25} | bounded(1.0, 0.0, 1.0))
    assert [*found] == ["x.auroc", "x.fvu", "x.l0"]
    assert (found["x.l0"]["b"], found["x.l0"]["difference"]) == (None, None)
    assert (found["x.fvu"]["difference"], found["x.fvu"]["intervals_overlap"]) == (-0.25, None)
    assert (found["x.auroc"]["a"], found["x.auroc"]["b_high"]) == (None, 1)


def test_a_metric_that_only_ends_as_a_bound_is_one():
    assert [*told({"x.how_low": 1.0}, {})] == ["x.how_low"]


def test_two_runs_without_metrics_have_no_row():
    assert told({}, {}) == {}
