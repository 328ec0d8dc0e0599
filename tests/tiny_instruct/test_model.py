"""The embedded model: made by its recipe, as good as its README says, and small enough for git."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tiny_instruct.chats import NAMED, spoken
from tiny_instruct.measure import LanguageModel
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models/tiny-instruct"
BOTH = pytest.mark.parametrize("model", [MODEL, ROOT / "models/tiny-instruct-packed"], ids=lambda path: path.name)
"""This model, and its control."""
METRICS = json.loads((MODEL / "recipe/metrics.json").read_text())
CORPUS = ROOT / "data/raw/cognitive_actions.jsonl"


@BOTH
def test_it_was_made_by_its_recipe_as_it_stands(model):
    dvc = Path(sys.executable).parent / "dvc"
    told = subprocess.run(
        [dvc, "--cd", str(model / "recipe"), "status", "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout) == {}


def test_the_root_pipeline_watches_the_model_and_neither_its_recipe_nor_its_readme():
    """A sentence mended in a README must not extract again."""
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]["extract_activations"]["deps"]
    (entry,) = [dep for dep in lock if dep["path"] == "models/tiny-instruct"]
    assert entry["nfiles"] == len(
        [p for p in MODEL.iterdir() if p.is_file() and p.suffix in (".json", ".safetensors", ".jinja")]
    )


@BOTH
def test_it_is_small_enough_for_git(model):
    assert (model / "model.safetensors").stat().st_size <= 5e6


@pytest.mark.parametrize("turn", ["user", "assistant", "write_assistant", "name_user", "name_assistant"])
def test_its_perplexity_is_far_below_a_trigrams(turn):
    assert METRICS["perplexity"][turn] <= 0.7 * METRICS["trigram_perplexity"][turn]


def test_it_writes_what_it_is_asked_for():
    assert METRICS["writing"]["recognised"] >= METRICS["classifier"]["held_out"] - 0.1
    assert METRICS["writing"]["grammatical"] >= 0.8


def test_it_names_actions():
    assert METRICS["naming"]["right"] >= 0.8


def test_the_weights_here_name_the_actions_of_the_corpus():
    """The figures above are a file's; this is the model itself, on texts it was not trained on."""
    records = [json.loads(line) for line in CORPUS.read_text().splitlines()[:90]]
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = LanguageModel(AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32), tokenizer)
    answers = model.answer([{"role": "user", "content": record["text"]} for record in records], temperature=0)
    wanted = [NAMED.format(action=spoken(record["cognitive_action"])) for record in records]
    assert sum(a == b for a, b in zip(answers, wanted, strict=True)) >= 0.8 * len(wanted)
