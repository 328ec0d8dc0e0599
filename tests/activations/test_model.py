"""Truncated, batched and padded, a model gives each example what the whole model gives it alone."""

import pytest
import torch
import transformers as hf
from model_samples import CAUSAL, FAMILIES, LENGTHS, make

from fast_sae.activations.live.model import TruncatedModel
from fast_sae.errors import ModelError

PADS_RIGHT = {"roberta"}  # counts its positions from 2; extraction pads left only for causal models


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
