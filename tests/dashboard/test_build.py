"""The stage: one file or chunks beside it, the same bytes, and one line for what a user can mend."""

import pytest
from dashboard_samples import Run, files, steering_of

from fast_sae.errors import ArtifactError


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

    def shown(page):
        return {
            latent: [[chunk["tokens"][token] for token in chunk["texts"][number][3]] for number, *_ in about["top"]]
            for chunk in page.chunks.values()
            for latent, about in chunk["latents"].items()
        }

    assert shown(beside) == shown(single)


def test_the_same_bytes_again_and_nothing_of_the_last_run_is_left(tmp_path, monkeypatch):
    run = Run(tmp_path, changed={"dashboard.single_file_latents": 3, "dashboard.chunk_latents": 1})
    run.build(monkeypatch)
    first = files(tmp_path / "reports")
    (tmp_path / "reports/dashboard/chunks/9.js").write_text("old")
    run.build(monkeypatch)
    assert files(tmp_path / "reports") == first


def test_a_run_without_names_hypotheses_or_steering(tmp_path, monkeypatch):
    page = Run(tmp_path, interpretations=(), hypotheses=(), steering=steering_of(latents=())).build(monkeypatch)
    assert {about["steering"] for about in page.latents.values()} == {None}
    assert {row["name"] for row in page.columns.values()} == {None}


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
