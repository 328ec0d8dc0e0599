"""The report, the table and the plot of made-up runs: what they say follows from the numbers."""

import re

import pytest
from comparison_samples import plan, results

from fast_sae.comparison.plot import draw
from fast_sae.comparison.report import Report
from fast_sae.comparison.tables import run_table
from fast_sae.comparison.verdict import compare

FVU, AUROC, L0 = "evaluate.normalized_mse", "evaluate.label_auroc", "evaluate.l0"
LOW, HIGH, WIDE = [0.1, 0.11, 0.12], [0.2, 0.22, 0.21], [0.1, 0.4, 0.12]
SIZE = {"evaluate.examples": [1000] * 3, "evaluate.rows": [64000] * 3}


def report(values, **control_of):
    planned = plan(**control_of)
    made = results(planned, values)
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
    assert "| tiny | standard | FVU | label AUROC | – | seed cosine, seeds share | – |" in text
    assert "* FAST is better with every model and architecture in: FVU." in text
    assert "* FAST is better with none of them in: label AUROC, seed cosine, seeds share." in text
    assert "* Of 4 differences 1 speak for FAST and 1 for block. Were there none at all, about 0.2 intervals" in text
    assert "**tiny**: About tiny. Measured on 1,000 test texts of 64 tokens." in text
    assert "6 runs of commit 0123456: 1 × 1 × 2 × 3 models" in text
    assert "\n* all runs: `sae.K=8`\n* tiny: `model.name=tiny`\n* FAST: `train.lr=0.1`\n" in text
    assert "* standard: as params.yaml says" in text


def test_nothing_is_won_where_l0_is_off_and_the_row_is_marked():
    text = told({("tiny", "FAST"): {FVU: LOW, L0: [9, 9, 9]}, ("tiny", "block"): {FVU: HIGH}})
    assert "## tiny, standard: L0 not matched" in text
    assert "| tiny | standard | 8 | 9 [9, 9] | 8 [8, 8] | 12.5% | 12.5% | **no** |" in text
    assert "| lower | L0 is not matched |" in text
    assert "FAST is better with every model and architecture in: nothing." in text
    assert "| FAST is better |" not in text.split("## At which L0")[1]


def test_what_was_not_measured_is_named_and_not_made_up():
    text = told({("tiny", "FAST"): {FVU: LOW}, ("tiny", "block"): {FVU: HIGH}})
    (line,) = [line for line in text.splitlines() if line.startswith("* Not measured in these runs: ")]
    assert "CE recovered" in line
    assert "FVU," not in line
    assert "| CE recovered |" not in text


@pytest.mark.parametrize(
    ("on_control", "expected"),
    [
        (
            LOW,
            "FAST wins on tiny, it wins 1 on the control other too, and loses 0 to block there.\n",
        ),
        (
            WIDE,
            "it wins 0 on the control other too, and loses 0 to block there. The tuning of tiny, and not FAST, may be ",
        ),
        (
            [0.4, 0.41, 0.42],
            "wins 0 on the control other too, and loses 1 to block there. The tuning of tiny, and not ",
        ),
    ],
    ids=["confirms", "leaves open", "turns round"],
)
def test_the_control_says_what_becomes_of_a_win(on_control, expected):
    values = {("tiny", "FAST"): {FVU: LOW}, ("other", "FAST"): {FVU: on_control}}
    values |= {(name, "block"): {FVU: HIGH} for name in ("tiny", "other")}
    assert expected in told(values, tiny=None, other="tiny")


def test_a_control_of_nothing_won_explains_nothing():
    values = {(name, packing): {FVU: LOW} for name in ("tiny", "other") for packing in ("FAST", "block")}
    assert "FAST wins nothing on tiny, so that its control other has nothing to explain." in told(
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
