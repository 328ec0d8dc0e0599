"""Activations computed when they are read are the stored ones, in float64 to the bit, and take no room on disk."""

import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from activation_samples import LAYER, Extracted, extract
from samples import MODEL, copy_model

from fast_sae.activations.live import source as live_source
from fast_sae.activations.live.identity import folder_sha256
from fast_sae.activations.live.source import LiveActivations
from fast_sae.activations.shards import map_npz
from fast_sae.activations.source import ActivationSource, rows_of_kinds
from fast_sae.activations.stored.source import StoredActivations
from fast_sae.chat.kinds import Kind
from fast_sae.errors import ArtifactError
from fast_sae.runtime import torch_threads

KINDS = (Kind.CONTENT, Kind.END_OF_TURN)
PACKINGS = {"fast": {}, "block": {"extract.packing": "block", "extract.block_size": 64}}


@pytest.fixture(scope="module", params=PACKINGS)
def both(request, tmp_path_factory) -> tuple[ActivationSource, ActivationSource, Extracted]:
    """Train from disk and live, and the extraction that kept the tokens alone; several shards, none a whole batch."""
    folder = tmp_path_factory.mktemp(request.param)
    values = PACKINGS[request.param] | {"extract.shard_rows": 250}
    whole = extract(folder / "whole", **values)
    tokens = extract(folder / "tokens", **values, **{"extract.store": ["test"]})
    return whole.opened().open("train"), tokens.opened("live").open("train"), tokens


def joined(chunks, name: str) -> np.ndarray:
    return np.concatenate([getattr(chunk, name) for chunk in chunks])


@pytest.mark.parametrize("rows", [7, 100, 100_000])
def test_live_chunks_are_the_stored_ones(both, rows):
    stored, live, _ = both
    assert isinstance(stored, StoredActivations)
    assert isinstance(live, LiveActivations)
    assert isinstance(live, ActivationSource)
    wanted, found = list(stored.chunks(rows)), list(live.chunks(rows))
    assert max(map(len, found)) <= rows
    for name in ("activations", "example", "position", "token_id", "kind"):
        assert joined(found, name).dtype == joined(wanted, name).dtype
        np.testing.assert_array_equal(joined(found, name), joined(wanted, name))
    assert live.kind.tolist() == stored.kind.tolist()
    assert live.d_in == stored.d_in


def counted(rows: np.ndarray) -> list[bytes]:
    return sorted(row.tobytes() for row in rows)


@pytest.mark.parametrize("buffer_tokens", [16, 300, 100_000])
def test_a_live_pass_holds_every_row_of_the_kinds_once(both, buffer_tokens):
    stored, _, tokens = both
    live = tokens.opened("live", buffer_tokens).open("train")
    portions = list(live.shuffled(KINDS, 10, seed=1, epoch=2))
    assert max(map(len, portions)) <= 10
    chunks = list(stored.chunks(1000))
    wanted = joined(chunks, "activations")[np.isin(joined(chunks, "kind"), KINDS)]
    assert counted(np.concatenate(portions)) == counted(wanted)


def test_the_order_hangs_on_seed_and_epoch_and_not_on_the_batches(both):
    _, _, tokens = both

    def order(seed, epoch, **overrides):
        live = tokens.opened("live", **overrides).open("train")
        return np.concatenate(list(live.shuffled(KINDS, 10, seed=seed, epoch=epoch)))

    first = order(0, 0)
    assert np.array_equal(first, order(0, 0))
    assert np.array_equal(first, order(0, 0, extract_batch_tokens=1000))
    assert np.array_equal(first, order(0, 0, extract_rows="packed"))
    assert not np.array_equal(first, order(0, 1))
    assert not np.array_equal(first, order(1, 0))


def test_neighbours_are_mixed_with_other_examples(both):
    stored, live, _ = both
    example = {
        row.tobytes(): int(number)
        for chunk in stored.chunks(1000)
        for row, number in zip(chunk.activations, chunk.example, strict=True)
    }
    order = [example[row.tobytes()] for part in live.shuffled(KINDS, 10, seed=0, epoch=0) for row in part]
    same = np.mean([a == b for a, b in pairwise(order)])
    assert same < 0.35  # unmixed it would be about 1 − 12/800; of a buffer of 300 rows some 4 of 12 examples are in


@pytest.mark.parametrize("n", [1, 40, 10_000])
def test_a_sample_is_the_stored_one(both, n):
    stored, live, _ = both
    found = live.sample(KINDS, n, seed=3)
    np.testing.assert_array_equal(found, stored.sample(KINDS, n, seed=3))
    assert found.dtype == np.float16


