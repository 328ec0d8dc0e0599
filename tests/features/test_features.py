"""write_features: which model is asked for what, and what is refused."""

import numpy as np
import pytest
import torch
import transformers as hf
from annotation_samples import identity_sae
from collect_samples import TRAINED, features_settings, held, model_settings, split_source, written_features
from lm_samples import SMALL
from sae_samples import initialised
from samples import MODEL, copy_model, runtime
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fast_sae.activations.live.identity import identify
from fast_sae.errors import ArtifactError, ModelError
from fast_sae.features.features import write_features
from fast_sae.features.store import FeatureStore
from fast_sae.splice.unembedding import load_unembedding


def write(folder, model, sae=None, identity=None, source=None, **overrides) -> None:
    source = source or split_source([[1.0, 0], [0, 2]], [1, 1])
    source.provenance.model.update(identity or identify(model))
    write_features(
        folder,
        sae or identity_sae(2),
        held("validation", source),
        held("test", source),
        features_settings(**overrides),
        record={"sae": {"K": 1}},
        sae_sha256="of these weights",
        model=model,
        kinds=TRAINED,
        dtype=torch.float64,
        runtime=runtime(),
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """An encoder with its tokenizer, without an LM head."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    hf.utils.logging.disable_progress_bar()
    hf.BertModel(hf.BertConfig(**SMALL)).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "two": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return model_settings(folder)


def test_without_logits_no_lm_head_is_needed(encoder, tmp_path):
    write(tmp_path / "f", encoder)
    store = FeatureStore.open(tmp_path / "f", {"sae": {"K": 1}})
    assert store.table("logit_lens").empty
    assert store.windows(1, "test", "top")[0].activations == (2.0,)


def test_logits_of_an_encoder_are_refused_in_one_line_and_nothing_is_left(encoder, tmp_path):
    with pytest.raises(ModelError, match=r"has no LM head; set features\.logit_tokens: 0") as error:
        write(tmp_path / "f", encoder, logit_tokens=3)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_changed_since_extraction_is_refused(tmp_path):
    folder = copy_model(tmp_path / "model")
    model = model_settings(folder)
    before = identify(model)
    write(tmp_path / "f", model)
    config = folder / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(
        ArtifactError, match="another state of .* than now; run: dvc repro extract_activations"
    ) as error:
        write(tmp_path / "g", model, identity=before)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "g").exists()


def test_a_run_that_fails_leaves_what_was_there_before(encoder, tmp_path, monkeypatch):
    write(tmp_path / "f", encoder)
    before = {path.name: path.read_bytes() for path in (tmp_path / "f").iterdir()}
    monkeypatch.setattr("fast_sae.features.features._facts", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "f", encoder, seed=1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "f").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_the_logit_lens_is_that_of_the_decoders_rows(tmp_path):
    model = model_settings(MODEL)
    sae = initialised(96, layer=2, M=8, K=4)
    source = split_source(np.random.default_rng(0).normal(size=(40, 96)), [8] * 5)
    store = written_features(tmp_path / "f", held("validation", source), held("test", source), sae=sae, logit_tokens=4)
    lens = store.table("logit_lens")
    unembedding = load_unembedding(model, None, 2, torch.device("cpu"))
    logits = unembedding.logits(sae.W_dec.detach()).numpy()
    assert len(lens) == 8 * len(store.latents)
    assert (np.diff(lens["latent"]) >= 0).all()
    for latent in store.latents.index:
        order = np.argsort(logits[latent])
        for direction, wanted in (("promoted", order[::-1][:4]), ("suppressed", order[:4])):
            found = lens[(lens["latent"] == latent) & (lens["direction"] == direction)]
            assert found["token_id"].tolist() == wanted.tolist()
            assert found["rank"].tolist() == [1, 2, 3, 4]
            np.testing.assert_allclose(found["logit"], logits[latent, wanted], rtol=1e-5)


def test_the_sae_is_computed_with_in_the_type_it_was_trained_in(tmp_path):
    """A loaded SAE is float32; with float64 the entries are those of float64."""
    source = split_source([[1.0, 0.0], [1 + 2**-30, 0.0]], [1, 1])
    sae = identity_sae(2).float()
    with torch.no_grad():
        sae.b_enc.fill_(-1)
    store = written_features(tmp_path / "f", held("validation", source), held("test", source), sae=sae)
    assert store.latents["validation_density"].tolist() == [0.5]
    assert store.latents["max_activation"].tolist() == [pytest.approx(2.0**-30, rel=1e-5)]
