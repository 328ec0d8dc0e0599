"""The whole of an annotation: in process on the embedded model, and as a user types it."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from annotation_samples import lines, save_origin
from chat_samples import data_settings
from pipeline_clone import Clone, make_clone
from samples import runtime

import fast_sae.annotation.annotate as module
from fast_sae.annotation.annotate import Annotation, Options, annotate_file
from fast_sae.annotation.incoming import DataFile
from fast_sae.annotation.origin import read_origin
from fast_sae.chat.kinds import Kind
from fast_sae.errors import DataError, ModelError, UserError
from fast_sae.sae.checkpoint import load_sae

HOSTILE = 'He said: "wind, map",\nand left\x00.\r\n🎉 <|eot_id|>'
TEXTS = [{"text": text, "id": f"t{n}"} for n, text in enumerate(["The wind came first.", HOSTILE, "a map " * 40])]


@pytest.fixture(scope="module")
def sae(tmp_path_factory) -> Path:
    return save_origin(tmp_path_factory.mktemp("origin") / "sae", sections={"extract.max_length": 60})


def annotate(sae: Path, path: Path, out: Path, form="parquet", on_bad_line="fail", **options) -> Annotation:
    file = DataFile(path, path.name, data_settings(on_bad_line=on_bad_line))
    return annotate_file(file, read_origin(sae), Options(out, form, **options), runtime())


def tables(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pq.read_table(out / "tokens.parquet").to_pandas(), pq.read_table(out / "examples.parquet").to_pandas()


def test_both_formats_hold_the_same_in_the_order_of_the_file(sae, tmp_path, capsys):
    path = lines(tmp_path / "texts.jsonl", *TEXTS)
    written = annotate(sae, path, tmp_path / "parquet")
    annotate(sae, path, tmp_path / "csv", "csv")
    tokens, examples = tables(tmp_path / "parquet")
    for name, wanted in (("tokens", tokens), ("examples", examples)):
        read = pd.read_csv(tmp_path / f"csv/{name}.csv", keep_default_na=False)
        assert {c: read[c].tolist() for c in read} == {c: wanted[c].tolist() for c in wanted}
    assert tokens["example"].unique().tolist() == examples["example"].unique().tolist() == [0, 1, 2]
    assert tokens["id"].unique().tolist() == ["t0", "t1", "t2"]
    assert tokens[["example", "position"]].apply(tuple, axis=1).is_monotonic_increasing
    assert (tokens["activation"] > 0).all()
    assert (written.token_rows, written.example_rows) == (len(tokens), len(examples))
    assert written.checked.truncated == 1
    assert "1 of 3 examples are longer than 60 tokens; the rest is cut off" in capsys.readouterr().err
    assert [line for line in written.first if not line.startswith(" ")][-1] == "t2 (60 tokens)"


def test_the_manifest_tells_what_was_asked_and_what_answered(sae, tmp_path):
    annotate(sae, lines(tmp_path / "texts.jsonl", *TEXTS), tmp_path / "out", latents={3, 1}, top=2)
    content = json.loads((tmp_path / "out/manifest.json").read_text())
    assert content["settings"]["annotate"] == {"latents": [1, 3], "top": 2}
    assert content["settings"]["extract"]["max_length"] == 60
    assert content["facts"]["truncated_examples"] == 1
    assert {"data_sha256", "sae_sha256"} <= set(content["facts"])


def test_the_same_run_gives_the_same_bytes_and_force_replaces(sae, tmp_path):
    path = lines(tmp_path / "texts.jsonl", *TEXTS)
    before = {}
    for force in (False, True):
        annotate(sae, path, tmp_path / "out", force=force)
        now = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
        assert before in ({}, now)
        before = now


def test_chosen_latents_and_the_strongest(sae, tmp_path):
    path = lines(tmp_path / "texts.jsonl", *TEXTS)
    annotate(sae, path, tmp_path / "all")
    annotate(sae, path, tmp_path / "few", latents={1, 3, 5}, top=1)
    tokens, examples = tables(tmp_path / "all")
    few_tokens, few_examples = tables(tmp_path / "few")
    wanted = tokens[tokens["latent"].isin([1, 3, 5])].groupby(["example", "position"]).head(1)
    pd.testing.assert_frame_equal(few_tokens, wanted.reset_index(drop=True))
    wanted = examples[examples["latent"].isin([1, 3, 5])].groupby("example").head(1)
    pd.testing.assert_frame_equal(few_examples, wanted.reset_index(drop=True))


def test_tables_are_written_before_the_last_example_is_read(tmp_path, monkeypatch):
    sae = save_origin(tmp_path / "sae", sections={"extract.shard_rows": 20})
    path = lines(tmp_path / "texts.jsonl", *({"text": f"map {n}"} for n in range(9)))
    events = []
    render_each, token_table = module.render_each, module.token_table

    def reading(*arguments):
        for one in render_each(*arguments):
            events.append("read")
            yield one

    def writing(*arguments):
        events.append("write")
        return token_table(*arguments)

    monkeypatch.setattr(module, "render_each", reading)
    monkeypatch.setattr(module, "token_table", writing)
    annotate(sae, path, tmp_path / "out")
    assert events.count("write") > 2
    assert events.index("write") < 4
    assert events.index("write") < len(events) - 1 - events[::-1].index("read")


def test_bad_lines_end_it_or_are_left_out_and_listed(sae, tmp_path, capsys):
    path = lines(tmp_path / "texts.jsonl", TEXTS[0], {"text": ""}, TEXTS[1])
    with pytest.raises(DataError, match="1 of 3 lines cannot be used: line 2: empty"):
        annotate(sae, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    annotate(sae, path, tmp_path / "out", on_bad_line="skip")
    assert (tmp_path / "out/bad_lines.txt").read_text().startswith("texts.jsonl:line 2: empty")
    assert "left out: texts.jsonl:line 2: empty" in capsys.readouterr().err
    assert tables(tmp_path / "out")[0]["example"].unique().tolist() == [0, 2]


def test_what_fails_midway_leaves_nothing(sae, tmp_path, monkeypatch):
    path = lines(tmp_path / "texts.jsonl", *TEXTS)

    def fails(*_):
        raise ModelError("layer 2 gives NaN or infinity")

    monkeypatch.setattr(module, "example_table", fails)
    with pytest.raises(ModelError):
        annotate(sae, path, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["texts.jsonl"]


def test_a_missing_model_and_a_missing_latent_are_told(sae, tmp_path):
    path = lines(tmp_path / "texts.jsonl", *TEXTS)
    with pytest.raises(UserError, match="latent 16 does not exist: the SAE has 0 to 15"):
        annotate(sae, path, tmp_path / "out", latents={16})
    lost = save_origin(tmp_path / "sae", sections={"model.name": "/no/such", "model.files": "/no/such"})
    with pytest.raises(ModelError, match="/no/such cannot be loaded"):
        annotate(lost, path, tmp_path / "out")
    wide = save_origin(tmp_path / "wide", d_in=8)
    with pytest.raises(UserError, match="reads activations of width 8, and the model gives 96"):
        annotate(wide, path, tmp_path / "out")
    beyond = save_origin(tmp_path / "beyond", layer=9)
    with pytest.raises(ModelError, match="layer 9 does not exist"):
        annotate(beyond, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """A clone whose pipeline has run, and whose params.yaml has moved on since."""
    clone = make_clone(tmp_path_factory.mktemp("clone"), examples=60)
    clone.run("dvc", "repro", "train_sae")
    clone.set_params(sae={"K": 6}, extract={"max_length": 9})
    return clone


def command(clone: Clone, *arguments: str) -> subprocess.CompletedProcess[str]:
    return clone.run("python", "src/annotate.py", *arguments, check=False)


@pytest.mark.slow
def test_the_test_splits_own_texts_give_the_latents_of_the_stored_activations(clone):
    done = command(clone, "data/prepared/test.jsonl", "--format", "parquet")
    assert done.returncode == 0, done.stderr
    assert "made, which is not what params.yaml says: extract.max_length=512 (not 9), sae.K=4 (not 6)" in done.stderr
    tokens, examples = tables(clone.root / "annotations/test.jsonl")
    stored = dict(np.load(clone.root / "data/activations/layer_2/test/shard-00000.npz"))
    sae = load_sae(clone.root / "models/sae").double()
    with torch.no_grad():
        wanted = sae.encode(torch.from_numpy(stored["activations"]).double()).numpy()
    starts = np.searchsorted(stored["example"], np.arange(len(stored["example_ids"])))
    found = np.zeros_like(wanted)
    found[starts[tokens["example"]] + tokens["position"], tokens["latent"]] = tokens["activation"]
    np.testing.assert_array_equal(found, wanted)
    assert stored["example_ids"][tokens["example"]].tolist() == tokens["id"].tolist()
    said = stored["kind"] == Kind.CONTENT
    for row in examples.itertuples():
        own = wanted[said & (stored["example"] == row.example), row.latent]
        assert row.max_activation == own.max()
        assert row.mean_activation == pytest.approx(own.mean(), rel=1e-12)
        assert row.tokens_fired == (own > 0).sum()
    assert f"{len(tokens):,} rows" in done.stdout
    assert done.stdout.splitlines()[0].startswith(tokens["id"][0])
    assert clone.run("git", "status", "--porcelain", "annotations").stdout == ""


@pytest.mark.slow
def test_texts_from_standard_input(clone):
    typed = 'printf "The wind came first.\\nWhere is my map?\\n" | python src/annotate.py - --top 1 --out lines'
    done = clone.run("bash", "-c", typed)
    assert done.stdout.splitlines()[0].startswith("0000001 (")
    assert pd.read_csv(clone.root / "lines/tokens.csv")["example"].unique().tolist() == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no.jsonl"], "DataError: no.jsonl is not a file"),
        (["data/raw/small.jsonl", "--sae", "none"], "none/manifest.json does not exist; run: dvc pull, or: dvc repro"),
        (["data/raw/small.jsonl", "--out", "src"], "which is no annotation; choose another --out"),
        (["data/raw/small.jsonl", "--latents", "99"], "UserError: latent 99 does not exist: the SAE has 0 to 31"),
        (
            ["data/raw/small.jsonl", "--text-field", "body"],
            "60 of 60 lines cannot be used: line 1: no text: none of body",
        ),
        (["data/raw/small.jsonl", "--latents", "a"], "argument --latents: must be numbers such as 3,17, found 'a'"),
        (["data/raw/small.jsonl", "--top", "0"], "argument --top: must be a whole number from 1, found '0'"),
    ],
)
def test_a_users_error_is_one_line(clone, arguments, told):
    done = command(clone, *arguments)
    assert done.returncode in (1, 2)
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (clone.root / "annotations/small").exists()


@pytest.mark.slow
def test_what_is_no_annotation_survives_force(clone):
    (clone.root / "mine").mkdir()
    shutil.copy(clone.root / "data/raw/small.jsonl", clone.root / "mine")
    done = command(clone, "data/raw/small.jsonl", "--out", "mine", "--force")
    assert "mine holds small.jsonl, which is no annotation; choose another --out" in done.stderr
    assert (clone.root / "mine/small.jsonl").exists()
