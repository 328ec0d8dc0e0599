"""Truncated, batched and padded, a model gives each example what the whole model gives it alone."""

from pathlib import Path

import pytest
import torch
import transformers as hf
from model_samples import CAUSAL, FAMILIES, LENGTHS, make

from fast_sae.activations.live.model import TruncatedModel, load_model
from fast_sae.activations.settings import ModelSettings
from fast_sae.errors import ModelError


@pytest.fixture(scope="module")
def sequences() -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(2, 60, (n,), generator=generator).tolist() for n in LENGTHS]


def load(folder: Path, layers: list[int]) -> TruncatedModel:
    settings = ModelSettings(name=str(folder), files=str(folder), revision=None, dtype="float32")
    return load_model(settings, None, layers, torch.device("cpu"))


def alone(model: hf.PreTrainedModel, sequence: list[int], layer: int) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([sequence]), output_hidden_states=True).hidden_states[layer][0]


@pytest.mark.parametrize("layers", [(0,), (2,), (1, 3), (4,), (0, 4)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_batched_truncated_activations_equal_the_whole_model_alone(family, layers, sequences):
    whole = make(family)
    truncated = TruncatedModel(make(family), layers)
    found = truncated.hidden_states(sequences)
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
    assert set(ran) == {0}


@pytest.mark.parametrize("family", FAMILIES)
def test_causality_is_found_out(family):
    assert TruncatedModel(make(family), [2]).causal is CAUSAL[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_that_are_not_needed_are_not_read(family, sequences, tmp_path):
    """Those of another width on disk could not be; the config's number of blocks stays."""
    whole = make(family)
    whole.save_pretrained(tmp_path)
    blocks = next(m for m in whole.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 4)
    for parameter in blocks[3].parameters():
        parameter.data = torch.zeros(*(n + 1 for n in parameter.shape))
    broken = tmp_path / "broken"
    whole.save_pretrained(broken)
    loaded = [load(folder, [0, 2]) for folder in (tmp_path, broken)]
    for model in loaded:
        assert (model.n_blocks, model.model.config.num_hidden_layers) == (4, 4)
        assert type(model.model).__name__ == type(whole).__name__
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(broken, [4])
    whole, deepest = make(family), load(tmp_path, [4])
    for truncated, layers in ((loaded[1], [0, 2]), (deepest, [4])):
        found = truncated.hidden_states(sequences)
        for layer in layers:
            for sequence, states in zip(sequences, found[layer], strict=True):
                expected = alone(whole, sequence, layer)
                assert (states - expected).norm() / expected.norm() <= 1e-5


def test_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(ModelError, match=r"layer 5 does not exist: .* end at 4"):
        TruncatedModel(make("llama"), [2, 5])


def test_hooks_are_removed_even_if_the_model_fails():
    truncated = TruncatedModel(make("llama"), [2])
    with pytest.raises(IndexError):
        truncated.hidden_states([[10_000]])
    assert all(not module._forward_pre_hooks for module in truncated.model.modules())
