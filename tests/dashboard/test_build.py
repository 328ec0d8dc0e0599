"""The stage: one file or chunks beside it, the same bytes, and one line for what a user can mend."""

import os
import subprocess
import sys

import pytest
from dashboard_samples import (
    HYPOTHESIS,
    METRICS,
    NAMED,
    PATHS,
    TABLES,
    Run,
    digest,
    files,
    kept_rows,
    read_dashboard,
    steering_of,
    without_labels,
)
from samples import ROOT
from steering_samples import steer_settings

import fast_sae.dashboard.build
from fast_sae.errors import ArtifactError
from fast_sae.steering.effects import Chosen
from fast_sae.steering.report import SteerReport

HOSTILE = (
    *("</script>", "<!--", "<script>", "]]>", "&amp;", "\u2028\u2029", "'", '"', "`${0}\\", "\0", "\x1b[31m\x7f\x85"),
    *("\u202edesrever", "👩‍👩‍👧", "W" * 10_000, "", "__proto__", "NA"),
)


def test_chunks_beside_the_page_hold_what_one_file_holds(tmp_path, monkeypatch):
    single = Run(tmp_path / "one").build(monkeypatch)
    beside = Run(tmp_path / "many", changed={"dashboard.single_file_latents": 3, "dashboard.chunk_latents": 2}).build(
        monkeypatch
    )
    assert single.overview["chunks"] == {"size": 4, "count": 1, "embedded": True}
    assert beside.overview["chunks"] == {"size": 2, "count": 2, "embedded": False}
    assert {number: sorted(map(int, chunk["latents"])) for number, chunk in beside.chunks.items()} == {
        0: [0, 1],
        1: [2],
    }
    assert beside.columns == single.columns

    assert spelled(beside) == spelled(single)
    assert beside.blocks.keys() == {"overview"}


def spelled(page) -> dict[int, dict]:
    """Every latent with the texts of its windows in place of the numbers that its chunk gives them."""

    def text(chunk, number):
        example, first, label, tokens, kinds = chunk["texts"][number]
        return example, first, label, [chunk["tokens"][token] for token in tokens], kinds

    return {
        int(latent): about
        | {of: [[text(chunk, number), *rest] for number, *rest in about[of]] for of in ("top", "sampled")}
        for chunk in page.chunks.values()
        for latent, about in chunk["latents"].items()
    }


@pytest.mark.parametrize(("size", "count"), [(1, 4), (3, 2), (100, 1)])
def test_chunks_cover_every_latent_and_may_be_empty(tmp_path, monkeypatch, size, count):
    changed = {"dashboard.single_file_latents": 3, "dashboard.chunk_latents": size}
    page = Run(tmp_path, changed=changed).build(monkeypatch)
    assert page.overview["chunks"] == {"size": size, "count": count, "embedded": False}
    assert [*page.chunks] == [*range(count)]
    assert {int(k): number for number, chunk in page.chunks.items() for k in chunk["latents"]} == {
        latent: latent // size for latent in (0, 1, 2)
    }
    if size == 1:
        assert page.chunks[3] == {"tokens": [], "texts": [], "latents": {}}  # latent 3 is dead


def test_an_sae_of_just_so_many_latents_is_one_file(tmp_path, monkeypatch):
    page = Run(tmp_path, changed={"dashboard.single_file_latents": 4, "dashboard.chunk_latents": 1}).build(monkeypatch)
    assert page.overview["chunks"] == {"size": 4, "count": 1, "embedded": True}
    assert [*files(tmp_path / "reports/dashboard")] == ["index.html"]


def test_the_same_bytes_again_and_nothing_of_the_last_run_is_left(tmp_path, monkeypatch):
    run = Run(tmp_path, changed={"dashboard.single_file_latents": 3, "dashboard.chunk_latents": 1})
    run.build(monkeypatch)
    first = files(tmp_path / "reports")
    (tmp_path / "reports/dashboard/chunks/9.js").write_text("old")
    run.build(monkeypatch)
    assert files(tmp_path / "reports") == first


def test_a_run_without_names_hypotheses_or_steering(tmp_path, monkeypatch):
    nothing = SteerReport(steer_settings(enabled=False))
    page = Run(tmp_path, interpretations=(), hypotheses=(), steering=nothing).build(monkeypatch)
    assert {about["steering"] for about in page.latents.values()} == {None}
    assert {about["name"] for about in page.latents.values()} == {None}
    assert [about["hypotheses"] for about in page.latents.values()] == [[], [], []]
    for column in ("name", "named", "rating", "score", "fuzzing"):
        assert page.overview["latents"][column] == [None] * 3


