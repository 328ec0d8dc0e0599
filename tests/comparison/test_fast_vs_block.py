"""The whole comparison in a clone, by the command a user types."""

import csv
import json

import pytest
from pipeline_clone import make_clone

pytestmark = pytest.mark.slow

PLAN = """
about: Two runs.
common: {train.epochs: 1, train.dtype: float32, train.gradient_bits: null}
models:
  tiny:
    about: Small.
    overrides: {model.name: models/tiny-instruct, model.files: models/tiny-instruct}
    control_of:
packings:
  FAST: {}
  block: {sae.K: 3}
architectures:
  topk: {sae.architecture: topk}
seeds: [1]
"""


def test_runs_report_and_every_number_comes_back(tmp_path):
    clone = make_clone(tmp_path / "clone")
    clone.end_with_evaluation()  # apply wants the outputs of every stage: here nothing made those of the later ones
    (clone.root / "experiments/small.yaml").write_text(PLAN)
    command = ("python", "src/fast_vs_block.py", "--plan", "experiments/small.yaml")
    refused = clone.run(*command, check=False)
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (
        1,
        "UserError: experiments/small.yaml changed since the commit that the runs are made from; commit first",
    )
    clone.commit("a plan")
    done = clone.run(*command)
    assert done.stdout.split() == [f"reports/small.{suffix}" for suffix in ("md", "csv", "svg")]
    assert clone.run("git", "status", "--porcelain", "-uall").stdout.split()[1::2] == sorted(done.stdout.split())
    first, second = csv.DictReader((clone.root / "reports/small.csv").read_text().splitlines())
    assert (first["packing"], first["target_l0"], second["packing"], second["target_l0"]) == ("FAST", "4", "block", "3")
    text = (clone.root / "reports/small.md").read_text()
    assert "2 runs of commit" in text
    assert "## tiny, topk" in text
    clone.run("dvc", "exp", "apply", second["experiment"])
    metrics = json.loads((clone.root / "metrics/evaluate_sae.json").read_text())["evaluate"]
    assert metrics["normalized_mse"] == float(second["evaluate.normalized_mse"])
