"""The report, the table and the plot of made-up runs: what they say follows from the numbers."""

import re

import pytest
from comparison_samples import plan, results

from fast_sae.comparison.plot import draw
from fast_sae.comparison.report import Report
from fast_sae.comparison.tables import run_table
from fast_sae.comparison.verdict import compare

FVU_VARYING, L0_VARYING = "evaluate.normalized_mse_varying", "evaluate.l0_varying"

FVU, AUROC, L0 = "evaluate.normalized_mse", "evaluate.label_auroc", "evaluate.l0"
LOW, HIGH, WIDE = [0.1, 0.11, 0.12], [0.2, 0.22, 0.21], [0.1, 0.4, 0.12]
SIZE = {"evaluate.examples": [1000] * 3, "evaluate.rows": [64000] * 3}


def report(values, held_out=True, **control_of):
    planned = plan(**control_of)
    made = results(planned, values, held_out=held_out)
    return Report("made", "make it", "0123456789", planned, made, compare(planned, made))


def told(values, **control_of):
    return report(values, **control_of).markdown()


def test_the_winner_is_named_with_numbers_intervals_and_differences():
    text = told({("tiny", "FAST"): {FVU: LOW, AUROC: LOW} | SIZE, ("tiny", "block"): {FVU: HIGH, AUROC: HIGH} | SIZE})
    assert text.startswith("# FAST against block\n")
    assert (
        "| FVU | 0.11 [0.08516, 0.1348] | 0.21 [0.1852, 0.2348] | -0.1 [-0.1248, -0.07516] | lower | FAST is better |"
        in text
    )
    assert "| tiny | standard | FVU | label AUROC | seed cosine, seeds share | – | – |" in text
    assert "* FAST is better in: FVU (everywhere).\n" in text
    assert "* block is better in: label AUROC (everywhere).\n" in text
    assert "* Nothing can be said in: seed cosine (everywhere), seeds share (everywhere).\n" in text
    assert "* L0 is not matched in: nothing.\n" in text
    assert "* No difference in" not in text
    assert (
        "* Of 2 differences at matched L0 1 speak for FAST and 1 for block. Were there none at all, at most about 0.1"
        in text
    )
    assert "**tiny**: About tiny. Measured on 1,000 test texts of 64 tokens." in text
    assert "6 runs of commit 0123456: 1 × 1 × 2 × 3 models" in text
    assert "\n* all runs: `sae.K=8`\n* tiny: `model.name=tiny`\n* FAST: `train.lr=0.1`\n" in text
    assert "* standard: as params.yaml says" in text


def test_nothing_is_won_where_l0_is_off_and_the_row_is_marked():
    text = told({("tiny", "FAST"): {FVU: LOW, L0: [9, 9, 9]}, ("tiny", "block"): {FVU: HIGH}})
    assert "## tiny, standard: L0 not matched" in text
    assert "| tiny | standard | 8 | 9 [9, 9] | 8 [8, 8] | 12.5% | 12.5% | +0.1178 | – | – | – | **no** |" in text
    assert "| lower | L0 is not matched |" in text
    assert "* FAST is better in: nothing.\n" in text
    assert "* L0 is not matched in: FVU (everywhere).\n" in text
    assert "* Of 0 differences at matched L0 0 speak" in text
    assert "| FAST is better |" not in text.split("## At which L0")[1]


def test_what_was_not_measured_is_named_and_not_made_up():
    text = told({("tiny", "FAST"): {FVU: LOW}, ("tiny", "block"): {FVU: HIGH}})
    (line,) = [line for line in text.splitlines() if line.startswith("* Not measured in these runs: ")]
    assert "CE recovered" in line
    assert "FVU," not in line
    assert "| CE recovered |" not in text


def test_measures_without_constant_rows_are_named_first_and_logarithms_not():
    mse = "evaluate.reconstruction_mse_macro"
    values = {FVU: LOW, FVU_VARYING: LOW, mse: LOW, f"log2 {mse}": LOW}
    text = told({("tiny", "FAST"): values, ("tiny", "block"): {key: HIGH for key in values}})
    assert (
        "* FAST is better in: FVU without constant rows (everywhere), MSE macro (everywhere), FVU (everywhere).\n"
        in text
    )
    assert "* Of 3 differences at matched L0 3 speak for FAST" in text
    assert "* Constant rows are those of tokens whose whole prefix is the same in all chats" in text


def test_where_a_verdict_holds_only_somewhere_it_says_where_and_equal_values_are_not_counted():
    values = {("tiny", "FAST"): {FVU: LOW}, ("other", "FAST"): {FVU: HIGH}}
    values |= {(name, "block"): {FVU: HIGH} for name in ("tiny", "other")}
    text = told(values, tiny=None, other=None)
    assert "* FAST is better in: FVU (tiny, standard).\n" in text
    assert "* No difference in: FVU (other, standard).\n" in text
    assert "* Of 1 differences at matched L0 1 speak for FAST" in text


