"""The control model: made by its recipe, small enough for git, and at home in blocks where the first model is not."""

import json
from pathlib import Path

import torch
import yaml
from tiny_instruct.blocks import perplexities
from tiny_instruct.chats import chats, tokenise
from tiny_instruct.texts import held_out_texts
from transformers import AutoTokenizer, LlamaForCausalLM

ROOT = Path(__file__).parents[2]
FIRST, PACKED = ROOT / "models/tiny-instruct", ROOT / "models/tiny-instruct-packed"
MEASURED = json.loads((PACKED / "recipe/metrics.json").read_text())["perplexity"]


def test_it_is_the_first_model_s_architecture_and_tokenizer():
    """Its README says 1.00 million parameters, and so does the plan of make paper."""
    first, packed = (json.loads((folder / "config.json").read_text()) for folder in (FIRST, PACKED))
    assert first == packed
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (PACKED / name).read_bytes() == (FIRST / name).read_bytes()
    assert round(LlamaForCausalLM.from_pretrained(PACKED).num_parameters() / 1e6, 2) == 1.00


def test_blocks_are_out_of_the_first_models_distribution_and_in_this_ones():
    first, packed = MEASURED["tiny-instruct"], MEASURED["tiny-instruct-packed"]
    assert first["blocks"] > 10 * first["chats"]
    assert packed["blocks"] < 1.1 * packed["chats"]


def test_it_reads_a_chat_alone_as_well_as_the_first():
    assert MEASURED["tiny-instruct-packed"]["chats"] < 1.05 * MEASURED["tiny-instruct"]["chats"]


def test_the_weights_here_do_so():
    """The figures above are a file's; these are the models themselves, on fewer texts."""
    texts = yaml.safe_load((FIRST / "recipe/params.yaml").read_text())["texts"]
    tokenizer = AutoTokenizer.from_pretrained(FIRST)
    held_out = [tokenise(tokenizer, chat) for _, chat in chats(held_out_texts(texts)[:60], seed=texts["seed"])]
    first, packed = (
        perplexities(LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32), held_out, 512)
        for folder in (FIRST, PACKED)
    )
    assert packed["blocks"] < 0.1 * first["blocks"]
