import math

import pytest
import torch
from sae_samples import axis_sae
from samples import array_source, evaluate_settings, runtime, written

from fast_sae.activations.held import Held
from fast_sae.chat.kinds import Kind
from fast_sae.evaluation.evaluate import evaluate_sae

BOT, SCAFFOLD, ROLE, CONTENT, END = Kind
TRAINED = (int(SCAFFOLD), int(ROLE), int(CONTENT), int(END))


def evaluated(x, lengths, kinds=None, *, shared_prefix=0, labels=None, trained=TRAINED, sae=None, **options):
    held = Held("test", array_source(x, lengths, kinds, shared_prefix=shared_prefix), labels or [None] * len(lengths))
    settings = evaluate_settings(**options)
    machine = runtime(sae_batch_rows=2)
    return evaluate_sae(sae or axis_sae(), held, held, settings, kinds=trained, dtype=torch.float64, runtime=machine)


# example 0 is one token long, example 1 three; each loses its smaller coordinate
X = [[3, 1], [0, 2], [4, 4], [1, 5]]


def test_the_headline_metrics_are_what_a_hand_computes():
    found = evaluated(X, [1, 3]).metrics()
    errors, mean = [1, 0, 16, 1], (2, 3)
    variance = sum((a - mean[0]) ** 2 + (b - mean[1]) ** 2 for a, b in X)  # 20
    assert found["rows"] == 4
    assert found["examples"] == 2
    assert found["reconstruction_mse"] == sum(errors) / 8
    assert found["reconstruction_mse_macro"] == pytest.approx((1 / 2 + 17 / 6) / 2)
    assert found["normalized_mse"] == pytest.approx(18 / variance)
    assert found["explained_variance"] == pytest.approx(1 - 18 / variance)
    assert found["l0"] == 1.0
    assert found["l0_over_k"] == 1.0
    assert found["dead_latent_fraction"] == 0.0


def test_l0_counts_what_is_above_zero_and_not_what_was_chosen():
    found = evaluated([[3, 1], [-1, -2], [0, -1], [2, 2]], [4], sae=axis_sae(k=2)).metrics()
    assert found["l0"] == (2 + 0 + 0 + 2) / 4
    assert found["l0_over_k"] == 1.0 / 2


def test_a_latent_that_fires_on_no_trained_row_is_dead_whatever_it_does_elsewhere():
    kinds = [BOT, CONTENT, CONTENT]
    assert evaluated([[0, 9], [1, 0], [2, 0]], [3], kinds).metrics()["dead_latent_fraction"] == 0.5
    assert evaluated([[0, 9], [1, 0], [2, 3]], [3], kinds).metrics()["dead_latent_fraction"] == 0.0


CHAT = {
    "x": [[9, 9], [2, 1], [5, 3], [1, 4], [9, 9], [2, 1], [7, 0], [3, 4]],
    "lengths": [4, 4],
    "kinds": [BOT, SCAFFOLD, CONTENT, END] * 2,
    "shared_prefix": 2,
}


def test_special_tokens_are_neither_content_nor_begin_of_text():
    # squared errors: begin-of-text 81, scaffold 1, content 9 and 0, end 1 and 9
    found = evaluated(**CHAT).metrics()
    assert found["special_token_mse"] == ((1 + 1) / 4 + (1 + 9) / 4) / 2
    assert found["reconstruction_mse"] == (1 + 9 + 1 + 1 + 0 + 9) / 12


def test_special_tokens_are_averaged_by_example_first():
    # example 0 has one special token, off by 1; example 1 has three, off by 9, 0 and 0
    found = evaluated([[2, 1], [4, 3], [1, 0], [1, 0]], [1, 3], [END, SCAFFOLD, ROLE, END]).metrics()
    assert found["special_token_mse"] == (1 / 2 + 9 / 6) / 2


def test_the_special_tokens_are_measured_though_only_content_was_trained_on():
    found = evaluated(**CHAT, trained=(int(CONTENT),)).metrics()
    assert found["special_token_mse"] == 1.5
    assert (found["rows"], found["reconstruction_mse"]) == (2, 9 / 4)