def test_the_gap_stands_in_the_table_and_with_a_difference_that_it_could_explain():
    """FAST's L0 is 4 % higher on the rows that vary, and its FVU there 2 % lower."""
    first, second = {FVU_VARYING: [0.098] * 3, L0_VARYING: [7.28] * 3}, {FVU_VARYING: [0.1] * 3, L0_VARYING: [7] * 3}
    text = told({("tiny", "FAST"): first, ("tiny", "block"): second})
    assert "| 0.0% | 0.0% | +0.0000 | 7.28 [7.28, 7.28] | 7 [7, 7] | +0.0392 | yes |" in text
    assert "| lower | nothing can be said: the L0 gap could explain it |" in text
    assert "* Nothing can be said in: FVU without constant rows (everywhere)" in text


def test_stability_that_counts_latents_that_never_fire_says_so():
    values = {("tiny", "FAST"): {FVU: LOW}, ("tiny", "block"): {FVU: HIGH}}
    assert "stability counts all latents, those that never fire too, of: tiny, FAST, standard; tiny, block" in told(
        values, held_out=False
    )
    assert "No held-out activations were stored" not in told(values)


@pytest.mark.parametrize(
    ("on_control", "confirmed", "reversed_", "left"),
    [
        ({FVU: [0.1, 0.11, 0.12]}, "FVU (standard): 0 [0, 0]", "nothing", "nothing"),
        # −0.10, −0.11, −0.09 less 0.20, 0.19, 0.21: −0.3 each time
        ({FVU: [0.4, 0.41, 0.42]}, "nothing", "FVU (standard): -0.3 [-0.3, -0.3]", "nothing"),
        # −0.10, −0.11, −0.09 less −0.10, 0.18, −0.09: 0, −0.29 and 0
        ({FVU: WIDE}, "nothing", "nothing", "FVU (standard): -0.09667 [-0.5126, 0.3193]"),
        (
            {FVU: LOW, L0: [9, 9, 9]},
            "nothing",
            "nothing",
            "FVU (standard), L0 not matched there: 0 [0, 0]",
        ),
        ({}, "nothing", "nothing", "FVU (standard), not measured there"),
    ],
    ids=["confirms", "reverses", "leaves open", "unmatched", "lacks"],
)
def test_the_control_confirms_reverses_or_leaves_open(on_control, confirmed, reversed_, left):
    values = {("tiny", "FAST"): {FVU: LOW}, ("other", "FAST"): on_control}
    values |= {(name, "block"): {FVU: HIGH} for name in ("tiny", "other")}
    text = told(values, tiny=None, other="tiny")
    assert "* 1 differences speak for FAST on tiny. What its control other says of each" in text
    assert f"* Confirmed on other: {confirmed}.\n" in text
    assert f"* Reversed on other: {reversed_}.\n" in text
    assert f"* Left open by other, or L0 not matched there: {left}. That a control leaves a difference open" in text
    assert "may be what wins" not in text


def test_a_control_of_nothing_won_explains_nothing():
    values = {(name, packing): {FVU: LOW} for name in ("tiny", "other") for packing in ("FAST", "block")}
    assert "FAST wins nothing on tiny, so that its control other has nothing to confirm." in told(
        values, tiny=None, other="tiny"
    )


def test_the_table_has_a_row_per_run_and_the_distance_from_the_target():
    made = report({("tiny", "FAST"): {FVU: LOW, L0: [8, 9, 6]}, ("tiny", "block"): {FVU: HIGH}})
    table = run_table(made.results)
    assert table[["packing", "seed", L0]].values.tolist()[:2] == [["FAST", 1, 8.0], ["FAST", 2, 9.0]]
    assert table["l0_from_target"].tolist() == [0, 0.125, -0.25, 0, 0, 0]
    assert table[FVU].tolist() == LOW + HIGH
    assert table["experiment"].is_unique
    assert AUROC not in table


def test_the_plot_is_the_same_bytes_each_time_and_has_a_panel_per_measure(tmp_path):
    made = report({("tiny", "FAST"): {FVU: LOW}, ("tiny", "block"): {FVU: HIGH}})
    for name in ("a.svg", "b.svg"):
        draw(made.cells, list(made.plan.packings), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    words = set(re.findall(r">([^<>]+)</text>", (tmp_path / "a.svg").read_text()))
    assert {"L0", "FVU (lower is better)", "seeds share (higher is better)", "tiny, standard", "FAST", "block"} <= words
