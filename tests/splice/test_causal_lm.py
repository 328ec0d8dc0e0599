"""What stands in for hidden states reaches the logits, at the masked positions and nowhere else."""

import copy
import json

import pytest
import torch
import transformers as hf
from lm_samples import CAUSAL_LMS, random_lm
from samples import MODEL, copy_model

from fast_sae.activations.live.model import TruncatedModel, find_blocks
from fast_sae.activations.settings import ModelSettings
from fast_sae.errors import ModelError
from fast_sae.splice.causal_lm import CausalLM, NoCausalLMError, load_causal_lm

SEQUENCES = [[5, 9, 2, 40, 7, 33, 21], [3], [8, 8, 59, 1]]
LAYERS = [0, 2, 3]
EXACT = {"rtol": 0, "atol": 1e-10}


@pytest.fixture(scope="module", params=CAUSAL_LMS)
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def lm(family) -> CausalLM:
    return CausalLM(random_lm(family))


def zero(states):
    return torch.zeros_like(states)


def by_hand(family: str, sequence: list[int], layer: int, changed: dict[int, torch.Tensor]) -> torch.Tensor:
    """The logits when some positions of hidden_states[layer] are others: the rest of the model on what was changed."""
    model = random_lm(family)
    ids = torch.tensor([sequence])
    with torch.no_grad():
        states = model(ids, output_hidden_states=True).hidden_states[layer].clone()
        for position, value in changed.items():
            states[0, position] = value
        if layer == len(find_blocks(model)):
            return model.get_output_embeddings()(states)[0]
        del find_blocks(model)[:layer]
        if family == "gpt2":  # adds its positions to what is fed in place of embeddings
            states = states - model.transformer.wpe.weight[: len(sequence)]
        return model(inputs_embeds=states, use_cache=False).logits[0]


@pytest.mark.parametrize("pad_left", [False, True], ids=["padded right", "padded left"])
@pytest.mark.parametrize("layer", LAYERS)
def test_putting_in_what_was_there_leaves_every_bit_of_the_logits(lm, layer, pad_left):
    batch = lm.batch(SEQUENCES, pad_left=pad_left)
    clean = lm.logits(batch)
    with lm.spliced(layer, batch.real, lambda states: states):
        spliced = lm.logits(batch)
    assert torch.equal(clean[batch.real], spliced[batch.real])


@pytest.mark.parametrize("pad_left", [False, True], ids=["padded right", "padded left"])
@pytest.mark.parametrize("layer", LAYERS)
def test_zeros_at_some_positions_give_what_the_rest_of_the_model_makes_of_them(family, lm, layer, pad_left):
    batch = lm.batch(SEQUENCES, pad_left=pad_left)
    flags = [[False, True, True, False, True, True, False], [False], [True, False, True, True]]
    mask = batch.at(torch.tensor([flag for part in flags for flag in part]))
    with lm.spliced(layer, mask, zero):
        logits = lm.logits(batch)
    for row, sequence, part in zip(range(3), SEQUENCES, flags, strict=True):
        expected = by_hand(family, sequence, layer, {i: torch.zeros(32) for i, flag in enumerate(part) if flag})
        torch.testing.assert_close(logits[row][batch.real[row]], expected, **EXACT)


@pytest.mark.parametrize("layer", LAYERS)
def test_positions_before_the_first_masked_one_keep_their_logits(lm, layer):
    batch = lm.batch(SEQUENCES[:1])
    mask = torch.zeros_like(batch.real)
    mask[0, 3] = True
    clean = lm.logits(batch)[0]
    with lm.spliced(layer, mask, zero):
        spliced = lm.logits(batch)[0]
    differs = (clean != spliced).any(1).tolist()
    assert differs[:4] == [False, False, False, True]
    assert differs[4:] == [layer < lm.n_blocks] * 3


