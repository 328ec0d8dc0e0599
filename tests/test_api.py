"""The public face: its names, its defaults, and what it shows of a small SAE whose every number is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from features_samples import M, make_store
from sae_samples import initialised
from samples import row_arrays, store

from fast_sae import api
from fast_sae.artifacts import file_sha256, read_manifest, write_json, write_manifest
from fast_sae.errors import ArtifactError, UserError
from fast_sae.sae.checkpoint import sae_sha256, save_sae

MADE = {"model": {"name": "toy"}, "extract": {"max_length": 9}}
HOSTILE = '<b>"with", or\x1b[31m NA'


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A pipeline's folder whose latent 1 has a name."""
    root = tmp_path_factory.mktemp("repository")
    for name in ("dvc.yaml", "params.yaml"):
        (root / name).write_text("")
    (root / "notebooks").mkdir()
    save_sae(initialised(2, layer=2, M=M), root / "models/sae")
    write_manifest(root / "models/sae", "train_sae", {**MADE, "sae": {"layer": 2}}, {})
    features = root / "data/features"
    make_store(features)
    manifest = read_manifest(features, "collect_features")
    facts = {**manifest.facts, "sae_sha256": sae_sha256(root / "models/sae")}
    write_manifest(features, "collect_features", manifest.settings, facts)
    names = root / "data/interpretations"
    write_manifest(names, "interpret_sae", {}, {"features_sha256": file_sha256(features / "manifest.json")})
    quoted = HOSTILE.replace('"', '""')
    (names / "interpretations.csv").write_text(
        f'"neuron_idx","interpretation","status","balanced_accuracy"\n1,"{quoted}","explained",0.75\n'
        '0,"no pattern found","no_pattern",\n',
        encoding="utf-8",
    )
    shards = [
        row_arrays(np.arange(12, dtype=np.float16).reshape(6, 2) + at, [4, 2], [0, 1, 2, 3, 3, 4]) for at in (0, 9)
    ]
    store(root / "data/activations", shards, MADE)
    return root


@pytest.fixture(params=["", "notebooks"])
def here(request, repository, monkeypatch) -> Path:
    """The folder in which Jupyter was started."""
    monkeypatch.chdir(repository / request.param)
    return repository


def test_the_public_names_are_these():
    assert sorted(api.__all__) == [
        *("Activations", "Feature", "Features", "SparseAutoencoder"),
        *("load_activations", "load_features", "load_sae"),
    ]
    assert all(getattr(api, name).__doc__ for name in api.__all__)


def test_ten_lines_from_wherever_the_notebook_starts(here):
    sae, features = api.load_sae(), api.load_features()
    rows = api.load_activations("train")
    latents = sae.encode(rows.x)
    assert latents.shape == (12, M)
    assert not latents.requires_grad
    assert latents.dtype == torch.float32
    assert repr(features) == "3 living latents of 4, 1 of them named"
    assert [feature.latent for feature in features] == [0, 1, 2]


def test_activations_come_with_what_each_row_is(repository, monkeypatch):
    monkeypatch.chdir(repository)
    rows = api.load_activations("train")
    assert rows.x[:, 0].tolist() == [0, 2, 4, 6, 8, 10, 9, 11, 13, 15, 17, 19]
    assert rows.tokens["position"].tolist() == [0, 1, 2, 3, 0, 1] * 2
    assert (
        rows.tokens["kind"].tolist()
        == ["begin_of_text", "scaffold", "role_name", "content", "content", "end_of_turn"] * 2
    )
    for wanted in (1, 6, 8, 12, 99):
        few = api.load_activations("train", rows=wanted)
        assert len(few) == len(few.tokens) == min(wanted, 12)
        assert few.x.tolist() == rows.x[:wanted].tolist()


def test_the_table_has_a_row_per_living_latent(repository, monkeypatch):
    monkeypatch.chdir(repository)
    table = api.load_features().table
    assert table.columns.tolist() == ["name", "score", "label", "auroc", "density", "max_activation"]
    assert table.index.tolist() == [0, 1, 2]
    assert table["name"].tolist()[1] == HOSTILE
    assert table["name"].isna().tolist() == [True, False, True]
    assert table.loc[1, ["score", "label", "auroc", "density", "max_activation"]].tolist() == [
        0.75,
        "counting",
        1,
        0.1,
        1,
    ]


