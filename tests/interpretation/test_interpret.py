"""Interpretation whole: with a backend that answers all, and with one that leaves questions open in every way."""

import csv
import json
from collections import Counter

import pandas as pd
import pytest
from features_samples import N_EXAMPLES, make_store
from interpretation_samples import FAILED, ScriptedBackend, interpret_settings

from fast_sae.backends.base import Explanation, Rating, Unanswered
from fast_sae.backends.opening import open_backend
from fast_sae.interpretation.interpret import interpret
from fast_sae.interpretation.judgements import derangement
from fast_sae.interpretation.scored import score_table
from fast_sae.interpretation.tables import JUDGEMENTS

REFUSED = Unanswered("refused", "it would not")
INVALID = Unanswered("invalid", "no JSON")
LISTED = {"latents": "listed", "listed": [0, 1, 2]}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("features"))


def reported(store, backend, **settings):
    return interpret(store, interpret_settings(**LISTED | settings), backend)


def written(report, folder):
    report.write(folder / "data", folder / "interpret_sae.json", folder / "plots")
    with (folder / "data" / "interpretations.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file)), json.loads((folder / "interpret_sae.json").read_text())["interpret"]


@pytest.fixture(scope="module")
def offline(store, tmp_path_factory):
    """The report of the offline backend, and what it writes."""
    folder = tmp_path_factory.mktemp("offline")
    settings = interpret_settings(**LISTED, backend="offline")
    with open_backend(settings, folder / "replies.jsonl") as backend:
        report = interpret(store, settings, backend)
    return report, *written(report, folder), folder


def test_the_offline_names_of_the_sample_are_right_on_test(offline):
    report, rows, _, _ = offline
    assert [row["neuron_idx"] for row in rows] == ["0", "1", "2"]
    assert all(float(row["f1"]) == 1.0 for row in rows)
    assert 'mentions "pearl"' in rows[0]["interpretation"] or 'token " pearl"' in rows[0]["interpretation"]
    assert 'labelled "counting"' in rows[1]["interpretation"]
    assert [float(row["rating"]) for row in rows] == [5.0, 5.0, 5.0]
    assert report.warning().startswith("1 of 3 latents fire in every judged window of test")


def test_the_baselines_are_judged_on_the_same_windows(offline):
    report, rows, _, _ = offline
    assert {int(row["neuron_idx"]) for row in rows} == {int(row["other_neuron_idx"]) for row in rows}
    assert all(row["neuron_idx"] != row["other_neuron_idx"] for row in rows)
    table = score_table(report.materials, report.judgements)
    for latent, share in ((0, 12 / N_EXAMPLES), (1, 0.5), (2, 1.0)):
        constant = table.loc[(latent, "constant")]
        assert constant["precision"] == pytest.approx(share)
        assert constant["recall"] == 1.0
        assert constant["f1"] == pytest.approx(2 * share / (1 + share))
        assert constant["fuzzing_balanced_accuracy"] == 0.5


def test_the_headline_is_flat_and_short(offline):
    _, _, metrics, _ = offline
    assert all(isinstance(value, int | float) for value in metrics.values())
    assert len([name for name in metrics if not name.endswith(("_low", "_high"))]) <= 15
    assert metrics["f1"] == 1.0
    assert metrics["f1_over_constant"] == pytest.approx(1 - (2 * 0.2 / 1.2 + 2 * 0.5 / 1.5 + 1) / 3, rel=1e-5)
    assert metrics["f1_over_constant_low"] <= metrics["f1_over_constant"] <= metrics["f1_over_constant_high"]
    assert (metrics["n_rated"], metrics["rated_4_share"]) == (3, 1.0)
    assert metrics["rated_4_share_low"] == pytest.approx(3 / (3 + 1.959964**2), rel=1e-4)  # Wilson: n / (n + z²)


def test_the_table_of_judgements_lets_anyone_count_again(offline):
    report, _, _, folder = offline
    table = pd.read_parquet(folder / "data" / "judgements.parquet")
    assert list(table.columns) == JUDGEMENTS.names
    assert set(table["split"]) == {"test"}
    detection = table[table["test"] == "detection"]
    assert detection.groupby("latent")["weight"].sum().tolist() == pytest.approx([N_EXAMPLES] * 3)
    one = detection[detection["latent"] == 1]
    other = one["other"].astype(bool)
    both, either = (
        one["weight"][one["truth"] & other].sum(),
        one["weight"][other].sum() + one["weight"][one["truth"]].sum(),
    )
    assert score_table(report.materials, report.judgements)["f1"][1, "other"] == pytest.approx(2 * both / either)


def test_the_first_columns_are_those_that_readers_of_the_original_expect(offline):
    _, rows, _, _ = offline
    names = list(rows[0])
    assert names[:7] == ["neuron_idx", "interpretation", *(f"top_example_{i}" for i in range(1, 6))]
    assert all("pearl" in rows[0][f"top_example_{i}"] for i in range(1, 6))
    assert "<|start|>" not in rows[0]["top_example_1"]
    assert rows[1]["best_label"] == "counting"


def test_the_same_settings_give_the_same_bytes(store, offline, tmp_path):
    _, _, _, folder = offline
    settings = interpret_settings(**LISTED, backend="offline")
    with open_backend(settings, tmp_path / "replies.jsonl") as backend:
        written(interpret(store, settings, backend), tmp_path)
    made = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert made == {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(made) == 6


@pytest.mark.parametrize("unanswered", [REFUSED, INVALID, FAILED], ids=lambda one: one.status)
def test_a_latent_without_a_name_is_told_counted_and_asked_nothing_more(store, tmp_path, unanswered):
    backend = ScriptedBackend(unnamed={1: unanswered})
    rows, metrics = written(reported(store, backend), tmp_path)
    assert [row["status"] for row in rows] == ["explained", unanswered.status, "explained"]
    assert rows[1]["reason"] == unanswered.reason
    assert (rows[1]["interpretation"], rows[1]["f1"], rows[1]["rating"]) == ("", "", "")
    assert rows[1]["detection_status"] == rows[1]["rating_status"] == "not_asked"
    assert (rows[0]["other_neuron_idx"], rows[1]["other_neuron_idx"], rows[2]["other_neuron_idx"]) == ("2", "", "0")
    assert metrics["n_latents"] == 3
    assert (metrics["n_explained"], metrics[f"n_{unanswered.status}"]) == (2, 1)
    assert metrics["unanswered_share"] == 0.0
    assert "1a" not in {name for _, name, _ in backend.asked}
    assert metrics["f1"] == pytest.approx((2 * 0.2 / 1.2 + 1.0) / 2, rel=1e-5)  # of the two, yes to everything


def test_judgements_that_are_missing_are_no_noes(store, tmp_path):
    backend = ScriptedBackend(undetected={"0a": FAILED}, unfuzzed={"1a": REFUSED}, unrated={"2a": INVALID})
    report = reported(store, backend)
    rows, metrics = written(report, tmp_path)
    assert (rows[0]["detection_status"], rows[0]["f1"], rows[0]["constant_f1"]) == ("failed", "", "0.333333")
    assert rows[0]["fuzzing_status"] == "answered"
    assert (rows[1]["fuzzing_status"], rows[1]["fuzzing_f1"]) == ("refused", "")
    assert (rows[2]["rating_status"], rows[2]["rating"]) == ("invalid", "")
    assert (rows[0]["rating"], metrics["n_rated"]) == ("4", 2)
    assert metrics["n_explained"] == 3
    assert metrics["f1"] == pytest.approx((2 * 0.5 / 1.5 + 1.0) / 2, rel=1e-5)
    asked = Counter()
    for kind, name, windows in backend.asked:
        missing = (kind, name) in {("detect", "0a"), ("fuzz", "1a"), ("rate", "2a")}
        asked[missing] += 1 if kind == "rate" else windows
    assert metrics["unanswered_share"] == pytest.approx(asked[True] / asked.total(), rel=1e-5)
    judged = pd.read_parquet(tmp_path / "data" / "judgements.parquet")
    of_one = judged[(judged["latent"] == 0) & (judged["test"] == "detection")]
    assert of_one["chosen"].isna().all()
    assert of_one["other"].notna().all()


def test_a_backend_that_answers_nothing_leaves_counts_and_no_scores(store, tmp_path):
    backend = ScriptedBackend(unnamed={0: REFUSED, 1: INVALID, 2: FAILED})
    rows, metrics = written(reported(store, backend), tmp_path)
    assert [row["status"] for row in rows] == ["refused", "invalid", "failed"]
    assert metrics == {
        **{"n_latents": 3, "n_explained": 0, "n_no_pattern": 0, "n_refused": 1, "n_invalid": 1, "n_failed": 1},
        "n_rated": 0,
    }
    assert backend.asked == []


def test_a_name_that_names_no_pattern_is_counted_apart_and_scored(store, tmp_path):
    class Candid(ScriptedBackend):
        def explain(self, latents, candidates, evidence=frozenset()):
            return [[Explanation("none found", pattern=False)] for _ in latents]

    rows, metrics = written(reported(store, Candid(yes={"none found": False})), tmp_path)
    assert {row["status"] for row in rows} == {"no_pattern"}
    assert (metrics["n_explained"], metrics["n_no_pattern"], metrics["f1"]) == (0, 3, 0.0)


def test_validation_chooses_the_candidate_and_test_is_not_asked_of_the_others(store):
    says = {"0a": True, "0b": lambda one: "pearl" in one.content, "0c": lambda one: "pearl" not in one.content}
    backend = ScriptedBackend(names=3, yes=says, undetected={"1a": FAILED})
    report = reported(store, backend, candidates=3)
    assert [one.name.text for one in report.named.values()] == ["0b", "1b", "2a"]
    assert report.named[0].choosing_phi == pytest.approx(1.0)
    assert (report.named[1].asked, report.named[1].unanswered) == (90, 30)
    times = Counter(name for kind, name, _ in backend.asked if kind == "detect")
    assert times == {"0a": 1, "0b": 3, "0c": 1, "1a": 1, "1b": 3, "1c": 1, "2a": 3, "2b": 1, "2c": 1}


def test_candidates_of_which_none_was_judged_leave_the_first(store):
    backend = ScriptedBackend(names=2, undetected={"0a": FAILED, "0b": REFUSED})
    found = reported(store, backend, candidates=2).named[0]
    assert (found.name.text, found.choosing_phi, found.candidates) == ("0a", None, 2)


def test_a_latent_of_fewer_than_five_windows_is_not_rated(store, monkeypatch):
    kept = type(store).windows

    def few(self, latent, split, sample):
        found = kept(self, latent, split, sample)
        return found[:4] if (latent, sample) == (0, "top") else found

    monkeypatch.setattr(type(store), "windows", few)
    backend = ScriptedBackend()
    report = reported(store, backend)
    assert report.metrics()["n_rated"] == 2
    assert ("rate", "0a", 5) not in backend.asked
    assert all(n == 5 for kind, _, n in backend.asked if kind == "rate")


def test_the_share_rated_4_counts_fours_and_fives(store):
    class Strict(ScriptedBackend):
        def rate(self, questions):
            return [Rating(score, "") for score, _ in zip((3, 4, 5), questions, strict=True)]

    found = reported(store, Strict()).metrics()
    assert found["rated_4_share"] == pytest.approx(2 / 3)
    assert found["rated_4_share_low"] == pytest.approx(0.2077, abs=1e-4)  # Wilson's interval of 2 of 3, from tables
    assert found["rated_4_share_high"] == pytest.approx(0.9385, abs=1e-4)


def test_one_latent_has_no_other_to_be_compared_with(store, tmp_path):
    rows, metrics = written(reported(store, ScriptedBackend(), listed=[0]), tmp_path)
    assert rows[0]["other_neuron_idx"] == rows[0]["other_f1"] == ""
    assert "f1_over_other" not in metrics
    assert "f1_over_constant" in metrics


def test_texts_of_any_kind_survive_the_csv(store, tmp_path):
    nasty = 'a "b",\nc\r\n=1+1; \u2028 ok'

    class Nasty(ScriptedBackend):
        def explain(self, latents, candidates, evidence=frozenset()):
            return [[Explanation(nasty)] for _ in latents]

    rows, _ = written(reported(store, Nasty()), tmp_path)
    assert [row["interpretation"] for row in rows] == [nasty] * 3
    assert pd.read_csv(tmp_path / "data" / "interpretations.csv")["neuron_idx"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("n", [2, 3, 20])
def test_each_latent_is_given_another_and_each_name_is_given_once(n):
    latents = list(range(10, 10 + n))
    for seed in range(10):
        others = derangement(latents, seed)
        assert sorted(others) == sorted(others.values()) == latents
        assert all(latent != other for latent, other in others.items())
    assert derangement(latents, 1) == derangement(latents, 1)
    assert derangement([7], 0) == derangement([], 0) == {}
