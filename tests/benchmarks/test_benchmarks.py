"""The benchmark without its peers: its record, the page made from it, and ours on a small setting."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from benchmarks import extraction, ours, peak, report, rows
from benchmarks.clock import Clock
from benchmarks.settings import LIBRARIES, SETTINGS, Setting
from benchmarks.task import Task, measure_fvu
from samples import ROOT, row_arrays, store
from transformers import LlamaConfig, LlamaForCausalLM

RESULTS = json.loads((ROOT / "benchmarks/results.json").read_text())
TINY = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
SMALL = Setting("small", 16, 8, 2, 64, 30, "mixture")


def test_results_have_the_keys_that_others_read():
    assert {*RESULTS} <= {"training", "extraction", "memory", "growth", "machine", "versions"}
    assert {*RESULTS["training"]} <= {*SETTINGS}
    for name, found in RESULTS["training"].items():
        assert {*found} <= {*SETTINGS[name].libraries}
        for of_library in found.values():
            assert {*of_library} == {"tokens_per_s", "fvu", "runs"}
            assert of_library["tokens_per_s"] == pytest.approx(
                np.median([r["tokens_per_s"] for r in of_library["runs"]])
            )


def test_the_page_is_what_the_results_give():
    """Mended by: python benchmarks/report.py."""
    assert report.main(["--check"]) == 0


def test_a_page_of_other_results_is_another():
    page = report.PAGE.read_text()
    assert "Not measured yet." in report.render(page, {}) != report.render(page, RESULTS)


def test_every_library_has_its_name_on_the_page():
    assert {*report.NAMES} == {*LIBRARIES}


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A run on a small mixture; the settings are read from the repository's params.yaml."""
    monkeypatch.setattr(rows, "PLACE", tmp_path)
    return Task(SMALL, rows.mixture_store(16, 64 * 30, 256), 30, 0, torch.device("cpu"))


def test_ours_learns_on_a_small_setting(task):
    clock = Clock(task.device)
    few = measure_fvu(task, ours.train(dataclasses.replace(task, steps=1), clock))
    many = measure_fvu(task, ours.train(task, clock))
    assert many < few
    assert clock.seconds > 0


def test_peers_are_given_the_rows_that_ours_reads(task):
    assert torch.equal(torch.cat([*task.slices(task.rows())]), torch.cat([x.clone() for x in task.each_batch()]))
    assert task.rows().shape == (64 * 30, 16)


def test_fvu_is_the_error_over_the_spread_around_the_mean(tmp_path):
    """By hand: rows 0, 2 of mean 1 have spread 2; reconstructing 0.5 for both leaves 0.25 + 2.25."""
    for split in ("train", "validation"):
        store(tmp_path, [row_arrays(np.array([[0.0], [2.0]], np.float16))], {})
        (tmp_path / "layer_2" / "train").rename(tmp_path / f"{split}-done")
    (tmp_path / "layer_4").mkdir()
    for split in ("train", "validation"):
        (tmp_path / f"{split}-done").rename(tmp_path / "layer_4" / split)
    task = Task(dataclasses.replace(SMALL, d_in=1), tmp_path, 1, 0, torch.device("cpu"))
    assert measure_fvu(task, lambda x: torch.full_like(x, 0.5)) == pytest.approx(2.5 / 2)


def test_a_roofline_counts_the_operations_of_a_step():
    """By hand for S1: 2 · 2 · 384 · 256 and 3 · 2 · 384 · 8 operations; 6 · 384 + 28 · 2 · 384 · 256 / 512 bytes."""
    peaks = dict.fromkeys(("gemm_fp32", "gemm_bf16", "encode_fp32", "gradient_fp32"), 1.0) | {"copy": 1000.0}
    found = peak.rooflines(SETTINGS["S1"], peaks)
    assert found["operations_two_products"] == 393_216 + 18_432
    assert found["bytes"] == 2_304 + 10_752
    assert found["two_products"] == pytest.approx(1e9 / 411_648)
    assert peak.rooflines(SETTINGS["S1"], peaks | {"copy": 1e-3})["one_product"] == pytest.approx(1e6 / 13_056)


def test_extraction_compares_ours_with_the_original_way():
    """A Llama of three blocks; ours pads two lengths of text in one batch."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**TINY)).eval()
    passes = [np.arange(n, dtype=np.int32) for n in (9, 10)]
    case = extraction.Case("toy", model, 2, passes)
    found = extraction.measure_case(case, 1, torch.device("cpu"))
    assert found["tokens"] == 19
    assert found["fp32"]["padding"] == pytest.approx(1 / 20)
    assert 0 < found["fp32"]["max_difference"] < 1e-5 < found["bf16"]["mean_difference"]
    block = 4 * 16 * 16 + 3 * 16 * 32
    assert found["operations_per_token"] == pytest.approx(2 * (2 * block + 4 * (81 + 100) / 19 * 16))
    assert "toy, ours, float32" in report.render(report.PAGE.read_text(), {"extraction": {"toy": found}})


def test_the_first_texts_have_so_many_tokens_and_one_is_always_left():
    case = extraction.Case("toy", LlamaForCausalLM(LlamaConfig(**TINY)), 1, [np.zeros(n, np.int32) for n in (3, 2, 4)])
    assert [len(case.first(tokens).passes) for tokens in (0, 4.9, 5, 100)] == [1, 1, 2, 3]