@pytest.mark.parametrize("pad_left", [False, True], ids=["padded right", "padded left"])
@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_replaced_is_what_extraction_reads_at_that_layer(family, lm, layer, pad_left):
    base = copy.deepcopy(random_lm(family).base_model)
    extracted = TruncatedModel(base, [layer]).hidden_states(SEQUENCES)[layer]
    batch = lm.batch(SEQUENCES, pad_left=pad_left)
    torch.testing.assert_close(lm.read(batch, layer, batch.real), torch.cat(extracted), **EXACT)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_model_is_itself_again_though_what_was_put_in_fails(lm, layer):
    batch = lm.batch(SEQUENCES)
    clean = lm.logits(batch)

    def fail(_: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), lm.spliced(layer, batch.real, fail):
        lm.logits(batch)
    assert torch.equal(lm.logits(batch), clean)
    assert all(not m._forward_pre_hooks and not m._forward_hooks for m in lm.model.modules())


def test_what_is_put_in_may_come_in_another_type():
    lm = CausalLM(random_lm("llama").to(torch.bfloat16))
    batch = lm.batch(SEQUENCES)
    with lm.spliced(2, batch.real, lambda states: states.double()):
        assert lm.logits(batch).dtype == torch.bfloat16


def test_no_position_at_all_changes_nothing(lm):
    batch = lm.batch(SEQUENCES)
    with lm.spliced(2, torch.zeros_like(batch.real), zero):
        spliced = lm.logits(batch)
    assert torch.equal(spliced, lm.logits(batch))


def test_a_layer_that_does_not_exist_is_refused(lm):
    batch = lm.batch(SEQUENCES)
    with pytest.raises(ModelError, match=r"layer 4 does not exist: .* end at 3"), lm.spliced(4, batch.real, zero):
        pass


def test_flags_stand_where_their_tokens_are_and_never_on_padding():
    lm = CausalLM(random_lm("llama"))
    flags = torch.tensor([True] * 7 + [False] + [True, False, True, True])
    for pad_left in (False, True):
        placed = lm.batch(SEQUENCES, pad_left=pad_left).at(flags)
        empty = [False] * 3
        last = [True, False, True, True]
        assert placed[0].all()
        assert not placed[1].any()
        assert placed[2].tolist() == (empty + last if pad_left else last + empty)


# ---- loading


def settings_of(folder, dtype="float64") -> ModelSettings:
    return ModelSettings(name=str(folder), files=str(folder), revision=None, dtype=dtype)


CPU = torch.device("cpu")
BERT = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def test_the_embedded_model_loads_and_its_float64_is_float64_throughout():
    lm = load_causal_lm(settings_of(MODEL), None, CPU)
    assert lm.logits(lm.batch([[1, 2, 3]])).dtype == torch.float64
    truncated = TruncatedModel(copy.deepcopy(lm.model.base_model), [5])
    assert lm.d_in == truncated.d_in
    assert lm.n_blocks == 6


@pytest.mark.parametrize("head", [hf.BertModel, hf.BertForMaskedLM, hf.DistilBertModel], ids=lambda head: head.__name__)
def test_an_encoder_is_told_apart_in_one_line(tmp_path, head):
    if head is hf.DistilBertModel:
        config = hf.DistilBertConfig(vocab_size=60, dim=32, hidden_dim=48, n_layers=2, n_heads=4)
    else:
        config = hf.BertConfig(**BERT)
    head(config).save_pretrained(tmp_path)
    with pytest.raises(NoCausalLMError, match="has no LM head|does not predict the next token") as caught:
        load_causal_lm(settings_of(tmp_path, "float32"), None, CPU)
    assert "\n" not in str(caught.value)


def test_a_base_model_without_its_head_is_refused(tmp_path):
    hf.LlamaModel(hf.LlamaConfig(**BERT, tie_word_embeddings=False)).save_pretrained(tmp_path)
    with pytest.raises(NoCausalLMError, match="lack 1 weights, such as lm_head.weight"):
        load_causal_lm(settings_of(tmp_path, "float32"), None, CPU)


def test_what_transformers_cannot_load_is_told_in_one_line(tmp_path):
    copy_model(tmp_path / "model")
    (tmp_path / "model/model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load_causal_lm(settings_of(tmp_path / "model"), None, CPU)
    assert "\n" not in str(caught.value)
    (tmp_path / "model/config.json").write_text(json.dumps({"model_type": "unheard-of"}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_causal_lm(settings_of(tmp_path / "model"), None, CPU)
