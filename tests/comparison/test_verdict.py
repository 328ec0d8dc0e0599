"""Who wins, from made-up runs."""

import pytest
from comparison_samples import plan, results

from fast_sae.comparison.verdict import Verdict, compare
from fast_sae.errors import UserError

FVU, AUROC, L0 = "evaluate.normalized_mse", "evaluate.label_auroc", "evaluate.l0"
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
    """FAST finds 3 latents again, block 4: both wholly."""
    found = verdicts({FVU: LOW}, {FVU: HIGH})
    assert (found["stability.mean_cosine"], found["stability.shared"]) == (Verdict.EQUAL, Verdict.EQUAL)