def test_metrics_that_hold_no_figures(tmp_path, monkeypatch):
    page = Run(tmp_path, metrics=METRICS | {"interpret_sae": ("interpret", {})}).build(monkeypatch)
    metrics = page.overview["metrics"]
    assert [line[1:] for line in metrics if line[0] == "in_model"] == [
        *(["examples", 0, None, None], ["predictions", 0, None, None])
    ]
    assert not [line for line in metrics if line[0] == "interpret"]


def test_data_without_labels(tmp_path, monkeypatch):
    kept = {name: without_labels(kept_rows(tmp_path / "kept", name)) for name in ("texts", "examples")}
    latents = [(*row[:-3], None, None, None) for row in TABLES["latents"]]
    page = Run(tmp_path, tables={**kept, "latents": latents, "labels": []}).build(monkeypatch)
    assert page.overview["labels"] == []
    assert page.overview["latents"]["label"] == [-1] * 3
    assert page.overview["latents"]["auroc"] == [None] * 3
    assert {label for _, _, label, _, _ in page.chunks[0]["texts"]} == {-1}


def test_a_text_without_a_label_stands_beside_one_whose_label_nothing_else_has(tmp_path, monkeypatch):
    """Not every example is pooled, and of a latent's labels only the best are listed."""
    labels = {59: None, 54: "alone"}
    texts = [row | {"label": labels.get(row["example"], row["label"])} for row in kept_rows(tmp_path / "kept", "texts")]
    page = Run(tmp_path, tables={"texts": [tuple(row.values()) for row in texts]}).build(monkeypatch)
    assert page.overview["labels"] == ["alone", "counting", "waiting"]
    numbers = {example: label for example, _, label, _, _ in page.chunks[0]["texts"]}
    assert (numbers[59], numbers[54], numbers[49]) == (-1, 0, 2)


@pytest.mark.parametrize("living", [[], [1]])
def test_hardly_any_latent_lives(tmp_path, monkeypatch, living):
    latents = [row for row in TABLES["latents"] if row[0] in living]
    page = Run(tmp_path, tables={"latents": latents}, steering=steering_of()).build(monkeypatch)
    assert page.overview["run"]["alive"] == len(living)
    assert ([*page.columns], [*page.latents]) == (living, living)
    assert {len(column) for column in page.overview["latents"].values()} == {len(living)}
    assert bool(page.chunks[0]["texts"]) == bool(living)


@pytest.mark.parametrize("embedded", [True, False])
def test_hostile_texts_come_back_unchanged(tmp_path, monkeypatch, embedded):
    texts = kept_rows(tmp_path / "kept", "texts")
    for row in texts:
        word = HOSTILE[row["example"] % len(HOSTILE)]
        row["tokens"], row["label"] = [*row["tokens"][:-1], word], word
    everywhere = "".join(HOSTILE)
    run = Run(
        tmp_path,
        {
            "texts": [tuple(row.values()) for row in texts],
            "tokens": [(0, rank, rank, word, 1, 2, 3.0) for rank, word in enumerate(HOSTILE, 1)],
            "logit_lens": [(0, "promoted", rank, rank, word, 3.0) for rank, word in enumerate(HOSTILE, 1)],
        },
        [NAMED | {"interpretation": everywhere, "reason": everywhere, "rating_reason": everywhere}],
        [HYPOTHESIS | {"target": everywhere, "interpretation": everywhere}],
        steering_of(Chosen(everywhere, 1, 0.9, 50.0, 0.5)),
        changed={"dashboard.single_file_latents": 4 if embedded else 1},
    )
    page = run.build(monkeypatch)
    latents = page.latents
    assert [row[0] for row in latents[0]["tokens"]] == [row[0] for row in latents[0]["promoted"]] == [*HOSTILE]
    assert {latents[0]["name"][what] for what in ("text", "reason", "rating_reason")} == {everywhere}
    assert latents[1]["hypotheses"][0][:2] == [everywhere, everywhere]
    assert latents[1]["steering"]["label"] == everywhere
    assert page.columns[0]["name"] == page.columns[1]["name"] == everywhere
    assert {*HOSTILE} < {*page.overview["labels"]}
    for chunk in page.chunks.values():
        for example, _, label, tokens, _ in chunk["texts"]:
            assert chunk["tokens"][tokens[-1]] == page.overview["labels"][label] == HOSTILE[example % len(HOSTILE)]
    assert [tag for tag, _ in page.tags].count("script") == (3 if embedded else 2)
    assert (page.scripts, page.styles) == (page.scripts[:1], page.styles[:1])
    assert digest(page.scripts[0]) in page.policy["script-src"]


