import csv
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from features_samples import make_store
from hypotheses_samples import WordBackend, hypotheses_settings, sample_examples
from samples import params

from fast_sae.backends.base import Explanation
from fast_sae.backends.opening import open_backend
from fast_sae.hypotheses.annotations import text_window
from fast_sae.hypotheses.generate import generate_hypotheses, make_hypotheses
from fast_sae.hypotheses.material import gather
from fast_sae.hypotheses.targets import Targets, hold, read_targets
from fast_sae.interpretation.settings import InterpretSettings
from fast_sae.params import parse_section


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "features")


def report_of(store, backend=None, targets=None, **settings):
    """A report of the sample's texts, in which latent 0 goes with " pearl" and 1 with the label "counting"."""
    validation, test = (hold(store, split, sample_examples()) for split in ("validation", "test"))
    chosen = hypotheses_settings(**settings)
    wanted = targets or read_targets(validation, test, chosen)
    return make_hypotheses(
        store, validation, test, wanted, chosen, backend=backend or WordBackend(), texts_per_question=7
    )


def pearls() -> Targets:
    """Whether a text mentions a pearl, as a label."""
    has = np.array([["pearl" in one.messages[0]["content"]] for one in sample_examples()], np.float64)
    return Targets(["pearl"], True, has, has)


@pytest.mark.parametrize("select_by", ["separation", "correlation", "lasso"])
def test_a_latent_that_goes_with_a_target_is_found_named_and_confirmed(store, select_by):
    report = report_of(store, targets=pearls(), select_by=select_by, n_hypotheses=1)
    (found,), (tested,) = report.hypotheses, report.tested
    assert (found.latent, found.named.name.text, found.status) == (0, "pearl", "named")
    assert found.score > 0
    assert (tested.separation, tested.auroc, tested.texts) == (1, 1, 60)
    assert report.confirmed == [True]
    assert report.joint["hypotheses"][0].test[0] == report.joint["latents"][0].test[0] == 1


def test_no_backend_ever_sees_a_label(store):
    backend = WordBackend()
    report_of(store, backend)
    assert backend.seen
    assert set(backend.seen) == {None}


def test_a_refused_latent_is_reported_and_not_tested(store):
    label = np.array([[one.label == "counting"] for one in sample_examples()], np.float64)
    both = Targets(["pearl", "counting"], True, *[np.hstack([pearls().test, label])] * 2)
    report = report_of(store, WordBackend(unnamed={0}), targets=both, n_hypotheses=1)
    assert [(one.latent, one.status) for one in report.hypotheses] == [(0, "refused"), (1, "named")]
    assert report.p_corrected[0] is None
    assert report.p_corrected[1] is not None
    assert (report.metrics()["tested"], report.metrics()["latents_named"]) == (1, 1)


def test_unanswered_texts_are_counted_and_left_out(store):
    whole = report_of(store, targets=pearls(), n_hypotheses=1)
    report = report_of(store, WordBackend(unanswered={0, 3}), targets=pearls(), n_hypotheses=1)
    (tested,) = report.tested
    assert (tested.texts, tested.unanswered) == (46, 14)
    assert tested.separation == whole.tested[0].separation == 1
    assert report.metrics()["unanswered_share"] == pytest.approx(14 / 60)
    assert report.joint["hypotheses"][0].texts == report.joint["latents"][0].texts == 46


def test_a_name_of_which_nothing_is_known_is_no_column_of_the_joint_model(store):
    report = report_of(store, WordBackend(unanswered={*range(9)}), targets=pearls(), n_hypotheses=1)
    assert report.tested[0].p is None
    assert report.joint["hypotheses"] == [None]
    assert report.metrics()["joint_auroc"] is None


def test_more_hypotheses_than_latents_that_live_are_those_there_are(store):
    report = report_of(store, n_hypotheses=50)
    assert {one.latent for one in report.hypotheses} <= {0, 1, 2}


def test_a_number_is_predicted(store):
    has = pearls().validation * 3 + np.arange(60)[:, None] / 100
    report = report_of(store, targets=Targets(["number"], False, has, has), target="number", n_hypotheses=1)
    assert report.confirmed == [True]
    assert report.joint["hypotheses"][0].test[0] > 0.9
    assert "joint_r2" in report.metrics()


def test_what_is_written_is_the_same_bytes_again(store, tmp_path):
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        report_of(store, n_hypotheses=2).write(folder, folder / "metrics.json", folder)
        written.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert written[0] == written[1]
    assert set(written[0]) == {"annotations.parquet", "hypotheses.csv", "joint.csv", "metrics.json"}


