"""Two runs compared whole, by revisions of a repository that holds them."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
from dashboard_samples import ReadPage, read_page
from samples import ROOT
from two_runs_samples import DIRECTIONS, SWAPPED, Repository

import compare_runs as command
from fast_sae.comparison.contents import stale_stages
from fast_sae.comparison.two_runs import compare_runs
from fast_sae.errors import UserError

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e=cmd|' /C calc'!A0\n"
OUT = Path("out")


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        repository = Repository()
        repository.add("bare", directions=DIRECTIONS, without=("features", "interpretations", "hypotheses"))
        repository.add("other_examples", directions=DIRECTIONS, examples="others")
        repository.add("other_layer", directions=DIRECTIONS, sae__layer=6)
        repository.add("second", directions=SWAPPED, names=(HOSTILE, HOSTILE), sae__K=1)
        repository.add("first", directions=DIRECTIONS)
    return folder


@pytest.fixture(autouse=True)
def here(repository, monkeypatch):
    monkeypatch.chdir(repository)
    yield
    shutil.rmtree(OUT, ignore_errors=True)


def compared(a: str, b: str) -> tuple[list[str], list[dict[str, str]], ReadPage]:
    """What is said, the rows of latents.csv, and the page."""
    said = [*compare_runs(a, b, OUT)]
    with (OUT / "latents.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    return said, rows, read_page((OUT / "index.html").read_text(encoding="utf-8"))


def fates(rows: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    return [(row["status"], row["a"], row["b"]) for row in rows]


def test_what_was_found_is_said_and_written():
    said, rows, _ = compared("first", "second")
    assert said[2:4] == [
        "Of 3 latents of A and 3 of B, 2 are found again (2 of them changed their meaning), 1 vanished, 1 appeared.",
        "1 of the vanished live on by what they do: some latent of B correlates with them at 0.7 or more.",
    ]
    assert said[-3:] == ["out/index.html", "out/metrics.csv", "out/latents.csv"]
    assert fates(rows) == [
        *(("changed its meaning", "0", "1"), ("changed its meaning", "1", "0")),
        *(("vanished", "2", ""), ("appeared", "", "2")),
    ]
    pair, _, gone, new = rows
    assert (pair["a_name"], pair["b_name"], pair["same_name"]) == ("the word pearl", HOSTILE, "False")
    assert (pair["a_label"], pair["b_label"], pair["same_label"]) == ("waiting", "counting", "False")
    assert (gone["nearest"], gone["nearest_cosine"], gone["nearest_by_activation"]) == ("1", "0.6", "2")
    assert (new["nearest_by_activation"], new["nearest_pearson"]) == ("2", "1")


def test_the_command_compares_with_the_workspace_and_says_where_it_wrote(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare_runs.py", "first", "--out", "out"])
    command.main()
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "B: workspace"
    assert said[-3:] == ["out/index.html", "out/metrics.csv", "out/latents.csv"]


def test_a_run_against_itself_differs_in_nothing():
    _, rows, page = compared("first", "first")
    assert fates(rows) == [("found again", str(k), str(k)) for k in range(3)]
    assert [row["shared_top_examples"] for row in rows] == ["1"] * 3
    assert page.blocks["compare"]["params"] == []
    assert set(page.blocks["compare"]["metrics"]["difference"]) == {0}


def test_the_page_holds_both_sides():
    page = compared("first", "second")[2]
    block = page.blocks["compare"]
    assert [run["name"] for run in block["runs"]] == ["first", "second"]
    assert ["sae.K", "2", "1"] in block["params"]
    assert block["latents"]["status"] == ["changed its meaning"] * 2 + ["vanished", "appeared"]
    assert len({len(column) for column in block["latents"].values()}) == 1
    assert [[*side] for side in block["details"]] == [["0", "1", "2"]] * 2
    for about in block["details"][0].values():
        assert len(about["windows"]) == 3
        for number, flat in about["windows"]:
            _, _, _, ids, kinds = block["texts"][number]
            assert len(ids) == len(kinds)
            assert max(flat[::2]) < len(ids)
            assert min(flat[1::2]) > 0
    strongest = [
        block["tokens"][block["texts"][number][3][flat[0]]] for number, flat in block["details"][0]["0"]["windows"]
    ]
    assert strongest == [" pearl"] * 3
    assert [len(curves) for curves in block["curves"].values()] == [2] * 4
    fvu = block["metrics"]["metric"].index("evaluate.fvu")
    assert [block["metrics"][name][fvu] for name in ("a", "a_low", "b", "intervals_overlap")] == [
        *(0.064654, 0.0642, 0.064654, True)
    ]


def test_nothing_of_the_data_stands_on_the_page_as_html():
    page = compared("first", "second")[2]
    assert HOSTILE in page.blocks["compare"]["latents"]["b_name"]
    assert "<img" not in page.text
    assert "\u202e" not in json.dumps([tag for tag in page.tags])
    assert page.policy["default-src"] == ["'none'"]
    assert len(page.scripts) == 1
    sources = [file.read_text() for file in (ROOT / "src/fast_sae/comparison/assets").glob("*.js")]
    assert len(sources) == 2
    for source in sources:
        for forbidden in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", "outerHTML"):
            assert forbidden not in source


def test_the_same_two_runs_give_the_same_bytes():
    read = []
    for _ in range(2):
        compared("first", "second")
        read.append({path.name: path.read_bytes() for path in sorted(OUT.iterdir())})
        shutil.rmtree(OUT)
    assert [*read[0]] == ["index.html", "latents.csv", "metrics.csv"]
    assert read[0] == read[1]


def test_the_workspace_is_read_as_it_lies_and_folders_are_named_by_both():
    metrics = Path("metrics/evaluate_sae.json")
    kept = metrics.read_text()
    metrics.write_text(json.dumps({"evaluate": {"fvu": 0.5}}))
    try:
        said = [*compare_runs("first", "workspace", None)]
    finally:
        metrics.write_text(kept)
    assert said[-1] == "reports/compare/first_vs_workspace/latents.csv"
    with Path("reports/compare/first_vs_workspace/metrics.csv").open() as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    shutil.rmtree("reports")
    assert (rows["evaluate.fvu"]["b"], rows["evaluate.l0"]["b"], rows["evaluate.l0"]["a"]) == ("0.5", "", "8")


def test_of_another_layer_latents_are_matched_by_what_they_do():
    said, rows, page = compared("first", "other_layer")
    assert "the SAEs read another layer: decoder cosines mean nothing" in said
    assert page.blocks["compare"]["by"] == "activation"
    assert fates(rows) == [("found again", str(k), str(k)) for k in range(3)]
    assert {row["cosine"] for row in rows} == {""}


def test_over_other_examples_no_meaning_is_judged():
    said, rows, _ = compared("first", "other_examples")
    assert any("pooled other examples of test" in line for line in said)
    assert fates(rows) == [("found again", str(k), str(k)) for k in range(3)]
    assert {row["pearson"] + row["shared_top_examples"] for row in rows} == {""}


def test_of_another_layer_and_other_examples_only_metrics_are_compared():
    said, rows, page = compared("other_layer", "other_examples")
    assert "latents are not matched: only metrics and parameters are compared" in said
    assert (rows, page.blocks["compare"]["by"]) == ([], None)
    assert len(page.blocks["compare"]["metrics"]["metric"]) > 5


def test_without_features_all_latents_are_matched_by_direction_and_this_is_said():
    said, rows, page = compared("first", "bare")
    assert sum("bare" in line and "no features" in line for line in said) == 1
    assert any("all are compared, dead ones too" in line for line in said)
    assert fates(rows) == [*(("found again", str(k), str(k)) for k in range(3)), ("appeared", "", "3")]
    assert page.blocks["compare"]["details"][1] == {}


def test_a_revision_without_an_sae_is_refused():
    with pytest.raises(UserError, match=r"^start \(.{7}\) has no SAE \(models/sae\); run there: dvc repro train_sae$"):
        compared("first", "start")
    assert not OUT.exists()


def test_what_is_neither_in_the_cache_nor_in_a_remote_is_told(tmp_path, repository, monkeypatch):
    shutil.copytree(repository, tmp_path / "copy", ignore=shutil.ignore_patterns("cache"))
    monkeypatch.chdir(tmp_path / "copy")
    with pytest.raises(UserError, match=r"the bytes of models/sae are neither .* run: dvc fetch second") as caught:
        compared("second", "workspace")
    assert len(str(caught.value).splitlines()) == 1
    assert not OUT.exists()


def test_an_sae_that_cannot_be_read_is_told_without_a_scratch_path(tmp_path, repository, monkeypatch):
    shutil.copytree(repository, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    Path("models/sae").chmod(0o755)
    config = Path("models/sae/config.json")
    config.unlink()
    config.write_text("{")
    with pytest.raises(UserError, match=r"^workspace: its SAE cannot be read: models/sae/config.json") as caught:
        compared("first", "workspace")
    assert str(tmp_path) not in str(caught.value)


def test_what_was_made_of_another_state_is_stale_and_all_behind_it():
    lock = """
    stages:
      train: {outs: [{path: sae, md5: aa}]}
      features: {deps: [{path: sae, md5: ab}], outs: [{path: f, md5: ff}]}
      names: {deps: [{path: f, md5: ff}, {path: raw, md5: xx}]}
      evaluate: {deps: [{path: sae, md5: aa}]}
    """
    assert stale_stages(lock) == ["features", "names"]
    assert stale_stages(lock.replace("md5: ab", "md5: aa")) == stale_stages(None) == []
