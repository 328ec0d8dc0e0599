"""Small models of several families, with random weights far from the tiny initial ones."""

import torch
import transformers as hf

LENGTHS = (7, 1, 12, 4, 12)
SMALL = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
GROUPED = SMALL | {"num_key_value_heads": 2, "max_position_embeddings": 64}
FAMILIES = {
    "llama": lambda: hf.LlamaModel(hf.LlamaConfig(**GROUPED)),
    "qwen2": lambda: hf.Qwen2Model(hf.Qwen2Config(**GROUPED)),
    "gemma": lambda: hf.GemmaModel(hf.GemmaConfig(**GROUPED, head_dim=8)),
    "mistral": lambda: hf.MistralModel(hf.MistralConfig(**GROUPED, sliding_window=5)),
    "gpt2": lambda: hf.GPT2Model(hf.GPT2Config(vocab_size=60, n_embd=32, n_layer=4, n_head=4, n_positions=64)),
    "bert": lambda: hf.BertModel(hf.BertConfig(**SMALL, max_position_embeddings=64)),
    "roberta": lambda: hf.RobertaModel(hf.RobertaConfig(**SMALL, max_position_embeddings=66)),
}
CAUSAL = {"llama": True, "qwen2": True, "gemma": True, "mistral": True, "gpt2": True, "bert": False, "roberta": False}


def make(family: str, seed: int = 0) -> hf.PreTrainedModel:
    torch.manual_seed(seed)
    model = FAMILIES[family]().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # far from the tiny initial weights, so that every block matters
            parameter += 0.1 * torch.randn(parameter.shape)
    return model
