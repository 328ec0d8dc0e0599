"""Where a model is found: a folder, the hub's cache, a hub on this machine's loopback, or nowhere."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from samples import MODEL, ROOT, copy_model, model_config

from fast_sae.activations.settings import ModelSettings
from fast_sae.errors import ModelError
from fast_sae.pipeline.model_files import count_weights, find_model, guess_weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FIND = """
import sys
from fast_sae.activations.settings import ModelSettings
from fast_sae.errors import ModelError
from fast_sae.pipeline.model_files import find_commit, find_model
model = ModelSettings(name="org/model", files="models/HUB_MODEL", revision=sys.argv[2], dtype="bfloat16")
try:
    found = find_commit(model) if sys.argv[1] == "commit" else find_model(model)
    print(found if isinstance(found, str) else (found.folder is not None, found.commit, found.download))
except ModelError as error:
    print("ModelError", error)
"""


class Hub(BaseHTTPRequestHandler):
    """A hub of one model, open or not."""

    refusal: tuple[int, str] | None = None

    def do_HEAD(self):
        if self.refusal:
            status, code = self.refusal
            self.answer(status, {"X-Error-Code": code} if code else {})
        else:
            self.answer(200, {"X-Repo-Commit": COMMIT, "ETag": '"abc"', "Content-Length": "2"})

    def do_GET(self):
        siblings = [{"rfilename": "model-00001-of-00002.safetensors", "size": 700}]
        siblings += [{"rfilename": "model-00002-of-00002.safetensors", "size": 300}]
        siblings += [{"rfilename": "original/consolidated.00.pth", "size": 10**9}]
        body = json.dumps({"id": "org/model", "sha": COMMIT, "siblings": siblings}).encode()
        self.answer(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def answer(self, status: int, headers: dict, body: bytes = b""):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    """A hub on the loopback; yields its address and its handler."""

    class Mine(Hub):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", Mine
    server.shutdown()
    server.server_close()
    thread.join()


def find(home: Path, what: str = "model", revision: str = "main", **environment: str) -> str:
    """Look for a hub model in a process of its own: the hub's settings are read once, from the environment."""
    environment = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT / "src")} | environment
    kept = {key: value for key, value in os.environ.items() if not key.upper().endswith("_PROXY") and key != "HF_TOKEN"}
    command = [sys.executable, "-c", FIND, what, revision]
    done = subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, check=True, timeout=60, cwd=home
    )
    return done.stdout.strip()


def cache(home: Path, *, whole: bool) -> Path:
    """Put a model into the hub's cache, as huggingface_hub lays it out."""
    repo = home / "hub/models--org--model"
    snapshot = repo / "snapshots" / COMMIT
    (repo / "refs").mkdir(parents=True)
    (repo / "refs/main").write_text(COMMIT)
    if whole:
        copy_model(snapshot)
    else:
        snapshot.mkdir(parents=True)
        shutil.copy(MODEL / "config.json", snapshot)
    return snapshot


def test_an_open_model_is_found_on_the_hub_with_its_commit_and_size(tmp_path, hub):
    assert find(tmp_path, HF_ENDPOINT=hub[0]) == f"(False, '{COMMIT}', 1000)"


REFUSALS = {
    "gated": ((403, "GatedRepo"), "org/model is gated: ask for access at http://127.0.0.1:"),
    "gated, no key": ((401, "GatedRepo"), "org/model is gated: ask for access at"),
    "not there or private": ((401, "RepoNotFound"), "mend model.name or, if it is private or gated, log in"),
    "forbidden": ((403, ""), "mend model.name or, if it is private or gated, log in (hf auth login) or set HF_TOKEN"),
    "no such branch": ((404, "RevisionNotFound"), "org/model has no revision 'main'; mend model.revision"),
    "no config": ((404, "EntryNotFound"), "org/model has no config.json"),
    "broken hub": ((500, ""), "answers 500 for org/model; try later"),
}


@pytest.mark.parametrize(("refusal", "told"), REFUSALS.values(), ids=REFUSALS)
def test_a_model_that_the_hub_refuses_says_what_to_do(tmp_path, hub, refusal, told):
    hub[1].refusal = refusal
    said = find(tmp_path, HF_ENDPOINT=hub[0])
    assert said.startswith("ModelError")
    assert told in said
    assert "\n" not in said


def test_an_unreachable_hub_is_told_within_seconds(tmp_path):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, and nobody listens
        endpoint = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        said = find(tmp_path, HF_ENDPOINT=endpoint)
    assert f"{endpoint} cannot be reached (ConnectError); connect, set HF_ENDPOINT to a mirror" in said
    assert "\n" not in said


def test_offline_the_cache_is_all_there_is(tmp_path):
    assert "HF_HUB_OFFLINE is set" in find(tmp_path, HF_HUB_OFFLINE="1")
    cache(tmp_path, whole=True)
    assert find(tmp_path, revision=COMMIT, HF_HUB_OFFLINE="1") == f"(True, '{COMMIT}', 0)"
    assert find(tmp_path, "commit", HF_HUB_OFFLINE="1") == COMMIT


def test_a_cache_that_holds_only_the_config_is_no_model_but_knows_the_commit(tmp_path):
    cache(tmp_path, whole=False)
    assert "is not whole in the cache" in find(tmp_path, HF_HUB_OFFLINE="1")
    assert find(tmp_path, "commit", HF_HUB_OFFLINE="1") == COMMIT


def local(folder: Path) -> ModelSettings:
    return ModelSettings(name=str(folder), files=str(folder), revision=None, dtype="float32")


def test_a_local_model_is_whole_or_says_what_it_lacks(tmp_path):
    assert find_model(local(MODEL)).folder == MODEL
    with pytest.raises(ModelError, match="is not a folder; set model.name"):
        find_model(local(tmp_path / "nowhere"))
    model_config(tmp_path / "half")
    with pytest.raises(ModelError, match=r"has no weights \(\*.safetensors\), no tokenizer; copy the whole model"):
        find_model(local(tmp_path / "half"))


def test_a_shard_that_the_index_names_must_be_there(tmp_path):
    folder = tmp_path / "model"
    copy_model(folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="has no model-00002-of-00002.safetensors"):
        find_model(local(folder))
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelError, match="is damaged"):
        find_model(local(folder))


def test_weights_are_counted_by_their_headers_as_torch_counts_them():
    from transformers import AutoModel

    model = AutoModel.from_pretrained(MODEL)
    blocks = [sum(p.numel() for p in block.parameters()) for block in model.layers]
    counted = count_weights(MODEL, deepest=2)
    assert counted.all == sum(p.numel() for p in model.parameters())
    assert counted.blocks == sum(blocks[:2])
    guessed = guess_weights(json.loads((MODEL / "config.json").read_text()), deepest=2)
    assert guessed.all == pytest.approx(counted.all, rel=0.02)  # the norms are left out
    assert guessed.blocks == pytest.approx(counted.blocks, rel=0.02)


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0[]", b"\x10\0\0\0\0\0\0\0{"], ids=str)
def test_damaged_weights_are_told_in_one_line(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="is no safetensors, or cut off"):
        count_weights(tmp_path, 1)


def test_a_published_size_is_guessed_from_the_config():
    """Qwen2.5-0.5B: 494,032,768 weights, embedding included."""
    config = {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "num_hidden_layers": 24,
        "vocab_size": 151936,
    }
    assert guess_weights(config, 24).all == pytest.approx(494_032_768, rel=0.001)
