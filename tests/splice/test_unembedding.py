"""The final norm and the LM head by themselves do what they do in the whole model."""

import logging

import pytest
import torch
import transformers as hf
from lm_samples import CAUSAL_LMS, GROUPED, SMALL, random_lm
from samples import MODEL, params

from fast_sae.activations.settings import ModelSettings
from fast_sae.errors import ModelError
from fast_sae.params import parse_section
from fast_sae.splice.unembedding import Unembedding, load_unembedding

D_IN, N_BLOCKS = 32, 3
CPU = torch.device("cpu")
RMS = ("llama", "qwen2", "gemma", "gemma2", "mistral")


def model_settings(folder, dtype: str = "float64") -> ModelSettings:
    named = {"model.name": str(folder), "model.files": str(folder), "model.dtype": dtype}
    return parse_section(params(**named), "model", ModelSettings)


def saved(model: hf.PreTrainedModel, folder):
    """The model in a folder, without the words of its saving."""
    hf.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[*CAUSAL_LMS, "gemma2"])
def family(request):
    return request.param


@pytest.fixture(scope="module")
def whole(family):
    return random_lm(family)


@pytest.fixture(scope="module")
def folder(whole, tmp_path_factory):
    return saved(whole, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def loaded(folder) -> Unembedding:
    return load_unembedding(model_settings(folder), None, N_BLOCKS - 1, CPU)


def final_norm(whole: hf.PreTrainedModel):
    base = whole.base_model
    return base.ln_f if hasattr(base, "ln_f") else base.norm


def directions(n: int = 4) -> torch.Tensor:
    drawn = torch.randn(n, D_IN, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return drawn / drawn.norm(dim=1, keepdim=True)


def test_norm_and_head_are_those_of_the_whole_model(whole, loaded):
    assert torch.equal(loaded.head, whole.get_output_embeddings().weight)
    assert loaded.norm is not None
    expected = dict(final_norm(whole).named_parameters())
    found = dict(loaded.norm.named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def gain(family: str, whole) -> torch.Tensor:
    weight = final_norm(whole).weight
    return 1 + weight if family.startswith("gemma") else weight


def test_logits_are_the_head_on_the_direction_times_the_gain(family, whole, loaded):
    d = directions()
    if family not in RMS:
        d = d - d.mean(1, keepdim=True)
        d = d / d.norm(dim=1, keepdim=True)
    expected = (gain(family, whole) * d) @ whole.get_output_embeddings().weight.T
    torch.testing.assert_close(loaded.logits(directions()), expected, rtol=1e-4, atol=1e-5)


def logits_of(whole, states: torch.Tensor) -> torch.Tensor:
    """The whole model's logits if these activations leave its last block (before any soft cap)."""
    with torch.no_grad():
        return whole.get_output_embeddings()(final_norm(whole)(states))


def test_logits_are_what_a_direction_adds_to_an_activation_of_root_mean_square_one(family, whole, loaded):
    """(f(x + εd) − f(x)) / ε for x of norm √d_in at a right angle to d: the norm's divisor changes by ε² only."""
    d = directions(1)
    x = torch.randn(1, D_IN, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    if family not in RMS:  # a layer norm sees what is centred alone
        d = d - d.mean()
        x = x - x.mean()
        d = d / d.norm()
    x = x - (x @ d.T) * d
    x = x / x.norm() * D_IN**0.5
    step = 1e-2
    added = (logits_of(whole, x + step * d) - logits_of(whole, x)) / step
    torch.testing.assert_close(added.double(), loaded.logits(d), rtol=2e-3, atol=2e-3)


def test_a_direction_has_the_opposite_logits_of_its_opposite(loaded):
    torch.testing.assert_close(loaded.logits(-directions()), -loaded.logits(directions()), rtol=1e-9, atol=1e-9)


def test_directions_behind_the_final_norm_go_to_the_head_as_they_are(whole, folder):
    found = load_unembedding(model_settings(folder), None, N_BLOCKS, CPU)
    assert found.norm is None
    expected = directions() @ whole.get_output_embeddings().weight.T
    torch.testing.assert_close(found.logits(directions()), expected, rtol=0, atol=1e-12)


def test_a_model_wide_as_real_ones_loses_nothing_to_the_norms_epsilon(tmp_path):
    config = hf.LlamaConfig(**GROUPED | {"hidden_size": 2048, "num_hidden_layers": 1}, rms_norm_eps=1e-5)
    torch.manual_seed(0)
    whole = hf.LlamaForCausalLM(config).double()
    found = load_unembedding(model_settings(saved(whole, tmp_path)), None, 0, CPU)
    d = torch.nn.functional.normalize(torch.randn(2, 2048, dtype=torch.float64), dim=1)
    torch.testing.assert_close(found.logits(d), d @ whole.lm_head.weight.T, rtol=1e-5, atol=1e-9)


def test_what_is_computed_in_float64_is_not_rounded_on_the_way(tmp_path):
    """Norms of transformers go through float32; ones of gain 1 then give the direction itself."""
    whole = hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED, rms_norm_eps=1e-30)).double()
    found = load_unembedding(model_settings(saved(whole, tmp_path)), None, 1, CPU)
    torch.testing.assert_close(found.logits(directions()), directions() @ whole.lm_head.weight.T, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_types_of_real_models_give_the_same_to_within_their_digits(folder, loaded, dtype):
    found = load_unembedding(model_settings(folder, dtype), None, N_BLOCKS - 1, CPU)
    assert found.head.dtype == getattr(torch, dtype)
    digits = {"float32": 1e-5, "bfloat16": 5e-2}[dtype]
    torch.testing.assert_close(found.logits(directions()).double(), loaded.logits(directions()), rtol=0, atol=digits)


def test_the_embedded_models_head_is_its_tied_embedding():
    found = load_unembedding(model_settings(MODEL), None, 2, CPU)
    whole = hf.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64)
    assert torch.equal(found.head, whole.get_input_embeddings().weight)
    assert torch.equal(found.norm.weight, whole.model.norm.weight)


@pytest.fixture(scope="module")
def headless(tmp_path_factory):
    torch.manual_seed(0)
    models = {
        "encoder": hf.BertModel(hf.BertConfig(**SMALL)),
        "decoder's base": hf.LlamaModel(hf.LlamaConfig(**GROUPED)),
    }
    return {name: saved(model, tmp_path_factory.mktemp("headless")) for name, model in models.items()}


@pytest.mark.parametrize("name", ["encoder", "decoder's base"])
def test_a_model_without_lm_head_is_refused_in_one_line(headless, name):
    with pytest.raises(ModelError, match="has no LM head; set features.logit_tokens: 0") as error:
        load_unembedding(model_settings(headless[name]), None, 1, CPU)
    assert "\n" not in str(error.value)


def test_a_model_that_cannot_be_loaded_is_told_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="cannot be loaded") as error:
        load_unembedding(model_settings(tmp_path), None, 1, CPU)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["encoder", "whole"])
def test_the_weights_left_out_are_not_listed_and_the_loggers_voice_is_given_back(headless, name, capfd, caplog):
    logger = hf.utils.logging
    before = logger.get_verbosity()
    logger.set_verbosity_info()
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        if name == "encoder":
            with pytest.raises(ModelError):
                load_unembedding(model_settings(headless[name]), None, 1, CPU)
        else:
            load_unembedding(model_settings(MODEL), None, 2, CPU)
        assert logger.get_verbosity() == logger.INFO
    finally:
        logger.set_verbosity(before)
        logging.getLogger("transformers").removeHandler(caplog.handler)
    printed = "".join(capfd.readouterr()) + caplog.text
    assert "layers" not in printed
    assert "UNEXPECTED" not in printed
    assert "MISSING" not in printed
