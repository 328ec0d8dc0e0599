import json
import math

import pytest

from fast_sae.artifacts import (
    file_sha256,
    read_json,
    read_manifest,
    whole_file,
    whole_folder,
    write_json,
    write_manifest,
    write_metrics,
)
from fast_sae.errors import ArtifactError


class Halt(Exception):
    """Stands for whatever stops a run."""


def fail(_, error):
    """Stop, when something has been written already."""
    raise error


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_put_in_place_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with whole_file(path) as part:
        part.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [Halt, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as part:
        fail(part.write_text("half"), error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    (path / "old.txt").touch()
    with whole_folder(path) as part:
        (part / "new.txt").touch()
        assert names(path) == ["old.txt"]
    assert names(path) == ["new.txt"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("existed", [True, False])
def test_a_block_that_fails_leaves_the_old_folder_or_none(tmp_path, existed):
    path = tmp_path / "deep" / "out"
    if existed:
        path.mkdir(parents=True)
        (path / "old.txt").touch()
    with pytest.raises(Halt), whole_folder(path) as part:
        fail((part / "half.txt").touch(), Halt)
    assert names(path.parent) == (["out"] if existed else [])
    assert not existed or names(path) == ["old.txt"]


def test_what_a_killed_run_left_does_not_reach_the_next_folder(tmp_path):
    killed = whole_folder(tmp_path / "out")
    (killed.__enter__() / "half.txt").touch()  # and no __exit__
    with whole_folder(tmp_path / "out") as part:
        (part / "new.txt").touch()
    assert names(tmp_path / "out") == ["new.txt"]
    assert names(tmp_path) == ["out"]


SETTINGS = {"model": {"name": "tiny", "revision": None}, "extract": {"layers": [1, 2], "max_length": 512}}


@pytest.fixture
def manifest(tmp_path):
    write_manifest(tmp_path / "made", "extract_activations", SETTINGS, {"d_in": 8})
    return read_manifest(tmp_path / "made", "extract_activations")


def test_a_manifest_comes_back_as_written(manifest):
    assert manifest.settings == SETTINGS
    assert manifest.facts == {"d_in": 8}
    assert manifest.sha256 == file_sha256(manifest.path)


def test_a_manifest_names_versions_but_not_their_builds(tmp_path):
    write_manifest(tmp_path, "s", {}, {}, versions=("numpy", "torch"))
    versions = json.loads((tmp_path / "manifest.json").read_text())["versions"]
    assert list(versions) == ["numpy", "torch"]
    assert all(version and "+" not in version for version in versions.values())


def test_an_artefact_of_the_same_settings_is_accepted(manifest):
    manifest.require(json.loads(json.dumps(SETTINGS)))


@pytest.mark.parametrize(
    ("key", "expected", "made", "wanted"),
    [
        ("extract.max_length", SETTINGS | {"extract": {"layers": [1, 2], "max_length": 256}}, "512", "256"),
        ("extract.layers", SETTINGS | {"extract": {"layers": [1], "max_length": 512}}, "[1, 2]", "[1]"),
        ("extract.template", SETTINGS | {"extract": {**SETTINGS["extract"], "template": "chat"}}, "None", "'chat'"),
        ("model.name", SETTINGS | {"model": {"revision": None}}, "'tiny'", "None"),
        ("sae", SETTINGS | {"sae": {"K": 8}}, "None", "{'K': 8}"),
    ],
    ids=["other value", "other list", "new key", "key gone", "new section"],
)
def test_a_mismatch_names_the_key_both_values_and_the_stage_to_run(manifest, key, expected, made, wanted):
    with pytest.raises(ArtifactError) as caught:
        manifest.require(expected)
    text = str(caught.value)
    assert f"{key}={made}" in text
    assert wanted in text.split("params.yaml says")[1]
    assert text.endswith("run: dvc repro extract_activations")
    assert str(manifest.path.parent) in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        '{"stage": "train_sae", "settings": {}, "facts": {}}',
        '{"stage": "extract_activations", "settings": 1, "facts": {}}',
        '{"stage": "extract_activations", "settings": {}}',
        b"\xff\xfe",
    ],
    ids=["missing", "empty", "cut", "list", "no keys", "other stage", "settings no object", "no facts", "not UTF-8"],
)
def test_what_is_no_manifest_is_refused_with_the_stage_to_run(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ArtifactError) as caught:
        read_manifest(tmp_path, "extract_activations")
    assert "manifest.json" in str(caught.value)
    assert "dvc repro extract_activations" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_content_gives_the_same_bytes_in_any_order_of_keys(tmp_path):
    for name, content in (("a", {"x": 1, "y": {"p": 2, "q": 3}}), ("b", {"y": {"q": 3, "p": 2}, "x": 1})):
        write_manifest(tmp_path / name, "s", content, content, versions=("numpy",))
    assert file_sha256(tmp_path / "a/manifest.json") == file_sha256(tmp_path / "b/manifest.json")
    write_manifest(tmp_path / "b", "s", {"x": 2}, {})
    assert file_sha256(tmp_path / "a/manifest.json") != file_sha256(tmp_path / "b/manifest.json")


def test_the_digest_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert file_sha256(tmp_path / "abc") == expected


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_json_lacks_is_not_written(tmp_path, number):
    path = tmp_path / "x.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"x": number})
    assert names(tmp_path) == []


def test_text_outside_ascii_is_written_as_it_is(tmp_path):
    write_json(tmp_path / "x.json", {"x": "Größe"})
    assert "Größe" in (tmp_path / "x.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "x.json", "s") == {"x": "Größe"}


def test_metrics_are_rounded_to_six_digits_and_those_without_a_value_left_out(tmp_path):
    path = tmp_path / "metrics" / "m.json"
    values = {
        "mse": 0.123456789,
        "small": 1.23456789e-9,
        "large": 1234567.8,
        "rows": 123456789,
        "none": None,
        "zero": 0.0,
    }
    write_metrics(path, "evaluate", values)
    found = {"mse": 0.123457, "small": 1.23457e-09, "large": 1234570.0, "rows": 123456789, "zero": 0.0}
    assert json.loads(path.read_text()) == {"evaluate": found}