def test_rows_of_the_shared_prefix_are_left_out_of_the_varying_metrics():
    found = evaluated(**CHAT).metrics()
    # the varying rows are (5, 3), (1, 4), (7, 0), (3, 4) around (4, 2.75)
    variance = (1 + 9 + 9 + 1) + (0.0625 + 1.5625 + 7.5625 + 1.5625)
    assert found["normalized_mse_varying"] == pytest.approx(19 / variance)


def test_without_a_shared_prefix_all_rows_vary():
    found = evaluated(**CHAT | {"shared_prefix": 0}).metrics()
    assert found["normalized_mse_varying"] == found["normalized_mse"]


def test_a_population_without_rows_gives_no_key(tmp_path):
    metrics, _ = written(evaluated(X, [1, 3], shared_prefix=3), tmp_path)
    assert "special_token_mse" not in metrics
    assert "label_auroc" not in metrics
    assert "normalized_mse_varying" not in metrics
    assert metrics["reconstruction_mse"] == 2.25


def test_rows_that_are_all_equal_have_an_mse_and_no_fvu(tmp_path):
    metrics, tables = written(evaluated([[3, 1]] * 4, [2, 2]), tmp_path)
    assert metrics["reconstruction_mse"] == 0.5
    assert not {name for name in metrics if name.startswith(("normalized_mse", "explained_variance"))}
    assert tables["fvu_by_prefix"] == [{"prefix": "2", "fvu": ""}]


def test_the_headline_metrics_are_at_most_fifteen_flat_finite_numbers_besides_their_intervals(tmp_path):
    metrics, _ = written(evaluated(**CHAT, labels=["a", "b"]), tmp_path)
    wanted = "reconstruction_mse reconstruction_mse_macro special_token_mse normalized_mse explained_variance l0"
    labels = {"label_auroc", "label_auroc_dimension", "label_auroc_probe"}
    assert {*wanted.split(), "dead_latent_fraction"} | labels <= set(metrics)
    headline = {name for name in metrics if not name.endswith(("_low", "_high"))}
    assert len(headline) <= 15
    assert {name.removesuffix("_low").removesuffix("_high") for name in metrics} == headline
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in metrics.values())


def test_intervals_stand_beside_what_they_are_of():
    found = evaluated(X, [1, 1, 1, 1], bootstrap_resamples=200).metrics()
    for name in ("reconstruction_mse", "reconstruction_mse_macro", "normalized_mse", "normalized_mse_varying"):
        assert 0 <= found[f"{name}_low"] < found[name] < found[f"{name}_high"], name
    assert found["reconstruction_mse_high"] <= 16 / 2  # the worst example again and again
    assert (found["l0_low"], found["l0_high"]) == (1, 1)


def test_another_seed_draws_other_resamples_and_leaves_the_figures_alone():
    one, other = (evaluated(X, [1, 1, 1, 1], seed=seed).metrics() for seed in (0, 1))
    assert one["reconstruction_mse_low"] != other["reconstruction_mse_low"]
    assert one["reconstruction_mse"] == other["reconstruction_mse"]


def test_more_confidence_asks_for_a_wider_interval():
    low, high = (evaluated(X, [1, 1, 1, 1], bootstrap_resamples=200, confidence=c).metrics() for c in (0.5, 0.99))
    assert high["reconstruction_mse_low"] < low["reconstruction_mse_low"]
    assert high["reconstruction_mse_high"] > low["reconstruction_mse_high"]


def test_the_table_by_kind_tells_log2_of_the_mse_and_the_percentiles_of_l0(tmp_path):
    # errors 0 and 4 over two rows of one example and 0 over the other: micro 4 / 6, macro (4 / 4 + 0) / 2
    x = [[1, 0], [3, 2], [5, -1]]
    _, tables = written(evaluated(x, [2, 1], sae=axis_sae(k=1)), tmp_path)
    line = next(line for line in tables["by_kind"] if line["kind"] == "content")
    assert float(line["log2_mse"]) == pytest.approx(math.log2((4 + 1) / 6), abs=1e-5)
    assert float(line["log2_mse_macro"]) == pytest.approx(math.log2((4 / 4 + 1 / 2) / 2), abs=1e-5)
    assert (line["l0_p5"], line["l0_p50"], line["l0_p95"]) == ("1", "1", "1")
    shown = [(row["percentile"], row["l0"]) for row in tables["l0"] if row["kind"] == "content"]
    assert shown == [("5", "1"), ("50", "1"), ("95", "1")]


