"""Train models/tiny-instruct-packed: a stage of models/tiny-instruct-packed/recipe/dvc.yaml, run from that folder."""

from pathlib import Path

import torch
import yaml
from tiny_instruct.chats import chats, tokenise
from tiny_instruct.packing import PackedSchedule, train_packed
from tiny_instruct.texts import training_texts
from transformers import AutoTokenizer, LlamaForCausalLM


def main(
    first: Path = Path("../../tiny-instruct"),
    model_folder: Path = Path(".."),
    texts: Path = Path("../../tiny-instruct/recipe/params.yaml"),
) -> None:
    """Write config.json, generation_config.json, model.safetensors (bfloat16) and the tokenizer's files."""
    learned_from = yaml.safe_load(texts.read_text(encoding="utf-8"))["texts"]
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]
    torch.set_num_threads(params.pop("threads"))
    tokenizer = AutoTokenizer.from_pretrained(first)
    tokenizer.save_pretrained(model_folder)
    model = LlamaForCausalLM.from_pretrained(first, dtype=torch.float32)
    learned = chats(training_texts(learned_from), seed=learned_from["seed"])
    train_packed(model, [tokenise(tokenizer, chat) for _, chat in learned], PackedSchedule(**params))
    model.to(torch.bfloat16).save_pretrained(model_folder)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
