"""Each prerequisite, there and missing; and that one failure hides no other."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
from samples import CORPUS, ROOT, copy_model, params, runtime

from fast_sae.chat.gather import gather_examples
from fast_sae.errors import DataError, UserError
from fast_sae.pipeline import environment, prerequisites, resources, stages
from fast_sae.pipeline.environment import check_environment
from fast_sae.pipeline.findings import Finding
from fast_sae.pipeline.model_files import FoundModel, Weights, count_weights
from fast_sae.pipeline.prerequisites import require_all, survey
from fast_sae.pipeline.rates import extraction_speed, step_seconds
from fast_sae.pipeline.sizing import measure_amount, read_examples
from fast_sae.pipeline.terminal import size
from fast_sae.preflight import parse

STATUS = {
    "check_params": [{"changed deps": {"params.yaml": {"sae": "modified"}}}],
    "train_sae": [{"changed deps": {"params.yaml": {"sae.K": "modified"}}}, "changed command"],
}
DAG = '"check_params" -> "prepare_data";\n"prepare_data" -> "extract_activations";\n"train_sae" -> "evaluate_sae";\n'
STAGES = ["check_params", "prepare_data", "extract_activations", "train_sae", "evaluate_sae"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The repository's params, model and first texts in a folder of their own; to DVC, two stages are out of date."""
    for name in ("params.yaml", "dvc.yaml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    copy_model(tmp_path / "models/tiny-instruct")
    (tmp_path / "data/raw").mkdir(parents=True)
    texts = CORPUS.read_text().splitlines(keepends=True)[:300]
    (tmp_path / "data/raw" / CORPUS.name).write_text("".join(texts))
    monkeypatch.chdir(tmp_path)
    said = {"status": json.dumps(STATUS), "dag": DAG}
    monkeypatch.setattr(stages, "_dvc", lambda *words: said[words[0]])
    monkeypatch.setattr(resources, "_dvc_says", lambda *words: "")
    monkeypatch.setattr(prerequisites, "load_params", params)
    return tmp_path


def named(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def failures(findings: list[Finding]) -> list[str]:
    assert all("\n" not in finding.line() for finding in findings)
    return [finding.name for finding in findings if not finding.ok]


def edit(monkeypatch, **overrides: object) -> None:
    monkeypatch.setattr(prerequisites, "load_params", lambda: params(**overrides))


def test_all_is_well_with_the_embedded_model(here):
    seen = survey()
    assert failures(seen.findings) == []
    names = [finding.name for finding in seen.findings]
    assert names == "params.yaml|stages|data|model|tokens|disk|memory|device".split("|")  # noqa: SIM905
    require_all(seen.findings)


def test_several_failures_are_all_shown(here, monkeypatch):
    edit(monkeypatch, **{"data.path": "nowhere.jsonl", "model.name": "no/model", "model.files": "no/model"})
    monkeypatch.setattr(resources, "available_memory", lambda: 0)
    seen = survey()
    assert failures(seen.findings) == ["data", "model"]
    assert "set data.path" in named(seen.findings)["data"].found
    assert "set model.name and model.files" in named(seen.findings)["model"].found
    with pytest.raises(UserError, match=r"2 of 7 prerequisites fail \(data, model\); nothing was run"):
        require_all(seen.findings)


def test_a_wrong_value_is_told_and_the_stages_too(here, monkeypatch):
    edit(monkeypatch, **{"sae.K": 0})
    assert failures(survey().findings) == ["params.yaml"]
    edit(monkeypatch, **{"extract.layers": [5, 9]})
    found = named(survey().findings)
    assert "layer 9 does not exist" in found["params.yaml"].found
    assert failures(list(found.values())) == ["params.yaml"]


def test_a_model_that_no_stage_reads_may_be_missing(here, monkeypatch):
    monkeypatch.setattr(stages, "_dvc", lambda *words: "{}" if words[0] == "status" else DAG)
    edit(monkeypatch, **{"model.name": "no/model", "model.files": "no/model"})
    found = named(survey().findings)
    assert found["model"].ok
    assert found["model"].found.startswith("not needed")
    assert found["disk"].found.startswith("no more is needed")


LIVE = {"train.source": "live", "extract.store": ["validation", "test"]}


@pytest.mark.parametrize(("live", "needed"), [(LIVE, True), ({}, False)], ids=["live", "stored"])
def test_a_live_run_needs_the_model_though_nothing_is_extracted(here, monkeypatch, live, needed):
    status = json.dumps({"train_sae": ["changed command"]})
    monkeypatch.setattr(stages, "_dvc", lambda *words: status if words[0] == "status" else DAG)
    edit(monkeypatch, **(live | {"model.name": "no/model", "model.files": "no/model"}))
    assert named(survey().findings)["model"].ok is not needed
    edit(monkeypatch, **live)
    monkeypatch.setattr(resources, "available_memory", lambda: 0)
    told = named(survey().findings)["memory"].found
    weights = count_weights(here / "models/tiny-instruct", 5).all * 8
    buffer = 131072 * 96 * 2
    assert (size(max(weights, 5 * 2 * 96 * 512 * 8 + buffer)) in told) is needed


def test_a_bad_line_is_told_before_anything_runs(here):
    data = here / "data/raw" / CORPUS.name
    data.write_text(data.read_text() + '{"text": ""}\n')
    found = named(survey().findings)
    assert not found["data"].ok
    assert "1 of 301 lines cannot be used: line 301" in found["data"].found


def test_a_disk_that_is_too_small(here, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    found = named(survey().findings)["disk"]
    assert not found.ok
    assert found.found.startswith("1.00 kB are free on ")
    assert "with the copy in DVC's cache" in found.found


def test_dvcs_copy_counts_only_where_it_copies(here, monkeypatch):
    monkeypatch.setattr(resources, "_clones", lambda *folders: False)
    assert resources.check_disk(1_000_000).startswith("2.00 MB will be needed")
    monkeypatch.setattr(resources, "_dvc_says", lambda *words: "reflink,hardlink,symlink" if "config" in words else "")
    assert resources.check_disk(1_000_000).startswith("1.00 MB will be needed")
    monkeypatch.setattr(resources, "_dvc_says", lambda *words: "")
    monkeypatch.setattr(resources, "_clones", lambda *folders: True)
    assert resources.check_disk(1_000_000).startswith("1.00 MB will be needed")


def test_a_download_counts_where_the_hubs_cache_is(here, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**12, 0, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(resources, "_clones", lambda *folders: False)
    with pytest.raises(UserError, match=r"1.00 GB are free on .*, 16.0 GB are needed"):
        resources.check_disk(1_000, download=16_000_000_000)


def test_memory_that_is_too_small(here, monkeypatch):
    monkeypatch.setattr(resources, "available_memory", lambda: 100_000)
    edit(monkeypatch, **{"sae.M": 8, "sae.K": 4, "sae.matryoshka": None})
    monkeypatch.setattr(stages, "_dvc", lambda *words: json.dumps({name: [] for name in STAGES[:3]}))
    found = named(survey().findings)["memory"]
    assert not found.ok
    assert "the model's weights take 8.02 MB; end other programs, or set model.dtype: bfloat16" in found.found
    with pytest.raises(UserError, match=r"the SAE in training take 2.00 MB.*sae.M"):
        resources.check_memory(0, 2_000_000)


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    unlimited = resources.available_memory()
    assert unlimited > 1000
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert resources.available_memory() == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert resources.available_memory() > 2000


def test_a_device_that_is_not_there(here, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    edit(monkeypatch, **{"runtime.device": "cuda"})
    assert failures(survey().findings) == ["device"]


def test_a_gpu_that_is_too_full(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10**9, 8 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    settings = runtime(device="auto")
    assert resources.check_device(settings, 10**8) == "a GPU, 1.00 GB of 8.00 GB free"
    with pytest.raises(UserError, match="a GPU has 1.00 GB free, the model's blocks take 2.00 GB"):
        resources.check_device(settings, 2 * 10**9)


def test_missing_and_different_packages_are_all_named(tmp_path):
    wanted = tmp_path / "requirements.txt"
    wanted.write_text(
        "# why\n-c constraints.txt\nnumpy==1.0\nno-such-thing==2.0  # why\nnor-this\ntorch\npyyaml==6.0.3\n"
    )
    found = named(check_environment(wanted))["packages"]
    assert not found.ok
    assert found.found.startswith("numpy is ")
    assert ", not 1.0, no-such-thing is missing, nor-this is missing; run: python -m pip install" in found.found


def test_a_builds_mark_is_no_other_version(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "version", lambda name: "2.13.0+cpu")
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    assert named(check_environment(tmp_path / "requirements.txt"))["packages"].ok


def test_outside_the_root_it_says_where_to_run(tmp_path):
    assert "root of the repository" in named(check_environment(tmp_path / "requirements.txt"))["packages"].found


def test_an_older_python_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    found = named(check_environment(ROOT / "requirements.txt"))["python"]
    assert not found.ok
    assert found.found.startswith("3.10.4 is older than 3.11; run: ")


def program(folder: Path, name: str, says: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)


def test_the_python_that_dvc_will_run_must_be_this_one(tmp_path, monkeypatch):
    bin_folder = tmp_path / "bin"
    monkeypatch.setenv("PATH", str(bin_folder))
    assert "no `dvc` on PATH; run: source" in named(check_environment())["dvc"].found
    program(bin_folder, "dvc", "3.67.1")
    assert "no python at all" in named(check_environment())["dvc"].found
    program(bin_folder, "python", "/usr")
    assert "which is another than this one" in named(check_environment())["dvc"].found
    program(bin_folder, "python", sys.prefix)
    program(bin_folder, "dvc", "1.0")
    assert "the `dvc` on PATH is 1.0, but dvc is" in named(check_environment())["dvc"].found


def test_stages_that_follow_are_told_apart_from_those_out_of_date(here):
    due = {stage.name: stage for stage in stages.due_stages()}
    assert list(due) == STAGES
    assert [stage.name for stage in due.values() if stage.certain] == ["check_params", "train_sae"]
    assert due["train_sae"].why == "inputs: sae.K modified; changed command"
    assert due["extract_activations"].why == "only if prepare_data makes something new"


def test_a_stage_known_to_write_the_same_moves_nothing(here):
    settled = [stage.name for stage in stages.due_stages(settled=["check_params"])]
    assert settled == ["check_params", "train_sae", "evaluate_sae"]
    (here / "data/params_checked.json").write_text(json.dumps({"model": {"blocks": 6, "d_in": 96}}))
    assert [stage.name for stage in survey().due or []] == settled


def test_dvcs_own_words_are_passed_on(monkeypatch):
    failed = SimpleNamespace(returncode=255, stdout="", stderr="WARNING: x\nERROR: Unable to acquire lock\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(UserError, match="dvc status fails: ERROR: Unable to acquire lock"):
        stages.due_stages()


def test_tokens_and_bytes_are_those_of_the_plan(here):
    """With a sample of everything the estimate is the count itself."""
    from fast_sae.activations.plan import Plan

    parsed = parse(params(**{"data.max_examples": 50, "data.test_fraction": 0.1}))
    examples = read_examples(parsed.data)
    amount = measure_amount(examples, parsed, FoundModel(here / "models/tiny-instruct", None), d_in=96)
    assert len(amount.sample) == 50
    assert amount.plan == Plan.of(amount.sample, stored_share=1.0, layers=1, d_in=96, itemsize=2)
    assert 0.5 * amount.plan.tokens < amount.train_rows < 0.9 * amount.plan.tokens


def test_without_a_tokenizer_words_are_counted_and_it_is_said(here):
    parsed = parse(params())
    examples = read_examples(parsed.data)
    amount = measure_amount(examples, parsed, None, d_in=96)
    words = sum(len(message["content"].split()) for example in examples for message in example.messages)
    assert amount.how == "words × 1.3, as the tokenizer is not at hand"
    assert amount.plan.tokens == pytest.approx(words * 1.3, rel=0.2)
    assert amount.sample == []


def test_duplicates_by_n_grams_do_not_hold_up_the_count(here):
    parsed = parse(params(**{"data.dedup_ngram": 1}))
    kept = len(gather_examples(Path(parsed.data.path), parsed.data).examples)
    assert kept < len(read_examples(parsed.data))


def test_data_that_is_not_there(here):
    with pytest.raises(DataError, match="set data.path"):
        read_examples(parse(params(**{"data.path": "x.jsonl"})).data)


@pytest.mark.parametrize("found", [None, FoundModel(None, "c")], ids=["nowhere", "on the hub"])
def test_speed_without_the_model_is_arithmetic_and_says_so(here, found):
    speed, how = extraction_speed(parse(params()), found, Weights(10**9, 10**9), [])
    assert 0 < speed < 1e6
    assert how.startswith("2 · 1e+09 weights per token at ")


def test_a_large_sae_is_counted_a_small_one_tried(here):
    small, tried = step_seconds(parse(params(**{"train.batch_size": 8})), d_in=4)
    large, counted = step_seconds(
        parse(params(**{"sae.M": 65536, "sae.K": 8, "sae.matryoshka": None, "train.dtype": "float32"})), d_in=4096
    )
    assert tried == "measured on 5 steps"
    assert counted.startswith("10 · batch · d_in · M per step at ")
    assert 0 < small < large