def test_an_mse_of_zero_has_no_log2(tmp_path):
    _, tables = written(evaluated([[1, 0], [2, 0]], [2]), tmp_path)
    assert (tables["by_kind"][0]["mse"], tables["by_kind"][0]["log2_mse"]) == ("0", "")


def test_l0_percentiles_follow_the_rows_of_each_kind(tmp_path):
    x, kinds = [[1, 1], [1, 0], [-1, -1], [0, 2]], [SCAFFOLD, CONTENT, CONTENT, CONTENT]
    _, tables = written(evaluated(x, [4], kinds, sae=axis_sae(k=2)), tmp_path)
    found = {(row["kind"], row["percentile"]): row["l0"] for row in tables["l0"]}
    assert [found["scaffold", q] for q in ("5", "50", "95")] == ["2", "2", "2"]
    assert [found["content", q] for q in ("5", "50", "95")] == ["0", "1", "1"]
    assert [found["trained", q] for q in ("5", "50", "95")] == ["0", "1", "2"]


def test_latents_silent_on_one_kind_are_counted_there_with_the_bound_of_its_rows(tmp_path):
    kinds = [SCAFFOLD, CONTENT, CONTENT, CONTENT]
    _, tables = written(evaluated([[1, 0], [0, 1], [0, 2], [0, 3]], [4], kinds), tmp_path)
    found = {line["kind"]: (line["silent_latents"], line["silent_density_bound"]) for line in tables["by_kind"]}
    assert (found["trained"], found["content"], found["scaffold"]) == (("0", "0.75"), ("0.5", "1"), ("0.5", "1"))


def test_no_row_of_a_trained_kind_is_no_crash_and_no_number(tmp_path):
    metrics, tables = written(evaluated(X, [1, 3], [BOT] * 4), tmp_path)
    assert metrics == {}
    assert {line["kind"] for line in tables["by_kind"]} == {"begin_of_text", "begin_of_text varying"}


def test_the_table_by_kind_tells_each_population_that_has_rows(tmp_path):
    _, tables = written(evaluated(**CHAT), tmp_path)
    lines = {line["kind"]: line for line in tables["by_kind"]}
    varying = {f"{kind} varying" for kind in ("trained", "special", "content", "end_of_turn")}
    assert set(lines) == varying | {"trained", "special", "begin_of_text", "scaffold", "content", "end_of_turn"}
    assert (lines["scaffold"]["rows"], lines["scaffold"]["fvu"]) == ("2", "")
    assert float(lines["begin_of_text"]["mse"]) == 40.5
    assert float(lines["content"]["mse"]) == 2.25
    # content is (5, 3) and (7, 0): around its own mean 2 + 4.5
    assert float(lines["content"]["fvu"]) == pytest.approx(9 / 6.5, rel=1e-5)


def test_fvu_is_told_for_each_prefix(tmp_path):
    _, tables = written(evaluated(X, [1, 3], sae=axis_sae(k=2, matryoshka=[1, 2])), tmp_path)
    # the first prefix loses the second axis: 1 + 4 + 16 + 25 of 20; the whole loses nothing
    assert [(line["prefix"], float(line["fvu"])) for line in tables["fvu_by_prefix"]] == [("1", 2.3), ("2", 0.0)]


def test_the_density_table_counts_every_latent(tmp_path):
    _, tables = written(evaluated([[1, 0, 0], [1, 0, 0]], [2], sae=axis_sae(3)), tmp_path)
    assert {line["log10_density"]: line["latents"] for line in tables["density"] if line["latents"] != "0"} == {
        "dead": "2",
        "-0.5": "1",
    }


