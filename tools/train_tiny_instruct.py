"""Train models/tiny-instruct: a stage of models/tiny-instruct/recipe/dvc.yaml, run from that folder."""

from pathlib import Path
from typing import Any, cast

import torch
import yaml
from tiny_instruct.chats import chats, tokenise
from tiny_instruct.texts import training_texts
from tiny_instruct.tokenizer import BEGIN, END, TURN_END, train_tokenizer
from tiny_instruct.training import Schedule, train
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def main(model_folder: Path = Path("..")) -> None:
    """Write the tokenizer's files, config.json, generation_config.json and model.safetensors (bfloat16)."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    learned = [chat for _, chat in chats(training_texts(params["texts"]), seed=params["texts"]["seed"])]
    said = (message["content"] for chat in learned for message in chat)
    tokenizer = train_tokenizer(said, params["model"]["vocab_size"])
    tokenizer.save_pretrained(model_folder)
    torch.set_num_threads(params["train"].pop("threads"))
    torch.manual_seed(params["train"]["seed"])
    model = LlamaForCausalLM(_config(params["model"], tokenizer))
    train(model, [tokenise(tokenizer, chat) for chat in learned], Schedule(**params["train"]))
    model.to(torch.bfloat16).save_pretrained(model_folder)  # type: ignore[arg-type]


def _config(model: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    begin, turn_end, end = (cast(int, tokenizer.convert_tokens_to_ids(token)) for token in (BEGIN, TURN_END, END))
    return LlamaConfig(
        **model,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=begin,
        eos_token_id=turn_end,
        pad_token_id=end,
    )


if __name__ == "__main__":
    main()