def test_the_policy_knows_the_style_and_script_of_the_dashboard(tmp_path, monkeypatch):
    page = Run(tmp_path).build(monkeypatch)
    assert page.policy["script-src"] == [digest(page.scripts[0]), "'self'", "file:"]
    assert page.policy["style-src"] == [digest(page.styles[0])]
    assert "fastSaeChunk" in page.scripts[0]
    assert not [about for tag, about in page.tags if "style" in about or any(name.startswith("on") for name in about)]
    assert [about[name] for _, about in page.tags for name in ("src", "href") if name in about] == [
        "data:,"
    ]  # its icon


def test_another_process_makes_the_same_bytes(tmp_path, monkeypatch):
    changed = {"dashboard.single_file_latents": 3, "dashboard.chunk_latents": 2}
    Run(tmp_path, changed=changed).build(monkeypatch)
    here = files(tmp_path / "reports")
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "src")}
    command = f"from pathlib import Path; from build_dashboard import main; main(*map(Path, {PATHS}))"
    subprocess.run([sys.executable, "-c", command], cwd=tmp_path, env=env, check=True, capture_output=True)
    assert files(tmp_path / "reports") == here


def test_what_fails_midway_leaves_the_last_page(tmp_path, monkeypatch):
    run = Run(tmp_path, changed={"dashboard.single_file_latents": 3, "dashboard.chunk_latents": 1})
    run.build(monkeypatch)
    before = files(tmp_path / "reports")

    def full(number, content):
        if number:
            raise OSError("the disk is full")
        return "fastSaeChunk(0,{});"

    monkeypatch.setattr(fast_sae.dashboard.build, "chunk_script", full)
    with pytest.raises(OSError, match="the disk is full"):
        run.build(monkeypatch)
    assert files(tmp_path / "reports") == before
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["dashboard"]
    assert read_dashboard(tmp_path / "reports/dashboard").chunks.keys() == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("lost", "content", "told"),
    [
        ("metrics/evaluate_sae.json", "{", "is not JSON; run: dvc repro evaluate_sae"),
        ("metrics/evaluate_sae.json", "{}", "the metrics of evaluate are no section of numbers"),
        ("metrics/plots/train_sae/loss.csv", "step,loss\n1,high\n", "loss.csv is damaged .*dvc repro train_sae"),
        ("metrics/plots/evaluate_sae/density.csv", "a,b\nx,many\n", "density.csv is damaged .*dvc repro evaluate_sae"),
        ("features/texts.parquet", "PAR1", "texts.parquet is not Parquet"),
    ],
)
def test_what_is_damaged_is_named_with_the_stage_to_run(tmp_path, monkeypatch, lost, content, told):
    run = Run(tmp_path)
    (tmp_path / lost).write_text(content)
    with pytest.raises(ArtifactError, match=told) as refused:
        run.build(monkeypatch)
    assert "\n" not in str(refused.value)
    assert not files(tmp_path / "reports")


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("interpretations/interpretations.csv", "dvc repro interpret_sae"),
        ("hypotheses/hypotheses.csv", "dvc repro generate_hypotheses"),
        ("steering/generations.jsonl", "dvc repro steer_features"),
        ("steering/manifest.json", "dvc repro steer_features"),
        ("metrics/evaluate_sae.json", "dvc repro evaluate_sae"),
        ("metrics/plots/train_sae/loss.csv", "dvc repro train_sae"),
        ("features/windows.parquet", "dvc repro collect_features"),
    ],
)
def test_what_is_missing_is_named_with_the_stage_to_run(tmp_path, monkeypatch, lost, told):
    run = Run(tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(ArtifactError, match=told) as refused:
        run.build(monkeypatch)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "reports").exists() or not [*(tmp_path / "reports").iterdir()]


@pytest.mark.parametrize("other", ["interpretations", "hypotheses", "steering"])
def test_what_is_of_other_features_is_refused(tmp_path, monkeypatch, other):
    run = Run(tmp_path)
    manifest = tmp_path / other / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"features_sha256": "', '"features_sha256": "0'))
    with pytest.raises(ArtifactError, match="is not of the present"):
        run.build(monkeypatch)


def test_features_of_another_sae_are_refused(tmp_path, monkeypatch):
    run = Run(tmp_path)
    weights = tmp_path / "sae/sae.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ArtifactError, match="is of another SAE"):
        run.build(monkeypatch)