def test_a_large_mean_costs_no_digits():
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(500, 4, generator=generator, dtype=torch.float64) * 0.05 + 30_000).numpy()
    found = evaluated(x, [500], sae=axis_sae(4, k=1, b_dec=30_000.0)).metrics()
    kept = torch.from_numpy(x - 30_000)
    largest = kept.relu() * torch.nn.functional.one_hot(kept.argmax(1), 4)
    expected = ((largest - kept) ** 2).sum() / ((kept - kept.mean(0)) ** 2).sum()
    assert found["normalized_mse"] == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_metrics_do_not_hang_on_how_many_rows_are_encoded_at_once(rows):
    held = Held("test", array_source(CHAT["x"], [4, 4], CHAT["kinds"], shared_prefix=2), ["a", "b"])
    settings = evaluate_settings(label_pooling="mean")
    one, other = (
        evaluate_sae(
            axis_sae(), held, held, settings, kinds=TRAINED, dtype=torch.float64, runtime=runtime(sae_batch_rows=n)
        ).metrics()
        for n in (rows, 8)
    )
    assert one == pytest.approx(other)


def test_labels_are_scored_on_test_with_the_latent_that_validation_chose(tmp_path):
    sae, settings = axis_sae(), evaluate_settings()
    validation = Held("validation", array_source([[5, 0], [4, 0], [0, 0], [0, 0]]), ["a", "a", "b", "b"])
    test = Held("test", array_source([[0, 9], [5, 0], [1, 0], [0, 0]]), ["a", "a", "b", "b"])
    report = evaluate_sae(sae, validation, test, settings, kinds=TRAINED, dtype=torch.float64, runtime=runtime())
    metrics, tables = written(report, tmp_path)
    line = tables["labels"][0]
    assert (line["label"], line["latent"], float(line["validation_auroc"])) == ("a", "0", 1.0)
    assert line["test_examples"] == "2"
    assert float(line["test_auroc"]) == 0.625
    second = float(tables["labels"][1]["test_auroc"])
    assert metrics["label_auroc"] == pytest.approx((0.625 + second) / 2)


def test_labels_do_not_see_rows_of_kinds_that_were_not_trained_on():
    kinds, labels = [BOT, CONTENT] * 4, ["a", "a", "b", "b"]
    x = [[9, 0], [0, 1], [9, 0], [0, 1], [0, 0], [0, 1], [0, 0], [0, 1]]
    assert evaluated(x, [2] * 4, kinds, labels=labels).metrics()["label_auroc"] == 0.5


def test_at_most_label_examples_are_scored_and_drawn_from_the_whole_split():
    """A split keeps the order of the data, which may be sorted by label."""
    labels = ["a"] * 20 + ["b"] * 20
    report = evaluated([[1, 0]] * 20 + [[0, 1]] * 20, [1] * 40, labels=labels, label_examples=12)
    assert sum(report.labels.test_examples) == 12
    assert all(report.labels.test_examples)
    assert report.metrics()["label_auroc"] == 1.0


def test_the_latent_stands_beside_a_dimension_and_a_probe(tmp_path):
    # "a" is told by a low first dimension, which no latent of these axes can show
    x, labels = [[-2, 1], [-1, 1], [-3, 1], [1, 1], [3, 1], [2, 1]] * 2, ["a", "a", "a", "b", "b", "b"] * 2
    metrics, tables = written(evaluated(x, [1] * 12, labels=labels), tmp_path)
    line = tables["labels"][0]
    assert (line["label"], line["dimension"], line["dimension_auroc"]) == ("a", "0", "1")
    assert line["dimension_by"] == "low max"
    assert (metrics["label_auroc_dimension"], metrics["label_auroc_probe"]) == (1.0, 1.0)
    assert float(line["probe_auroc_low"]) == float(line["probe_auroc_high"]) == 1.0


@pytest.mark.parametrize("label", ["plain", "a, b", 'say "so"', "two\nlines", "Größe"])
def test_any_label_comes_back_from_the_table(tmp_path, label):
    _, tables = written(evaluated([[1, 0], [0, 1]], [1, 1], labels=[label, "zz"]), tmp_path)
    assert label in {line["label"] for line in tables["labels"]}


def test_the_same_evaluation_writes_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        written(evaluated(**CHAT, labels=["a", "b"]), tmp_path / name)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "other" / path.relative_to(tmp_path / "one")).read_bytes()
