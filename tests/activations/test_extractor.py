"""What lands in the shards, and what is refused instead."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from samples import ROOT, copy_model, rendered_tokens

from fast_sae.activations import shard_writer
from fast_sae.activations.live.extractor import Extractor
from fast_sae.activations.live.model import TruncatedModel, load_model, load_tokenizer
from fast_sae.activations.scratch import Scratch
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.activations.shard_writer import RenderedSplit, shard_name, write_split
from fast_sae.activations.shards import map_npz, write_npz
from fast_sae.artifacts import Json
from fast_sae.chat.render import Rendered
from fast_sae.chat.splits import Split
from fast_sae.errors import ModelError

LENGTHS = (5, 9, 2, 7, 4)
IDS = [f"chat-{n}" for n in range(len(LENGTHS))]


@pytest.fixture
def model() -> TruncatedModel:
    torch.manual_seed(0)
    config = hf.LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2
    )
    return TruncatedModel(hf.LlamaModel(config).double(), [1, 2])


@pytest.fixture
def rendered() -> list[Rendered]:
    draw = np.random.default_rng(0)
    return [rendered_tokens(draw.integers(0, 50, n).tolist(), (np.arange(n) % 5).tolist()) for n in LENGTHS]


def settings(**overrides: object) -> ExtractSettings:
    section = {
        "layers": [1, 2],
        "template": "none",
        "template_kwargs": {},
        "template_date": "2024-07-26",
        "max_length": 64,
        "packing": "fast",
        "block_size": 6,
        "store": ["train"],
        "shard_rows": 12,
        "dtype": "float32",
    } | overrides
    return ExtractSettings.model_validate_json(json.dumps(section))


def write(extractor: Extractor, rendered: list[Rendered], folder: Path, split: Split = "train") -> list[Json]:
    return write_split(RenderedSplit.of(split, rendered, IDS, shuffled=False), extractor, Scratch(folder))


def test_blocks_are_cut_from_a_shuffled_stream_whose_rows_keep_their_names(rendered):
    ordered, shuffled, again = (RenderedSplit.of("train", rendered, IDS, shuffled=s) for s in (False, True, True))
    assert list(ordered.numbers) == list(range(5))
    assert sorted(shuffled.numbers) == list(range(5)) != list(shuffled.numbers)
    assert shuffled == again
    for number, name, example in zip(shuffled.numbers, shuffled.ids, shuffled.rendered, strict=True):
        assert (name, example) == (IDS[number], rendered[number])


def shards_of(folder: Path, layer: int) -> list[dict[str, np.ndarray]]:
    return [map_npz(path, "extract_activations") for path in sorted((folder / f"layer_{layer}/train").glob("*.npz"))]


def test_shards_hold_every_token_in_order_with_its_activations(model, rendered, tmp_path):
    described = write(Extractor(model, settings(), 20), rendered, tmp_path)
    assert [shard["rows"] for shard in described] == [14, 13]  # 5 + 9, then 2 + 7 + 4
    for layer in (1, 2):
        shards = shards_of(tmp_path, layer)
        joined = {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}
        assert joined["example"].tolist() == np.repeat(range(5), LENGTHS).tolist()
        assert joined["position"].tolist() == [p for n in LENGTHS for p in range(n)]
        assert joined["token_id"].tolist() == [t for r in rendered for t in r.token_ids]
        assert joined["kind"].tolist() == [k for r in rendered for k in r.kinds]
        assert joined["example_ids"].tolist() == IDS
        for number, example in enumerate(rendered):
            alone = model.hidden_states([example.token_ids.tolist()])[layer][0]
            np.testing.assert_allclose(joined["activations"][joined["example"] == number], alone, rtol=1e-6)


def test_out_of_memory_halves_the_batch_and_changes_nothing(model, tmp_path, monkeypatch):
    rendered = [rendered_tokens([*range(n)]) for n in (6, 6, 6, 3, 3)]  # equal ones, so that they share batches
    write(Extractor(model, settings(), 1000), rendered, tmp_path / "plenty")
    compute, sizes = model.hidden_states, []

    def tight(sequences):
        tokens = len(sequences) * max(map(len, sequences))
        sizes.append(tokens)
        if tokens > 9:
            raise torch.OutOfMemoryError("tried to allocate")
        return compute(sequences)

    monkeypatch.setattr(model, "hidden_states", tight)
    extractor = Extractor(model, settings(), 1000)
    write(extractor, rendered, tmp_path / "tight")
    assert max(sizes) > 9
    assert extractor.batch_tokens < 1000
    for layer in (1, 2):
        for plenty, little in zip(
            shards_of(tmp_path / "plenty", layer), shards_of(tmp_path / "tight", layer), strict=True
        ):
            assert plenty.keys() == little.keys()
            assert all(np.array_equal(plenty[name], little[name]) for name in plenty)


def test_one_example_too_large_for_the_device_is_told(model, rendered, tmp_path, monkeypatch):
    def never(sequences, **options):
        raise torch.OutOfMemoryError("tried to allocate")

    monkeypatch.setattr(model, "hidden_states", never)
    with pytest.raises(ModelError, match=r"no memory for one sequence of \d tokens; lower extract.max_length"):
        write(Extractor(model, settings(), 1000), rendered, tmp_path)


def test_a_shard_is_written_while_the_next_is_computed(model, rendered, tmp_path, monkeypatch):
    compute, fed, going_on = model.hidden_states, [], threading.Event()

    def computing(sequences):
        if sum(fed) >= 14:  # the rows of the first shard
            going_on.set()
        fed.extend(map(len, sequences))
        return compute(sequences)

    def waiting(path, arrays):
        assert going_on.wait(20), "the next shard waits for this one to be written"
        write_npz(path, arrays)

    monkeypatch.setattr(model, "hidden_states", computing)
    monkeypatch.setattr(shard_writer, "write_npz", waiting)
    write(Extractor(model, settings(), 20), rendered, tmp_path)
    assert [len(shard["token_id"]) for shard in shards_of(tmp_path, 1)] == [14, 13]


@pytest.mark.parametrize("failing", [0, 1])
def test_a_shard_that_cannot_be_written_ends_the_run_and_is_not_there(model, rendered, tmp_path, monkeypatch, failing):
    def full(path, arrays):
        if path.name == shard_name(failing):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_npz(path, arrays)

    monkeypatch.setattr(shard_writer, "write_npz", full)
    with pytest.raises(OSError, match="No space left on device"):
        write(Extractor(model, settings(), 20), rendered, tmp_path)
    assert {path.name for path in tmp_path.rglob("*.*")} == {shard_name(n) for n in range(failing)}


@pytest.mark.parametrize(
    ("value", "told"),
    [(1e5, "layer 1 reaches 100000, more than float16 holds; set extract.dtype: float32"), (np.nan, "NaN or infinity")],
    ids=["overflow", "not a number"],
)
def test_what_the_stored_type_cannot_hold_is_refused(model, rendered, tmp_path, monkeypatch, value, told):
    compute = model.hidden_states

    def broken(sequences, **options):
        states = compute(sequences, **options)
        states[1][0][0, 0] = value
        return states

    monkeypatch.setattr(model, "hidden_states", broken)
    with pytest.raises(ModelError, match=told):
        write(Extractor(model, settings(dtype="float16"), 50), rendered, tmp_path)


def test_whole_shards_of_a_killed_run_are_kept(model, rendered, tmp_path, monkeypatch):
    extractor = Extractor(model, settings(), 50)
    write(extractor, rendered, tmp_path)
    (tmp_path / "layer_2/train" / shard_name(1)).unlink()
    computed = []
    compute = model.hidden_states

    def counting(sequences, **options):
        computed.append(sum(map(len, sequences)))
        return compute(sequences, **options)

    monkeypatch.setattr(model, "hidden_states", counting)
    write(extractor, rendered, tmp_path)
    assert sum(computed) == 13


def local(path: str) -> ModelSettings:
    return ModelSettings(name=path, files=path, revision=None, dtype="float32")


@pytest.mark.parametrize(
    "load", [lambda m: load_model(m, None, [1], torch.device("cpu")), lambda m: load_tokenizer(m, None)]
)
def test_a_model_that_cannot_be_loaded_is_told_in_one_line(load, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "no such thing"}')
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load(local(str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_told_in_one_line(tmp_path):
    folder = tmp_path / "model"
    copy_model(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(local(str(folder)), None, [1], torch.device("cpu"))


def test_a_hub_model_is_found_by_id_in_the_hubs_cache(tmp_path):
    """Hub layout on disk, offline: the hub itself cannot be reached from the tests."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "hub/models--someone--model"
    copy_model(home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs/main").write_text(commit)
    script = (
        "import sys, torch\n"
        "from fast_sae.activations.live.hub import resolve_commit\n"
        "from fast_sae.activations.live.model import load_model, load_tokenizer\n"
        "from fast_sae.activations.settings import HUB_MODEL, ModelSettings\n"
        "from fast_sae.preflight import read_model_config\n"
        "m = ModelSettings(name='someone/model', files=HUB_MODEL, revision=sys.argv[1], dtype='float32')\n"
        "commit = resolve_commit(m)\n"
        "model = load_model(m, commit, [1], torch.device('cpu'))\n"
        "print(read_model_config(m)['hidden_size'], commit, len(load_tokenizer(m, commit)), model.d_in)\n"
    )
    env = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")}
    for revision in ("main", commit):
        command = [sys.executable, "-c", script, revision]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["96", commit, "4096", "96"], done.stderr


def test_a_model_that_lacks_weights_is_refused_not_read_with_random_ones(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    copy_model(folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if ".layers.1." not in k}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ModelError, match=r"lacks \d+ weights that would be read, such as layers.1"):
        load_model(local(str(folder)), None, [2], torch.device("cpu"))
    load_model(local(str(folder)), None, [0], torch.device("cpu"))


@pytest.mark.parametrize("packed", [False, True])
def test_blocks_attend_across_examples_and_keep_each_token_its_example_and_position(model, rendered, tmp_path, packed):
    """Two shards of 14 and 13 tokens in blocks of 6: 6, 6, 2 and 6, 6, 1."""
    fast, block = Extractor(model, settings(), 20), settings(packing="block", dtype="float32")
    write(fast, rendered, tmp_path / "fast")
    write(Extractor(model, block, 20, packed=packed), rendered, tmp_path / "block")
    for layer in (1, 2):
        for alone, together in zip(
            shards_of(tmp_path / "fast", layer), shards_of(tmp_path / "block", layer), strict=True
        ):
            assert all(np.array_equal(alone[name], together[name]) for name in alone if name != "activations")
            assert not np.allclose(alone["activations"], together["activations"], rtol=1e-3)
            tokens = together["token_id"].tolist()
            for at in range(0, len(tokens), 6):
                states = model.hidden_states([tokens[at : at + 6]])[layer][0]
                np.testing.assert_allclose(together["activations"][at : at + 6], states, rtol=1e-6, atol=1e-7)


def test_validation_and_test_are_whole_examples_whatever_train_is(model, rendered, tmp_path):
    block = settings(packing="block", store=["train", "validation"])
    write(Extractor(model, settings(), 20), rendered, tmp_path / "fast")
    write(Extractor(model, block, 20), rendered, tmp_path / "block", "validation")
    for n in range(2):
        alone, held_out = (
            map_npz(tmp_path / folder / "layer_1" / split / shard_name(n), "extract_activations")
            for folder, split in (("fast", "train"), ("block", "validation"))
        )
        assert np.array_equal(alone["activations"], held_out["activations"])


def test_a_split_that_is_not_stored_never_runs_the_model(model, rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "hidden_states", lambda *_, **__: pytest.fail("the model ran"))
    described = write(Extractor(model, settings(store=[]), 20), rendered, tmp_path)
    assert [shard["rows"] for shard in described] == [14, 13]
    for shard in shards_of(tmp_path, 2):
        assert set(shard) == {"example", "position", "token_id", "kind", "example_ids"}
