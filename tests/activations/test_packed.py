"""Several sequences in one row, each attending to itself alone, get the activations of a pass of their own."""

import numpy as np
import pytest
import torch
import transformers as hf
from model_samples import CAUSAL, FAMILIES, LENGTHS, make
from samples import params, runtime

from fast_sae.activations.live.extractor import Extractor
from fast_sae.activations.live.float64 import compute_in_float64
from fast_sae.activations.live.model import TruncatedModel
from fast_sae.activations.settings import ExtractSettings
from fast_sae.errors import ModelError
from fast_sae.params import parse_section

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.fixture(scope="module")
def passes() -> list[np.ndarray]:
    draw = np.random.default_rng(1)
    return [draw.integers(2, 60, n).astype(np.int32) for n in LENGTHS]


def settings(layers: list[int]) -> ExtractSettings:
    return parse_section(params(**{"extract.layers": layers, "extract.dtype": "float32"}), "extract", ExtractSettings)


def truncated(family: str, dtype: torch.dtype, layers=(0, 2, 4), attention: str = "sdpa") -> TruncatedModel:
    model = make(family).to(dtype)
    model.set_attn_implementation(attention)
    if dtype == torch.float64:
        compute_in_float64(model)
    return TruncatedModel(model, layers)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("family", [family for family in FAMILIES if CAUSAL[family]])
def test_packed_equals_alone(family, dtype, attention, passes):
    """Mistral's window (5) is shorter than its sequences; a row is filled up in the first case, none in the second."""
    model = truncated(family, dtype, attention=attention)
    sequences = [tokens.tolist() for tokens in passes]
    for rows in ([[0, 1, 3], [2], [4, 1]], [[0, 3, 1], [2]]):
        packed = model.packed_states([[sequences[i] for i in row] for row in rows])
        for layer in model.layers:
            flat = [i for row in rows for i in row]
            assert len(packed[layer]) == len(flat)
            for i, found in zip(flat, packed[layer], strict=True):
                alone = model.hidden_states([sequences[i]])[layer][0]
                assert found.shape == alone.shape
                assert ((found - alone).norm(dim=1) <= TOLERANCE[dtype] * alone.norm(dim=1)).all()


@pytest.mark.parametrize("family", [family for family in FAMILIES if not CAUSAL[family]])
def test_an_encoder_is_refused(family):
    with pytest.raises(ModelError, match="not causal or takes no positions; set runtime.extract_rows: padded"):
        Extractor.of(TruncatedModel(make(family), [2]), settings([2]), runtime(extract_rows="packed"))


@pytest.mark.parametrize("batch_tokens", [1, 13, 30, 1000])
def test_an_extractor_gives_the_same_rows_packed_and_padded(batch_tokens, passes):
    model = truncated("llama", torch.float64)
    padded, packed = (
        Extractor(model, settings([0, 2, 4]), batch_tokens, packed=packed).compute(passes) for packed in (False, True)
    )
    for layer in model.layers:
        assert padded[layer].shape == (sum(LENGTHS), 32)
        np.testing.assert_allclose(packed[layer], padded[layer], rtol=1e-6, atol=1e-7)


def leaks(model: TruncatedModel) -> TruncatedModel:
    """Let every sequence of a row attend to those before it, as a family would that does not look at positions."""
    inner = model._run
    model._run = lambda inputs: inner({"input_ids": inputs["input_ids"]} if "attention_mask" not in inputs else inputs)
    return model


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_a_model_that_does_not_tell_packed_sequences_apart_is_refused_before_any_row_is_kept(dtype, passes):
    model = leaks(truncated("llama", dtype))
    extractor = Extractor(model, settings([0, 2, 4]), 100, packed=True)
    with pytest.raises(ModelError, match=r"packed rows change .* layer 2 .* set runtime.extract_rows: padded") as told:
        extractor.compute(passes)
    assert "\n" not in str(told.value)


def test_a_real_family_whose_state_runs_through_a_row_is_refused(passes):
    """RecurrentGemma takes positions, but its convolution reads across sequences."""
    torch.manual_seed(0)
    config = hf.RecurrentGemmaConfig(
        num_hidden_layers=3, vocab_size=60, hidden_size=32, intermediate_size=48, num_attention_heads=2, lru_width=32
    )
    model = TruncatedModel(hf.RecurrentGemmaModel(config), [2])
    with pytest.raises(ModelError, match="set runtime.extract_rows: padded"):
        Extractor(model, settings([2]), 100, packed=True).compute(passes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_rounding_is_no_reason_to_refuse_and_models_are_checked_once(dtype, passes, monkeypatch):
    model = truncated("mistral", dtype)
    extractor = Extractor(model, settings([0, 2, 4]), 100, packed=True)
    alone, hidden_states = [], model.hidden_states
    monkeypatch.setattr(model, "hidden_states", lambda rows: alone.append(rows) or hidden_states(rows))
    first = extractor.compute(passes)
    compared = len(alone)
    second = extractor.compute(passes)
    assert 0 < compared == len(alone)
    assert all(np.array_equal(first[layer], second[layer]) for layer in (0, 2, 4))


def test_a_row_without_room_in_memory_is_told_with_what_to_do(passes, monkeypatch):
    model = truncated("llama", torch.float32)
    extractor = Extractor(model, settings([0, 2, 4]), 100, packed=True)
    extractor.compute(passes)

    def never(rows):
        raise torch.OutOfMemoryError("tried to allocate")

    monkeypatch.setattr(model, "packed_states", never)
    with pytest.raises(ModelError, match=r"no memory for one row of 12 tokens; lower .* runtime.extract_rows: padded"):
        extractor.compute(passes)