def test_the_tables_hold_what_was_found(store, tmp_path):
    report_of(store, WordBackend(unanswered={0}), targets=pearls(), n_hypotheses=1).write(
        tmp_path, tmp_path / "metrics.json", tmp_path
    )
    (row,) = pd.read_csv(tmp_path / "hypotheses.csv").to_dict("records")
    assert (row["target"], row["latent"], row["interpretation"], row["status"]) == ("pearl", 0, "pearl", "named")
    assert (row["texts"], row["unanswered"], row["confirmed"]) == (53, 7, True)
    annotations = pq.read_table(tmp_path / "annotations.parquet").to_pandas()
    of_test = annotations[annotations["split"] == "test"]
    assert len(of_test) == 60
    assert of_test["has"].isna().sum() == 7
    metrics = json.loads((tmp_path / "metrics.json").read_text())["hypotheses"]
    assert len(metrics) <= 15
    assert metrics["confirmed"] == 1


def test_counts_stay_whole_numbers_beside_a_hypothesis_without_a_name(store, tmp_path):
    report = report_of(store, WordBackend(unnamed={0}), n_hypotheses=2)
    report.write(tmp_path, tmp_path / "metrics.json", tmp_path)
    rows = csv.DictReader((tmp_path / "hypotheses.csv").read_text(encoding="utf-8").splitlines())
    assert {(row["texts"], row["unanswered"]) for row in rows} == {("", ""), ("60", "0")}


def test_a_latent_without_a_pattern_is_lost_in_words_and_kept_among_the_latents(store, tmp_path, monkeypatch):
    monkeypatch.setattr(WordBackend, "_names", lambda *_: [Explanation("nothing", pattern=False)])
    report = report_of(store, targets=pearls(), n_hypotheses=1)
    words, latents = (report.joint[by][0] for by in ("hypotheses", "latents"))
    assert (words.columns, words.texts, latents.columns, latents.texts) == (1, 60, 1, 60)
    assert (words.test == 0.5).all()
    assert latents.test[0] == 1


def test_a_model_that_is_none_leaves_its_cells_empty(store, tmp_path):
    report = report_of(store, WordBackend(unnamed={0}), targets=pearls(), n_hypotheses=1)
    report.write(tmp_path, tmp_path / "metrics.json", tmp_path)
    assert (tmp_path / "joint.csv").read_text().splitlines()[1:] == [
        f"pearl,{by},,,,,," for by in ("hypotheses", "latents")
    ]


@pytest.mark.parametrize("fires", [1, 2, 4, 9])
def test_the_strongest_text_is_shown_and_a_quarter_of_the_strong_ones_choose(store, fires):
    texts = [text_window(one, i, "validation", 256) for i, one in enumerate(sample_examples())]
    strength = np.where(np.arange(60) < fires, 60.0 - np.arange(60), 0.0)
    found = gather(store, 3, texts, strength, hypotheses_settings())
    assert [one.window.example for one in found.showing.firing] == [i for i in range(fires) if i % 4 != 1]
    assert [one.window.example for one in found.choosing if one.fires] == [i for i in range(fires) if i % 4 == 1]


def test_switched_off_nothing_is_made_and_what_dvc_wants_is_there(store, tmp_path):
    backend = parse_section(params(), "interpret", InterpretSettings)
    examples = dict.fromkeys(("validation", "test"), sample_examples())
    off = hypotheses_settings(enabled=False, target="number")
    with open_backend(backend, tmp_path / "replies.jsonl") as opened:
        report = generate_hypotheses(store, examples, off, opened, backend.windows_per_request)
    report.write(tmp_path, tmp_path / "metrics.json", tmp_path)
    assert (tmp_path / "replies.jsonl").read_bytes() == b""
    assert pd.read_csv(tmp_path / "hypotheses.csv").empty
    assert json.loads((tmp_path / "metrics.json").read_text())["hypotheses"]["hypotheses"] == 0


def test_the_offline_backend_finds_the_word(store, tmp_path):
    settings = parse_section(params(), "interpret", InterpretSettings)
    with open_backend(settings, tmp_path / "replies.jsonl") as backend:
        report = report_of(store, backend, targets=pearls(), n_hypotheses=1)
    assert report.hypotheses[0].named.name.rule["any_of"] == ["pearl"]
    assert report.confirmed == [True]
