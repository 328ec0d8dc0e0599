import json

import numpy as np
import pytest
from samples import open_store, row_arrays, store

from fast_sae.activations.shards import write_npz
from fast_sae.activations.source import Tokens, rows_of_kinds
from fast_sae.activations.split import open_folder
from fast_sae.chat.kinds import Kind
from fast_sae.errors import ArtifactError

SETTINGS = {"model": {"name": "tiny"}, "extract": {"max_length": 512, "template": "chat"}}
WHOLE = row_arrays(
    np.random.default_rng(0).normal(size=(11, 3)).astype(np.float16), [4, 5, 2], [0, 1, 2, 3, 4, 0, 1, 3, 3, 4, 3]
)


def part(start, stop):
    return {name: array[start:stop] for name, array in WHOLE.items()}


@pytest.fixture
def folder(tmp_path):
    store(tmp_path, [part(0, 4), part(4, 4), part(4, 9), part(9, 11)], SETTINGS)
    return tmp_path


@pytest.fixture
def source(folder):
    return open_store(folder, SETTINGS)


def test_a_split_tells_its_width_its_examples_its_kinds_and_where_it_comes_from(source, folder):
    assert source.d_in == 3
    assert source.kind.tolist() == WHOLE["kind"].tolist()
    assert source.provenance.settings == SETTINGS
    assert source.provenance.shared_prefix == 1
    assert len(source.provenance.sha256) == 64
    assert source.provenance.model == {"commit": None, "model_sha256": "2" * 64}


KINDS = (Kind.CONTENT, Kind.END_OF_TURN)
OF_KINDS = [3, 4, 7, 8, 9, 10]


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("epoch", range(3))
def test_a_random_order_is_one_permutation_of_the_rows_of_some_kinds(source, rows, epoch):
    """Results of the past hang on this very order."""
    order = np.random.default_rng([7, epoch]).permutation(OF_KINDS)
    found = list(source.shuffled(KINDS, rows, seed=7, epoch=epoch))
    assert np.array_equal(np.concatenate(found), WHOLE["activations"][order])
    assert found[0].dtype == np.float16


def test_the_order_does_not_hang_on_how_many_rows_are_gathered_at_once(source, monkeypatch):
    whole = list(source.shuffled(KINDS, 100, seed=0, epoch=0))
    assert [len(portion) for portion in whole] == [6]
    monkeypatch.setattr("fast_sae.activations.stored.source._ROWS", 1)
    monkeypatch.setattr("fast_sae.activations.stored.source._GATHERED", 4 * 3 * 2)  # 4 rows of 3 float16
    found = list(source.shuffled(KINDS, 2, seed=0, epoch=0))
    assert [len(portion) for portion in found] == [2, 2, 2]
    assert np.array_equal(np.concatenate(found), np.concatenate(whole))


@pytest.mark.parametrize("n", [1, 4, 6, 100])
def test_a_sample_holds_rows_of_some_kinds_in_the_order_of_the_split(source, n):
    chosen = np.sort(np.random.default_rng(3).choice(OF_KINDS, n, replace=False)) if n < 6 else OF_KINDS
    assert np.array_equal(source.sample(KINDS, n, seed=3), WHOLE["activations"][chosen])


def test_what_is_sampled_may_be_changed_without_touching_the_disk(source):
    taken = source.sample(KINDS, 100, seed=0)
    before = taken.copy()
    taken[:] = 0
    assert np.array_equal(source.sample(KINDS, 100, seed=0), before)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 100])
def test_chunks_hold_every_row_once_in_order_and_no_more_than_asked(source, rows):
    chunks = list(source.chunks(rows))
    assert max(len(chunk) for chunk in chunks) <= rows
    for name, array in WHOLE.items():
        assert np.concatenate([getattr(chunk, name) for chunk in chunks]).tolist() == array.tolist()


def test_a_split_may_be_gone_through_twice(source):
    assert [len(chunk) for chunk in source.chunks(3)] == [len(chunk) for chunk in source.chunks(3)]


@pytest.mark.parametrize("looked_at", [1, 4, 100])
def test_rows_of_some_kinds_are_numbered(source, looked_at, monkeypatch):
    monkeypatch.setattr("fast_sae.activations.source._LOOKED_AT", looked_at)
    assert rows_of_kinds(source, KINDS).tolist() == OF_KINDS
    assert rows_of_kinds(source, KINDS).dtype == np.int32


def test_a_split_whose_tokens_alone_are_kept_is_opened_without_activations(tmp_path):
    tokens = {name: array for name, array in WHOLE.items() if name != "activations"}
    store(tmp_path, [tokens], SETTINGS, d_in=3)
    folder = open_folder(tmp_path, 2, "train", SETTINGS)
    assert not folder.facts.stored
    assert type(folder.shards[0]) is Tokens
    assert folder.kind.tolist() == WHOLE["kind"].tolist()


def refusal(folder, settings=SETTINGS):
    with pytest.raises(ArtifactError) as caught:
        open_store(folder, settings)
    assert "dvc repro extract_activations" in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_settings_are_refused_by_name(folder):
    text = refusal(folder, SETTINGS | {"extract": {"max_length": 256, "template": "chat"}})
    assert "extract.max_length=512" in text
    assert "256" in text


def test_a_split_that_was_never_extracted_is_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path)


def test_a_missing_shard_is_refused_by_name(folder):
    (folder / "layer_2/train/shard-00002.npz").unlink()
    assert "shard-00002.npz" in refusal(folder)


def test_a_shard_cut_short_is_refused_when_the_split_is_opened(folder):
    path = folder / "layer_2/train/shard-00003.npz"
    path.write_bytes(path.read_bytes()[:-1])
    assert "shard-00003.npz" in refusal(folder)


@pytest.mark.parametrize("rows", [3, 5])
def test_a_shard_with_other_rows_than_the_manifest_says_is_refused(folder, rows):
    manifest = folder / "layer_2/train/manifest.json"
    content = json.loads(manifest.read_text())
    content["facts"]["shards"][0]["rows"] = rows
    manifest.write_text(json.dumps(content))
    assert "shard-00000.npz" in refusal(folder)


@pytest.mark.parametrize("fact", ["d_in", "shards", "shared_prefix", "stored", "model_sha256"])
def test_a_manifest_that_lacks_a_fact_is_refused(folder, fact):
    manifest = folder / "layer_2/train/manifest.json"
    content = json.loads(manifest.read_text())
    del content["facts"][fact]
    manifest.write_text(json.dumps(content))
    assert "manifest.json" in refusal(folder)


@pytest.mark.parametrize(
    "changes",
    [{"activations": WHOLE["activations"][:4, :2]}, {"kind": WHOLE["kind"][:3]}, {"position": WHOLE["position"][:5]}],
    ids=["narrower", "fewer kinds", "more positions"],
)
def test_a_shard_whose_arrays_do_not_fit_is_refused(folder, changes):
    write_npz(folder / "layer_2/train/shard-00000.npz", part(0, 4) | changes)
    assert "shard-00000.npz" in refusal(folder)


@pytest.mark.parametrize("name", WHOLE)
def test_a_shard_that_lacks_an_array_is_refused_with_its_name(folder, name):
    write_npz(folder / "layer_2/train/shard-00000.npz", {n: a for n, a in part(0, 4).items() if n != name})
    assert repr(name) in refusal(folder)
