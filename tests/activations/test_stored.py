import json

import numpy as np
import pytest
from samples import open_store, row_arrays, store

from fast_sae.activations.shards import write_npz
from fast_sae.activations.source import trainable
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


@pytest.mark.parametrize(
    "index",
    [[0], [10], list(range(11)), list(range(10, -1, -1)), [3, 4, 3, 8, 9, 9, 0], []],
    ids=["first", "last", "in order", "backwards", "repeated", "none"],
)
def test_taking_rows_in_any_order_equals_plain_indexing(source, index):
    taken = source.take(np.array(index, np.int64))
    assert taken.dtype == np.float16
    assert taken.tolist() == WHOLE["activations"][index].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_taking_random_rows_with_repeats_equals_plain_indexing(source, seed):
    index = np.random.default_rng(seed).integers(0, 11, 50)
    assert np.array_equal(source.take(index), WHOLE["activations"][index])


def test_what_is_taken_may_be_changed_without_touching_the_disk(source):
    index = np.arange(11)
    taken = source.take(index)
    taken[:] = 0
    assert np.array_equal(source.take(index), WHOLE["activations"])


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 100])
def test_chunks_hold_every_row_once_in_order_and_no_more_than_asked(source, rows):
    chunks = list(source.chunks(rows))
    assert max(len(chunk) for chunk in chunks) <= rows
    for name, array in WHOLE.items():
        assert np.concatenate([getattr(chunk, name) for chunk in chunks]).tolist() == array.tolist()


def test_a_split_may_be_gone_through_twice(source):
    assert [len(chunk) for chunk in source.chunks(3)] == [len(chunk) for chunk in source.chunks(3)]


def test_rows_of_some_kinds_are_marked(source):
    marked = trainable(source, (Kind.CONTENT, Kind.END_OF_TURN))
    assert np.flatnonzero(marked).tolist() == [3, 4, 7, 8, 9, 10]


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


@pytest.mark.parametrize("fact", ["d_in", "shards", "shared_prefix"])
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
