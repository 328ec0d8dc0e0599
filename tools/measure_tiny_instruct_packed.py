"""Measure models/tiny-instruct-packed beside the first: a stage of its recipe/dvc.yaml, run from that folder."""

import json
from pathlib import Path

import torch
import yaml
from tiny_instruct.blocks import perplexities
from tiny_instruct.chats import chats, tokenise
from tiny_instruct.texts import held_out_texts
from transformers import AutoTokenizer, LlamaForCausalLM


def main(
    first: Path = Path("../../tiny-instruct"), packed: Path = Path(".."), metrics: Path = Path("metrics.json")
) -> None:
    """Write the perplexity of both models on held-out chats, each alone and in blocks of a stream."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]
    texts = yaml.safe_load((first / "recipe/params.yaml").read_text(encoding="utf-8"))["texts"]
    torch.set_num_threads(params["threads"])
    tokenizer = AutoTokenizer.from_pretrained(first)
    held_out = [tokenise(tokenizer, chat) for _, chat in chats(held_out_texts(texts), seed=texts["seed"])]
    found = {
        name: {key: round(value, 4) for key, value in _measure(folder, held_out, params["row_tokens"]).items()}
        for name, folder in (("tiny-instruct", first), ("tiny-instruct-packed", packed))
    }
    metrics.write_text(json.dumps({"perplexity": found}, indent=2) + "\n", encoding="utf-8")


def _measure(folder: Path, held_out: list[tuple[list[int], int]], row_tokens: int) -> dict[str, float]:
    return perplexities(LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32), held_out, row_tokens)


if __name__ == "__main__":
    main()
