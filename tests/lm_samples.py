"""Small causal language models: random ones of real families, and a toy whose logits a hand can compute."""

import torch
import transformers as hf
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

SMALL = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
GROUPED = SMALL | {"num_key_value_heads": 2, "max_position_embeddings": 64}
CAUSAL_LMS = {
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED, tie_word_embeddings=True)),
    "gemma": lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**GROUPED, head_dim=8)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**GROUPED, sliding_window=5)),
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=60, n_embd=32, n_layer=3, n_head=4, n_positions=64)),
}
MORE_LMS = {"gemma2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**GROUPED, head_dim=8))}
"""Families of which no whole pass is tested."""


def random_lm(family: str, seed: int = 0) -> hf.PreTrainedModel:
    """A random model in float64, far from the tiny initial weights, so that every block matters."""
    torch.manual_seed(seed)
    model = (CAUSAL_LMS | MORE_LMS)[family]().eval().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


class _ToyBase(hf.PreTrainedModel):
    config_class = hf.LlamaConfig

    def __init__(self, config: hf.LlamaConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([nn.Identity() for _ in range(config.num_hidden_layers)])
        self.post_init()

    def forward(self, input_ids, attention_mask=None):
        states = self.embed(input_ids)
        for layer in self.layers:
            states = layer(states)
        return BaseModelOutputWithPast(last_hidden_state=states)


class ToyLM(hf.PreTrainedModel):
    """Each token's logits are its own row of a table: its hidden states, the same at every layer."""

    config_class = hf.LlamaConfig
    base_model_prefix = "model"

    def __init__(self, config: hf.LlamaConfig) -> None:
        super().__init__(config)
        self.model = _ToyBase(config)
        self.post_init()

    def forward(self, input_ids, attention_mask=None):
        return CausalLMOutputWithPast(logits=self.model(input_ids, attention_mask).last_hidden_state)


def toy_lm(table: list[list[float]]) -> ToyLM:
    """A toy of one block with the given logits (token, next token); as wide as its vocabulary."""
    n = len(table)
    config = hf.LlamaConfig(vocab_size=n, hidden_size=n, num_hidden_layers=1, num_attention_heads=1)
    model = ToyLM(config).double()
    with torch.no_grad():
        model.model.embed.weight.copy_(torch.tensor(table, dtype=torch.float64))
    return model
