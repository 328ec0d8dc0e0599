"""Who wins, from made-up runs."""

import dataclasses
import math

import numpy as np
import pytest
from comparison_samples import plan, results

from fast_sae.comparison.intervals import Interval, paired_difference
from fast_sae.comparison.measures import MEASURES
from fast_sae.comparison.verdict import Comparison, Verdict, compare
from fast_sae.errors import UserError

FVU, AUROC, L0 = "evaluate.normalized_mse", "evaluate.label_auroc", "evaluate.l0"
VARYING, VARYING_L0 = "evaluate.normalized_mse_varying", "evaluate.l0_varying"
LOG2 = "log2 evaluate.special_token_mse"
LOW, HIGH, WIDE = [0.1, 0.11, 0.12], [0.2, 0.22, 0.21], [0.1, 0.4, 0.12]


def verdicts(first, second, seeds=(1, 2, 3)):
    planned = plan(seeds)
    (cell,) = compare(planned, results(planned, {("tiny", "FAST"): first, ("tiny", "block"): second}))
    return {c.measure.key: c.verdict for c in cell.comparisons}


@pytest.mark.parametrize(
    ("metric", "first", "second", "expected"),
    [
        (FVU, LOW, HIGH, Verdict.FIRST),
        (FVU, HIGH, LOW, Verdict.SECOND),
        (AUROC, HIGH, LOW, Verdict.FIRST),
        (AUROC, LOW, HIGH, Verdict.SECOND),
        (FVU, WIDE, HIGH, Verdict.OPEN),
        (FVU, LOW, LOW, Verdict.EQUAL),
    ],
)
def test_the_interval_and_the_measure_decide(metric, first, second, expected):
    assert verdicts({metric: first}, {metric: second})[metric] == expected


def test_one_seed_decides_nothing():
    assert verdicts({FVU: [0.1]}, {FVU: [0.9]}, seeds=(1,))[FVU] == Verdict.OPEN


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([8, 8, 8], [8, 8, 8.39], Verdict.FIRST),
        ([8, 8, 8], [8, 8, 8.5], Verdict.UNMATCHED),  # one run is 6 % off its target
        ([7.5, 8, 8], [8, 8, 8], Verdict.UNMATCHED),
        ([8.4, 8.4, 8.4], [7.6, 7.6, 7.6], Verdict.UNMATCHED),  # each within 5 %, 10 % apart
    ],
)
def test_no_win_where_l0_is_not_matched(first, second, expected):
    assert verdicts({FVU: LOW, L0: first}, {FVU: HIGH, L0: second})[FVU] == expected


def test_nothing_open_is_called_unmatched():
    assert verdicts({FVU: WIDE, L0: [9, 9, 9]}, {FVU: HIGH})[FVU] == Verdict.OPEN


def test_scores_on_different_test_tokens_are_refused():
    rows = "evaluate.rows"
    with pytest.raises(UserError, match="tiny, standard: the runs are scored on 4,000 and 64,000 test tokens, and"):
        verdicts({FVU: LOW, rows: [64000] * 3}, {FVU: HIGH, rows: [4000] * 3})


def test_a_metric_that_one_packing_lacks_is_not_compared():
    assert AUROC not in verdicts({FVU: LOW, AUROC: LOW}, {FVU: HIGH})


def test_pairs_of_seeds_are_compared_by_how_they_match():
    """FAST finds 3 latents again, block 4, both wholly; pairs share seeds, and there is no verdict even so."""
    found = verdicts({FVU: LOW}, {FVU: HIGH})
    assert (found["stability.mean_cosine"], found["stability.shared"]) == (Verdict.OPEN, Verdict.OPEN)


def test_no_difference_of_stability_is_a_win():
    measure = next(m for m in MEASURES if m.key == "stability.shared")
    values = {"1 and 2": 0.9, "1 and 3": 0.91, "2 and 3": 0.9}, {"1 and 2": 0.1, "1 and 3": 0.1, "2 and 3": 0.1}
    clear = Comparison("m", "a", measure, *values, Interval(0.8, 0.79, 0.81, 3), matched=True, l0_gap=0.0)
    assert clear.verdict == Verdict.OPEN


@pytest.mark.parametrize(
    ("metric", "first", "second", "gap", "expected"),
    [
        # the loser's mean is 1, so that a gap g grants it g
        (FVU, 0.965, 1.0, 0.04, Verdict.OPEN),
        (FVU, 0.955, 1.0, 0.04, Verdict.FIRST),
        (FVU, 0.999, 1.0, -0.04, Verdict.FIRST),  # the winner has the lower L0
        (FVU, 1.0, 0.965, -0.04, Verdict.OPEN),
        (FVU, 1.0, 0.955, -0.04, Verdict.SECOND),
        (AUROC, 0.83, 0.8, 0.04, Verdict.OPEN),  # granted: 0.04 × 0.8 = 0.032
        (AUROC, 0.833, 0.8, 0.04, Verdict.FIRST),
        (AUROC, 0.801, 0.8, -0.04, Verdict.FIRST),
        (LOG2, -3.05, -3.0, 0.04, Verdict.OPEN),  # granted: 0.04 / ln 2 = 0.0577
        (LOG2, -3.06, -3.0, 0.04, Verdict.FIRST),
    ],
)
def test_a_win_must_survive_what_the_gap_could_explain(metric, first, second, gap, expected):
    l0 = [8 * math.exp(gap)] * 3
    found = verdicts({metric: [first] * 3, L0: l0}, {metric: [second] * 3})
    assert found[metric] == expected


def test_a_measure_without_constant_rows_goes_by_its_own_gap():
    first = {FVU: [0.97] * 3, VARYING: [0.97] * 3, VARYING_L0: [8.3] * 3}
    second = {FVU: [1.0] * 3, VARYING: [1.0] * 3, VARYING_L0: [8.0] * 3}
    found = verdicts(first, second)
    assert (found[FVU], found[VARYING]) == (Verdict.FIRST, Verdict.OPEN)
    del first[VARYING_L0], second[VARYING_L0]
    assert verdicts(first, second)[VARYING] == Verdict.FIRST


def test_an_l0_of_zero_on_the_rows_that_vary_is_no_win():
    first, second = {AUROC: [0.5] * 3, L0: [8] * 3}, {AUROC: [0] * 3, L0: [8] * 3}
    (cell,) = compare(plan(), results(plan(), {("tiny", "FAST"): first, ("tiny", "block"): second}))
    (auroc,) = [c for c in cell.comparisons if c.measure.key == AUROC]
    assert auroc.verdict == Verdict.FIRST
    assert dataclasses.replace(auroc, l0_gap=math.inf).verdict == Verdict.OPEN


def test_two_arms_of_one_frontier_seldom_win():
    """FVU ∝ L0^-0.4 for both, L0 2 % above and 2 % below the target, and 0.5 % of noise from seed to seed."""
    rng = np.random.default_rng(0)
    shown = won = 0
    for _ in range(300):
        arms = []
        for off in (1.02, 0.98):
            l0 = 8 * off * np.exp(rng.normal(0, 0.002, 3))
            arms.append({L0: list(l0), FVU: list(0.2 * (l0 / 8) ** -0.4 * np.exp(rng.normal(0, 0.005, 3)))})
        found = verdicts(*arms)[FVU]
        shown += paired_difference(*({str(i): v for i, v in enumerate(arm[FVU])} for arm in arms)).sign != 0
        won += found in (Verdict.FIRST, Verdict.SECOND)
    assert shown >= 0.3 * 300  # the intervals alone
    assert won <= 0.05 * 300