def test_a_search_finds_names_first_then_labels_then_tokens(repository, monkeypatch):
    monkeypatch.chdir(repository)
    features = api.load_features()
    assert features.search("WITH")["found_in"].to_dict() == {1: "name"}
    assert features.search("count")["found_in"].to_dict() == {1: "label"}
    assert features.search("Pearl")["found_in"].to_dict()[0] == "tokens"
    assert [*features.search("N")["found_in"]][:1] == ["name"]
    assert features.search("the")["found_in"].to_dict() == {2: "tokens"}
    assert len(features.search("nothing like it")) == 0
    assert features.search("nothing like it").columns[-1] == "found_in"


def test_a_feature_shows_itself_and_has_all_the_tables(repository, monkeypatch):
    monkeypatch.chdir(repository)
    one = api.load_features()[1]
    assert (one.name, one.score, one.label, one.auroc, one.density) == (HOSTILE, 0.75, "counting", 1.0, 0.1)
    assert one.labels.to_dict("list") == {
        "label": ["counting", "waiting"],
        "validation_auroc": [1, 0],
        "test_auroc": [1, 0],
    }
    assert [shown.window.example for shown in one.top()] == [58, 56, 54, 52, 50]
    for empty, columns in (
        (one.histogram, ["low", "high", "tokens"]),
        (one.tokens, ["token_id", "token", "fired", "count", "lift"]),
        (one.logits("promoted"), ["token_id", "token", "logit"]),
        (one.neighbours(), ["neighbour", "similarity"]),
    ):
        assert empty.columns.tolist() == columns
        assert len(empty) == 0
    assert "2.967 in test text 58, counting" in repr(one)
    assert "\x1b" not in repr(one)
    assert "&lt;b&gt;&quot;with&quot;, or␛[31m NA" in one._repr_html_()


def test_latents_that_are_not_there_are_told_from_dead_ones(repository, monkeypatch):
    monkeypatch.chdir(repository)
    features = api.load_features()
    with pytest.raises(UserError, match="latent 3 is dead"):
        features[3]
    for wrong in (4, -1):
        with pytest.raises(UserError, match=f"latent {wrong} does not exist: the SAE has 0 to 3"):
            features[wrong]


def test_names_are_optional_and_must_be_of_these_features(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    features = repository / "data/features"
    given = {"sae": repository / "models/sae", "interpretations": tmp_path / "none"}
    with pytest.raises(ArtifactError, match="dvc repro interpret_sae"):
        api.load_features(features, **given)
    write_manifest(tmp_path / "none", "interpret_sae", {}, {"features_sha256": "0" * 64})
    with pytest.raises(ArtifactError, match=r"none is not of the present .*; run: dvc repro interpret_sae"):
        api.load_features(features, **given)
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_text("")
    assert api.load_features(features)[1].name is None


def test_features_of_another_sae_are_refused(repository, tmp_path):
    save_sae(initialised(2, seed=1, layer=2, M=M), tmp_path)
    with pytest.raises(ArtifactError, match="is of another SAE than now; run: dvc repro collect_features"):
        api.load_features(
            repository / "data/features", interpretations=repository / "data/interpretations", sae=tmp_path
        )


def test_activations_that_are_not_there_or_of_another_run_are_refused(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository)
    with pytest.raises(ArtifactError, match="dvc repro extract_activations"):
        api.load_activations("test")
    write_manifest(tmp_path, "train_sae", {**MADE, "extract": {"max_length": 8}, "sae": {"layer": 2}}, {})
    with pytest.raises(ArtifactError, match="was made with extract.max_length=9, but params.yaml says 8"):
        api.load_activations("train", sae=tmp_path)
    arrays = row_arrays(np.zeros((2, 2), np.float16))
    del arrays["activations"]
    store(tmp_path / "tokens", [arrays], MADE)
    with pytest.raises(ArtifactError, match="holds no activations; name train in extract.store"):
        api.load_activations("train", folder=tmp_path / "tokens")


def test_outside_of_a_repository_paths_must_be_given(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="neither this folder nor one above it is the repository"):
        api.load_sae()
    assert api.load_sae(str(repository / "models/sae")).settings.M == M
    write_json(tmp_path / "dvc.yaml", {})  # a recipe of its own, such as that of models/tiny-instruct
    with pytest.raises(UserError, match="neither this folder"):
        api.load_features()
