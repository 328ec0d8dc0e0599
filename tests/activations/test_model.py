"""Truncated, batched and padded, a model gives each example what the whole model gives it alone."""

import pytest
import torch
import transformers as hf

from fast_sae.activations.live.model import TruncatedModel
from fast_sae.errors import ModelError

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
PADS_RIGHT = {"roberta"}  # counts its positions from 2; extraction pads left only for causal models
CAUSAL = {"llama": True, "qwen2": True, "gemma": True, "mistral": True, "gpt2": True, "bert": False, "roberta": False}


def make(family: str, seed: int = 0) -> hf.PreTrainedModel:
    torch.manual_seed(seed)
    model = FAMILIES[family]().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # far from the tiny initial weights, so that every block matters
            parameter += 0.1 * torch.randn(parameter.shape)
    return model


@pytest.fixture(scope="module")
def sequences() -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(2, 60, (n,), generator=generator).tolist() for n in LENGTHS]


def alone(model: hf.PreTrainedModel, sequence: list[int], layer: int) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([sequence]), output_hidden_states=True).hidden_states[layer][0]


@pytest.mark.parametrize("pad_left", [False, True], ids=["padded right", "padded left"])
@pytest.mark.parametrize("layers", [(0,), (2,), (1, 3), (4,), (0, 4)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_batched_truncated_activations_equal_the_whole_model_alone(family, layers, pad_left, sequences):
    if pad_left and family in PADS_RIGHT:
        pytest.skip(f"{family} is never padded left")
    whole = make(family)
    truncated = TruncatedModel(make(family), layers)
    found = truncated.hidden_states(sequences, pad_left=pad_left)
    assert set(found) == set(layers)
    for layer in layers:
        for sequence, states in zip(sequences, found[layer], strict=True):
            expected = alone(whole, sequence, layer)
            assert states.shape == expected.shape
            assert (states - expected).norm() / expected.norm() <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_behind_the_deepest_layer_are_gone_and_do_not_run(family):
    truncated = TruncatedModel(make(family), [1])
    blocks = max((m for m in truncated.model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
    ran = []
    for number, block in enumerate(blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    truncated.hidden_states([[1, 2, 3]])
    assert len(blocks) == 2
    assert ran == [0]


@pytest.mark.parametrize("family", FAMILIES)
def test_causality_is_found_out(family):
    assert TruncatedModel(make(family), [2]).is_causal() is CAUSAL[family]


def test_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(ModelError, match=r"layer 5 does not exist: .* end at 4"):
        TruncatedModel(make("llama"), [2, 5])


def test_hooks_are_removed_even_if_the_model_fails():
    truncated = TruncatedModel(make("llama"), [2])
    with pytest.raises(IndexError):
        truncated.hidden_states([[10_000]])
    assert all(not module._forward_pre_hooks for module in truncated.model.modules())
