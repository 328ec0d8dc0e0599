"""The whole of steering in process, on the embedded model: the stage's function and the command's."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from annotation_samples import save_origin
from features_samples import make_store
from sae_samples import sae_settings
from samples import MODEL, params, runtime
from steering_samples import steer_settings

from fast_sae.activations.live.identity import folder_sha256
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.annotation.origin import read_origin
from fast_sae.artifacts import Manifest, read_manifest, write_manifest
from fast_sae.chat.examples import Example, Message
from fast_sae.errors import ArtifactError, ModelError, UserError
from fast_sae.features.store import FeatureStore
from fast_sae.params import parse_section
from fast_sae.sae.build import build_sae
from fast_sae.steering import command
from fast_sae.steering.command import Asked, steer_prompts
from fast_sae.steering.model import SteeredModel
from fast_sae.steering.report import SteerReport
from fast_sae.steering.steer import Material, steer

PROMPT = "Write a short text about music."


def sae_of(d_in: int = 96):
    """Latents 0 to 3 are axes of the residual stream."""
    sae = build_sae(d_in, sae_settings(layer=5, M=4, K=2)).double()
    with torch.no_grad():
        sae.W_enc[:4, :4] = torch.eye(4)
        sae.W_dec[:4, :4] = torch.eye(4)
    return sae


def examples(n: int) -> list[Example]:
    texts = {"counting": "I counted one, two, three.", "waiting": "I waited for the bus."}
    both = [*texts.items()] * n
    return [
        Example(f"e{i}", (Message(role="user", content=f"{text} {i}"),), is_text=True, label=label)
        for i, (label, text) in enumerate(both)
    ]


def manifest(model: Path = MODEL) -> Manifest:
    trained_on = {"commit": None, "model_sha256": folder_sha256(model)}
    return Manifest(Path("models/sae/manifest.json"), "train_sae", {}, {"activations": trained_on})


def sections(model: str = str(MODEL)) -> dict:
    found = params(**{"model.name": model, "model.files": model})
    return {
        "model": parse_section(found, "model", ModelSettings),
        "extract": parse_section(found, "extract", ExtractSettings),
        "runtime": runtime(lm_batch_tokens=512, extract_batch_tokens=512),
    }


def steered(features: FeatureStore, model: str = str(MODEL), made: Manifest | None = None, **overrides) -> SteerReport:
    split = {"train": examples(3), "validation": examples(2), "test": examples(2)}
    material = Material(sae_of(), made or manifest(), features, split, kinds=(1, 2, 3, 4))  # pyright: ignore
    return steer(material, steer_settings(**overrides), **sections(model))


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> FeatureStore:
    return make_store(tmp_path_factory.mktemp("features") / "features")


@pytest.fixture(scope="module")
def report(features) -> SteerReport:
    return steered(features, candidate_labels=1, special_latents=1, listed=[3])


def test_everything_is_tried_at_every_dose_beside_controls_and_unsteered(report):
    assert report.effects is not None
    tried = {(one.trial.role, one.trial.alpha) for one in report.effects.scoring}
    assert tried == {("none", 0.0)} | {(r, a) for r in ("latent", "random", "other") for a in report.alphas}
    assert report.alphas == sorted([50.0, 0.5 * report.norm])
    assert [(one.label, one.latent) for one in report.effects.chosen] == [("counting", 1)]
    assert report.unlabelled[3] == "listed"
    assert report.accuracy == 1.0
    assert all(len(report.choosing) % 2 == 0 and one.tokens <= 6 for one in report.choosing)


def test_what_was_chosen_or_tried_is_no_control(report):
    others = {one.trial.direction.latent for one in report.effects.scoring if one.trial.role == "other"}
    assert others <= {0, 1, 2} - {1, *report.unlabelled}
    assert len(others) == 1


def test_two_runs_write_the_same_bytes(report, features, tmp_path):
    for name, one in (("a", report), ("b", steered(features, candidate_labels=1, special_latents=1, listed=[3]))):
        one.write(tmp_path / name, tmp_path / name / "steer.json", tmp_path / name / "plots")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 7
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_data_without_labels_are_steered_for_special_tokens_alone(features, tmp_path, monkeypatch):
    none = pd.DataFrame({"label": [], "latent": [], "validation_auroc": []})
    monkeypatch.setattr(FeatureStore, "table", lambda self, name: none)
    monkeypatch.setattr("fast_sae.steering.steer.Recogniser.fit", lambda examples: None)
    found = steered(features, special_latents=2, norm_alphas=[])
    found.write(tmp_path, tmp_path / "steer.json", tmp_path / "plots")
    assert json.loads((tmp_path / "steer.json").read_text())["steer"]["label_latents"] == 0
    assert "chosen by" in (tmp_path / "report.md").read_text()


def test_switched_off_nothing_is_loaded(features, tmp_path, capsys):
    assert steered(features, str(tmp_path / "nowhere"), enabled=False).effects is None
    assert "steer.enabled is false" in capsys.readouterr().err


def test_another_state_of_the_model_is_refused(features):
    other = Manifest(Path("models/sae/manifest.json"), "train_sae", {}, {"activations": {}})
    with pytest.raises(ArtifactError, match="another state of the language model"):
        steered(features, made=other)


def encoder(folder: Path) -> str:
    import transformers as hf

    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / file).write_bytes((MODEL / file).read_bytes())
    sizes = {"hidden_size": 96, "intermediate_size": 8, "num_hidden_layers": 5, "num_attention_heads": 1}
    hf.BertModel(hf.BertConfig(vocab_size=4096, **sizes)).save_pretrained(folder)
    return str(folder)


def test_an_encoder_ends_in_one_line_that_says_what_to_set(features, tmp_path):
    model = encoder(tmp_path)
    with pytest.raises(ModelError, match=r"LM head: set steer\.enabled: false") as caught:
        steered(features, model, manifest(tmp_path))
    assert "\n" not in str(caught.value)


# ---- prompts


def opened(**extract) -> SteeredModel:
    made = sections()
    settings = made["extract"].model_copy(update=extract)
    return SteeredModel.open(made["model"], settings, sae_of(), made["runtime"])


def test_a_prompt_ends_where_the_answer_begins():
    model = opened()
    text = str(model.tokenizer.decode(model.prompt(PROMPT)))
    assert text.endswith(f"{PROMPT}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")
    bare = opened(template="none")
    assert PROMPT in str(bare.tokenizer.decode(bare.prompt(PROMPT)))
    assert "assistant" not in str(bare.tokenizer.decode(bare.prompt(PROMPT)))


def test_a_prompt_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"longer than extract\.max_length, 9 tokens"):
        opened(max_length=9).prompt(PROMPT)


# ---- the command


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = save_origin(tmp_path_factory.mktemp("origin") / "sae")
    write_manifest(folder, "train_sae", read_manifest(folder, "train_sae").settings, manifest().facts)
    return read_origin(folder)


def told(origin, prompts=(PROMPT,), latents=(0,), alphas=(0.0, 40.0), *, random_control=False) -> list[str]:
    asked = Asked(latents, alphas, False, prompts, random_control, Path("nowhere"))
    return [*steer_prompts(origin, asked, steer_settings(), runtime(extract_batch_tokens=512, lm_batch_tokens=512))]


def test_the_command_prints_prompt_dose_perplexity_and_continuation(origin):
    lines = told(origin, random_control=True)
    assert lines[0] == f"prompt: {PROMPT}"
    starts = [
        "  unsteered, alpha 0, perplexity ",
        "  latent 0, alpha 40, perplexity ",
        "  random 0, alpha 40, perplexity ",
    ]
    assert all(line.startswith(start) for line, start in zip(lines[1:], starts, strict=True))


def test_a_dose_in_units_of_the_norm_is_told_in_both(origin, monkeypatch):
    monkeypatch.setattr(command, "read_prepared", lambda folder, split: examples(2))
    asked = Asked([0], [0.5], True, [PROMPT], False, Path("nowhere"))
    settings, small = steer_settings(), runtime(extract_batch_tokens=512, lm_batch_tokens=512)
    first, _, line = steer_prompts(origin, asked, settings, small)
    norm = float(first.removeprefix("the mean norm of the residual stream is ").split(";")[0])
    assert line.startswith(f"  latent 0, alpha {norm / 2:.4g}"[:20])
    assert " (0.5), perplexity " in line


def test_dose_0_is_the_unsteered_model(origin):
    assert told(origin, alphas=[0.0]) == told(origin, latents=[3], alphas=[0.0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"latents": [0, 99999]}, "latent 99999 does not exist"), ({"prompts": [PROMPT, " "]}, "a prompt is empty")],
    ids=["latent", "prompt"],
)
def test_what_the_user_can_mend_is_one_line(origin, wrong, message):
    with pytest.raises(UserError, match=message) as caught:
        told(origin, **wrong)
    assert "\n" not in str(caught.value)


def test_without_an_sae_the_stage_to_run_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="dvc repro train_sae"):
        read_origin(tmp_path)
