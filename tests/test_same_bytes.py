"""The embedded default gives the same bytes whatever the processor: instruction sets and thread counts, one by one."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_clone import make_clone

STAGES = ("extract_activations", "train_sae", "evaluate_sae", "evaluate_in_model", "collect_features")
MADE = ("data/activations", "models/sae", "data/features", "metrics")
RUN_ALL = "import importlib, sys; [importlib.import_module(stage).main() for stage in sys.argv[1:]]"
"""One process for all stages: most of a stage's time is torch loading."""
PROCESSORS = {
    "as it is, two threads": {"OMP_NUM_THREADS": "2"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"},
    "the oldest": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "OMP_NUM_THREADS": "2",
    },
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    clone = make_clone(tmp_path_factory.mktemp("same") / "clone")
    clone.set_params(train={"epochs": 6}, sae={"M": 64, "matryoshka": [16, 64]})
    clone.run(sys.executable, "src/prepare_data.py")
    return clone.root


def digests(root: Path, environment: dict[str, str]) -> dict[str, str]:
    """Run the stages under an environment, and hash every file that they make."""
    for made in (*MADE, ".scratch"):
        shutil.rmtree(root / made, ignore_errors=True)
    command = [sys.executable, "-c", RUN_ALL, *STAGES]
    env = os.environ | {"PYTHONPATH": "src"} | environment
    subprocess.run(command, cwd=root, env=env, check=True, capture_output=True)
    files = sorted(path for made in MADE for path in (root / made).rglob("*") if path.is_file())
    assert len(files) > 22
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def expected(prepared) -> dict[str, str]:
    return digests(prepared, {"OMP_NUM_THREADS": "1"})


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS)
def test_another_processor_gives_the_same_bytes(processor, prepared, expected):
    assert digests(prepared, PROCESSORS[processor]) == expected


@pytest.mark.slow
def test_the_bytes_do_not_hang_on_the_batches_of_the_language_model(prepared, expected):
    """A batch decides the order of sums in a matrix product; float16 hides it, and so does the rounding of metrics."""
    params = prepared / "params.yaml"
    text = params.read_text()
    for stage, tokens in (("extract", "null"), ("lm", 2048)):
        assert f"{stage}_batch_tokens: {tokens}" in text
        text = text.replace(f"{stage}_batch_tokens: {tokens}", f"{stage}_batch_tokens: 300")
    params.write_text(text)
    assert digests(prepared, {}) == expected


@pytest.mark.slow
def test_in_float32_another_processor_gives_other_bytes(prepared):
    """So that the tests above are known to be able to fail."""
    text = (prepared / "params.yaml").read_text()
    (prepared / "params.yaml").write_text(text.replace("float64", "float32"))
    here, there = (digests(prepared, PROCESSORS[name]) for name in ("as it is, two threads", "the oldest"))
    assert here != there