def test_a_sample_computes_only_the_sequences_that_hold_it(both, monkeypatch):
    _, _, tokens = both
    live = tokens.opened("live").open("train")
    fed, compute = [], live._extractor.compute
    monkeypatch.setattr(live._extractor, "compute", lambda passes: fed.append(sum(map(len, passes))) or compute(passes))
    live.sample(KINDS, 1, seed=0)
    assert sum(fed) < len(live.kind) / 3
    assert live.sample((), 5, seed=0).shape == (0, live.d_in)


def test_no_more_is_computed_at_once_than_an_eighth_of_the_buffer_and_a_sequence(both, monkeypatch):
    _, _, tokens = both
    live = tokens.opened("live", buffer_tokens=400).open("train")
    fed, compute = [], live._extractor.compute
    monkeypatch.setattr(live._extractor, "compute", lambda p: fed.append(sum(map(len, p))) or compute(p))
    longest = int(np.diff(live._starts).max())
    for _ in live.shuffled(KINDS, 10, seed=0, epoch=0):
        pass
    assert max(fed) < 400 // 8 + longest


def test_the_model_keeps_its_threads_where_training_leaves_one(both, monkeypatch):
    _, _, tokens = both
    with torch_threads(3):
        live = tokens.opened("live").open("train")
    had, compute = [], live._extractor.compute
    monkeypatch.setattr(live._extractor, "compute", lambda p: had.append(torch.get_num_threads()) or compute(p))
    with torch_threads(1):
        next(live.chunks(10))
        assert (had[0], torch.get_num_threads()) == (3, 1)


def test_what_is_not_stored_takes_the_room_of_its_tokens(both):
    stored, _, tokens = both
    manifest = tokens.manifest("train")
    folder = tokens.activations / f"layer_{LAYER}" / "train"
    arrays = map_npz(folder / "shard-00000.npz", "extract_activations")
    assert set(arrays) == {"example", "position", "token_id", "kind", "example_ids"}
    assert manifest["facts"]["stored"] is False
    assert sum(shard["rows"] for shard in manifest["facts"]["shards"]) == len(stored.kind)
    assert len(manifest["facts"]["shards"]) > 1


def test_a_stored_split_is_read_from_disk_under_live_too_and_no_model_is_loaded(both, monkeypatch):
    _, _, tokens = both
    monkeypatch.setattr(live_source, "load_model", lambda *_: pytest.fail("a model was loaded"))
    assert isinstance(tokens.opened("live").open("test"), StoredActivations)


def test_the_model_is_loaded_once_for_all_splits(both, monkeypatch):
    _, _, tokens = both
    loaded, load = [], live_source.load_model
    monkeypatch.setattr(live_source, "load_model", lambda *given: loaded.append(given) or load(*given))
    opened = tokens.opened("live")
    assert rows_of_kinds(opened.open("train"), KINDS).size > rows_of_kinds(opened.open("validation"), KINDS).size > 0
    assert len(loaded) == 1
    assert loaded[0][2] == [LAYER]


def refusal(opened, split: str) -> str:
    with pytest.raises(ArtifactError) as told:
        opened.open(split)
    assert "\n" not in str(told.value)
    assert "dvc repro extract_activations" in str(told.value)
    return str(told.value)


def test_what_is_not_stored_is_not_read_as_stored(both):
    _, _, tokens = both
    assert "holds no activations; name train in extract.store" in refusal(tokens.opened("stored"), "train")


def test_other_weights_in_the_same_folder_are_refused(tmp_path):
    folder = copy_model(tmp_path / "model")
    values = {"model.name": str(folder), "model.files": str(folder), "extract.store": []}
    extracted = extract(tmp_path / "run", (2, 1, 1), **values)
    assert isinstance(extracted.opened("live").open("train"), LiveActivations)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert "another state of the model" in refusal(extracted.opened("live"), "train")


def test_a_model_on_the_hub_is_known_by_its_commit(both, monkeypatch):
    _, _, tokens = both
    monkeypatch.setattr(live_source, "identify", lambda model: {"commit": "c" * 40, "model_sha256": None})
    monkeypatch.setattr(live_source, "load_model", lambda s, commit, *a, load=live_source.load_model: load(s, None, *a))
    assert "another state of the model" in refusal(tokens.opened("live"), "train")


def test_the_digest_covers_weights_config_and_tokenizer_and_nothing_else(tmp_path):
    folder = copy_model(tmp_path / "model")
    first = folder_sha256(folder)
    assert first == folder_sha256(MODEL)
    (folder / "README.md").write_text("about it")
    (folder / ".cache").mkdir()
    assert folder_sha256(folder) == first
    for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        path = folder / name
        path.write_bytes(path.read_bytes() + b" ")
        assert folder_sha256(folder) != first
        shutil.copy(MODEL / name, path)
    (folder / "config.json").rename(folder / "other.json")
    assert folder_sha256(folder) != first


def test_the_manifest_names_the_model(both):
    facts = both[2].manifest("train")["facts"]
    assert (facts["commit"], facts["model_sha256"]) == (None, folder_sha256(MODEL))
