import errno
import json
import math
import os
import re
from pathlib import Path

import pytest
from samples import ABSENT, ROOT, model_config, params, runtime

from fast_sae.errors import ModelError, ParamsError, run
from fast_sae.params import Settings, load_params, parse_section
from fast_sae.preflight import SECTIONS, check


class Toy(Settings):
    K: int
    lr: float
    sizes: tuple[int, ...] | None


def loaded(tmp_path: Path, text: str) -> dict:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return load_params(path)


SCALARS = {
    "5e-05": 5e-05,
    "1e-3": 1e-3,
    "-1E+3": -1000.0,
    "0.0005": 0.0005,
    ".5": 0.5,
    "3.": 3.0,
    "8": 8,
    "-1": -1,
    "0x1F": 31,
    "0o17": 15,
    "010": 10,
    "1:30": "1:30",
    "true": True,
    "false": False,
    "True": True,
    "FALSE": False,
    "on": "on",
    "off": "off",
    "yes": "yes",
    "no": "no",
    "2024-07-26": "2024-07-26",
    "2024-07-26 12:00:00": "2024-07-26 12:00:00",
    "null": None,
    "~": None,
    "": None,
    "e5": "e5",
    "1e": "1e",
    "1.2.3": "1.2.3",
    "'8'": "8",
    "models/tiny-instruct": "models/tiny-instruct",
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items(), ids=[text or "empty" for text in SCALARS])
def test_a_scalar_means_what_yaml_1_2_and_so_dvc_make_of_it(tmp_path, text, value):
    found = loaded(tmp_path, f"toy:\n  x: {text}\n")["toy"]["x"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("text", "value"), [(".inf", math.inf), ("-.inf", -math.inf)])
def test_infinity_is_a_number(tmp_path, text, value):
    assert loaded(tmp_path, f"x: {text}")["x"] == value


@pytest.mark.parametrize(
    "text",
    ["", "just words", "- a\n- list", "a: [1, 2", "a: b: c", "\tx: 1", "a: !!python/object/apply:os.getcwd []"],
    ids=["empty", "words", "list", "open bracket", "two colons", "tab", "python tag"],
)
def test_a_file_that_holds_no_sections_is_refused_in_one_line(tmp_path, text):
    with pytest.raises(ParamsError) as caught:
        loaded(tmp_path, text)
    assert "params.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(ParamsError, match="root of the repository"):
        load_params(tmp_path / "params.yaml")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ParamsError, match="not YAML"):
        load_params(tmp_path / "params.yaml")


def test_a_section_parses_into_its_class_and_a_list_fills_a_tuple():
    toy = parse_section({"toy": {"K": 8, "lr": 1, "sizes": [2, 4]}}, "toy", Toy)
    assert (toy.K, toy.lr, toy.sizes) == (8, 1.0, (2, 4))


def test_a_section_cannot_be_changed_once_parsed():
    toy = parse_section({"toy": {"K": 8, "lr": 1.0, "sizes": None}}, "toy", Toy)
    with pytest.raises(ValueError, match="frozen"):
        toy.K = 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"K": "8"}, "params.yaml: toy.K must be a whole number, found '8'"),
        ({"K": 8.5}, "params.yaml: toy.K must be a whole number, found 8.5"),
        ({"K": True}, "params.yaml: toy.K must be a whole number, found True"),
        ({"K": None}, "params.yaml: toy.K must be a whole number, found None"),
        ({"lr": "0.1"}, "params.yaml: toy.lr must be a number, found '0.1'"),
        ({"sizes": 3}, "params.yaml: toy.sizes must be a list, found 3"),
        ({"sizes": [1, "two"]}, "params.yaml: toy.sizes.1 must be a whole number, found 'two'"),
        ({"k": 8}, "params.yaml: toy.k is not a parameter; did you mean 'K'?"),
        ({"size": None}, "params.yaml: toy.size is not a parameter; did you mean 'sizes'?"),
        ({"zebra": 1}, "params.yaml: toy.zebra is not a parameter"),
    ],
    ids=str,
)
def test_a_wrong_value_is_told_in_one_line(changes, message):
    with pytest.raises(ParamsError) as caught:
        parse_section({"toy": {"K": 8, "lr": 0.1, "sizes": None} | changes}, "toy", Toy)
    assert str(caught.value) == message


def test_a_missing_value_has_no_default():
    with pytest.raises(ParamsError, match=r"^params.yaml: toy.lr is missing$"):
        parse_section({"toy": {"K": 8, "sizes": None}}, "toy", Toy)


def test_several_wrong_values_share_one_line():
    with pytest.raises(ParamsError) as caught:
        parse_section({"toy": {"K": "x", "sizes": None}}, "toy", Toy)
    assert "toy.K" in str(caught.value)
    assert "toy.lr" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_of_the_repository_parses(name):
    assert parse_section(params(), name, SECTIONS[name]).model_fields_set


def test_params_yaml_holds_exactly_the_sections_that_are_checked():
    assert list(params()) == list(SECTIONS)


def test_the_repository_passes_its_own_check(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert check(params())["model"]["blocks"] >= max(params()["extract"]["layers"])


@pytest.fixture
def base(tmp_path):
    """Overrides that make a valid whole, whatever the repository's own model and sizes are."""
    model = model_config(tmp_path / "model", n_blocks=4, d_in=8)
    return {
        "model.name": model,
        "model.files": model,
        "model.revision": None,
        "extract.layers": [1, 4],
        "extract.template": "chat",
        "sae.layer": 4,
        "sae.architecture": "topk",
        "sae.M": 64,
        "sae.K": 8,
        "sae.matryoshka": [16, 64],
        "sae.aux_k": None,
        "sae.multi_k": None,
        "runtime.device": "cpu",
    }


def test_a_valid_whole_passes_with_the_facts_of_the_model(base):
    checked = check(params(**base))
    assert checked == {"model": {"blocks": 4, "d_in": 8}}


@pytest.mark.parametrize(
    "changes",
    [
        {"sae.K": 64},
        {"sae.matryoshka": None},
        {"sae.aux_k": 0},
        {"sae.multi_k": 64},
        {"sae.layer": 1},
        {"extract.layers": [0, 4]},
        {"train.lr": 1},
        {"data.max_examples": 1},
        {"sae.batchtopk": ABSENT},
        {"sae.architecture": "batchtopk"},
    ],
    ids=str,
)
def test_a_value_at_its_limit_passes(base, changes):
    check(params(**(base | changes)))


LIVE = {"train.source": "live", "extract.store": ["validation", "test"]}
WRONG = {  # changes, and what the message must name
    "unknown key": ({"sae.KK": 8}, "sae.KK"),
    "unknown key of runtime": ({"runtime.devise": "cpu"}, "runtime.devise"),
    "unknown key of an architecture": ({"sae.topk": {"kk": 1}}, "sae.topk.kk"),
    "a key that is only the code's": ({"sae.options": {"kk": 1}}, "sae.options"),
    "architecture's section is a number": ({"sae.topk": 5}, "sae.topk"),
    "unknown section": ({"tarin": {"lr": 1}}, "tarin"),
    "missing section": ({"train": ABSENT}, "train"),
    "section without keys": ({"train": None}, "train"),
    "missing key": ({"sae.K": ABSENT}, "sae.K"),
    "missing key that may be null": ({"sae.multi_k": ABSENT}, "sae.multi_k"),
    "K above M": ({"sae.K": 65}, "sae.K"),
    "aux_k above M": ({"sae.aux_k": 65}, "sae.aux_k"),
    "multi_k above M": ({"sae.multi_k": 65}, "sae.multi_k"),
    "M is 0": ({"sae.M": 0}, "sae.M"),
    "K is 0": ({"sae.K": 0}, "sae.K"),
    "K is negative": ({"sae.K": -8}, "sae.K"),
    "K is a word": ({"sae.K": "eight"}, "sae.K"),
    "K is a fraction": ({"sae.K": 2.5}, "sae.K"),
    "K is true": ({"sae.K": True}, "sae.K"),
    "K is null": ({"sae.K": None}, "sae.K"),
    "K is a list": ({"sae.K": [4, 8]}, "sae.K"),
    "lr is negative": ({"train.lr": -0.0005}, "train.lr"),
    "lr is 0": ({"train.lr": 0}, "train.lr"),
    "lr is infinite": ({"train.lr": math.inf}, "train.lr"),
    "lr is not a number": ({"train.lr": math.nan}, "train.lr"),
    "lr is text": ({"train.lr": "5e-05"}, "train.lr"),
    "too few bits": ({"train.gradient_bits": 3}, "train.gradient_bits"),
    "clip is infinite": ({"train.clip": math.inf}, "train.clip"),
    "aux_coef is infinite": ({"sae.aux_coef": math.inf}, "sae.aux_coef"),
    "multi_coef is not a number": ({"sae.multi_coef": math.nan}, "sae.multi_coef"),
    "aux_coef is negative": ({"sae.aux_coef": -0.1}, "sae.aux_coef"),
    "prefixes fall": ({"sae.matryoshka": [64, 16]}, "sae.matryoshka"),
    "prefixes repeat": ({"sae.matryoshka": [16, 16, 64]}, "sae.matryoshka"),
    "prefixes end below M": ({"sae.matryoshka": [8, 16]}, "sae.matryoshka"),
    "prefixes end above M": ({"sae.matryoshka": [16, 128]}, "sae.matryoshka"),
    "prefixes hold 0": ({"sae.matryoshka": [0, 64]}, "sae.matryoshka"),
    "prefixes are none": ({"sae.matryoshka": []}, "sae.matryoshka"),
    "prefixes are no list": ({"sae.matryoshka": 64}, "sae.matryoshka"),
    "layers fall": ({"extract.layers": [4, 1]}, "layers"),
    "layers repeat": ({"extract.layers": [4, 4]}, "layers"),
    "layers are empty": ({"extract.layers": []}, "layers"),
    "layers are no list": ({"extract.layers": 4}, "extract.layers"),
    "layer is negative": ({"extract.layers": [-1, 4]}, "extract.layers"),
    "layer beyond the model": ({"extract.layers": [4, 5]}, "extract.layers"),
    "sae.layer not extracted": ({"sae.layer": 2}, "sae.layer"),
    "sae.layer negative": ({"sae.layer": -1}, "sae.layer"),
    "unknown architecture": ({"sae.architecture": "top_k"}, "sae.architecture"),
    "architecture named as a key": ({"sae.architecture": "M"}, "sae.architecture"),
    "architecture outside its folder": ({"sae.architecture": "../base"}, "sae.architecture"),
    "unknown kind": ({"train.kinds": ["content", "contents"]}, "train.kinds"),
    "no kinds": ({"train.kinds": []}, "train.kinds"),
    "kinds are no list": ({"train.kinds": "content"}, "train.kinds"),
    "batch of none": ({"train.batch_size": 0}, "train.batch_size"),
    "epochs are 0": ({"train.epochs": 0}, "train.epochs"),
    "patience is negative": ({"train.patience": -1}, "train.patience"),
    "seed is negative": ({"train.seed": -1}, "train.seed"),
    "unknown training type": ({"train.dtype": "float16"}, "train.dtype"),
    "unknown type of the encoder": ({"train.encode_in": "float16"}, "train.encode_in"),
    "an encoder of few bits where all latents are needed": (
        {"train.encode_in": "bfloat16", "sae.architecture": "batchtopk"},
        "train.encode_in: bfloat16 needs an architecture that keeps the K largest",
    ),
    "day without zeros": ({"extract.template_date": "2024-7-26"}, "template_date"),
    "day that does not exist": ({"extract.template_date": "2024-02-30"}, "template_date"),
    "day as a number": ({"extract.template_date": 20240726}, "template_date"),
    "day as a week": ({"extract.template_date": "2024-W30-5"}, "template_date"),
    "unknown template": ({"extract.template": "chats"}, "extract.template"),
    "template takes a list": ({"extract.template_kwargs": {"tools": [1]}}, "extract.template_kwargs"),
    "bare texts without a text field": ({"extract.template": "none", "data.text_field": None}, "data.text_field"),
    "unknown stored type": ({"extract.dtype": "bfloat16"}, "extract.dtype"),
    "shards of no rows": ({"extract.shard_rows": 0}, "extract.shard_rows"),
    "length 0": ({"extract.max_length": 0}, "extract.max_length"),
    "unknown packing": ({"extract.packing": "fat"}, "extract.packing"),
    "blocks of no token": ({"extract.block_size": 0}, "extract.block_size"),
    "unknown split": ({"extract.store": ["train", "valid"]}, "extract.store"),
    "unknown source": ({"train.source": "disk"}, "train.source"),
    "a buffer of nothing": ({"train.buffer_tokens": 0}, "train.buffer_tokens"),
    "unknown layout of rows": ({"runtime.extract_rows": "ragged"}, "runtime.extract_rows"),
    "stored, but train is not": (
        {"extract.store": ["validation", "test"]},
        "train.source is stored, but extract.store",
    ),
    "stored, but validation is not": (
        {"extract.store": ["train", "test"]},
        "lacks validation; add it, or set train.so",
    ),
    "stored, but test is not": ({"extract.store": ["train", "validation"]}, "or set evaluate.source: live"),
    "live, but train is stored": ({"train.source": "live"}, "extract.store names train; take it out"),
    "live, but all held-out splits are stored": ({"evaluate.source": "live"}, "set evaluate.source: stored"),
    "live, and less than two batches to mix": (
        LIVE | {"train.batch_size": 64, "train.buffer_tokens": 127},
        "mixing takes at least two batches, 128",
    ),
    "fractions sum to 1": ({"data.validation_fraction": 0.5, "data.test_fraction": 0.5}, "test_fraction"),
    "fraction is 0": ({"data.test_fraction": 0}, "data.test_fraction"),
    "fraction is 1": ({"data.validation_fraction": 1}, "data.validation_fraction"),
    "no examples": ({"data.max_examples": 0}, "data.max_examples"),
    "path is null": ({"data.path": None}, "data.path"),
    "unknown on_bad_line": ({"data.on_bad_line": "ignore"}, "data.on_bad_line"),
    "n-grams of negative length": ({"data.dedup_ngram": -20}, "data.dedup_ngram"),
    "model.files elsewhere": ({"model.files": "models/other"}, "model.files"),
    "revision of a local model": ({"model.revision": "main"}, "model.revision"),
    "model type left open": ({"model.dtype": "auto"}, "model.dtype"),
    "nothing to fall from": (
        {"train.schedule": "cosine", "train.lr_end": 0.0, "train.lr_decay_steps": 3},
        "train.lr_end",
    ),
    "an end without a course": ({"train.lr_end": 0.0001}, "train.lr_end"),
    "a course without an end": ({"train.schedule": "linear"}, "train.lr_end"),
    "an end above the start": ({"train.schedule": "linear", "train.lr_end": 9.0}, "train.lr_end"),
    "unknown loss": ({"train.loss": "mae"}, "train.loss"),
    "unknown scaling": ({"train.normalise_input": "layer_norm"}, "train.normalise_input"),
    "unknown start": ({"train.init_b_dec": "mode"}, "train.init_b_dec"),
    "unknown pooling": ({"evaluate.label_pooling": "median"}, "evaluate.label_pooling"),
    "no label examples": ({"evaluate.label_examples": 0}, "evaluate.label_examples"),
    "no resamples": ({"evaluate.bootstrap_resamples": 0}, "evaluate.bootstrap_resamples"),
    "full confidence": ({"evaluate.confidence": 1}, "evaluate.confidence"),
    "no confidence": ({"evaluate.confidence": 0}, "evaluate.confidence"),
    "negative seed of evaluation": ({"evaluate.seed": -1}, "evaluate.seed"),
    "no examples in the model": ({"in_model.examples": 0}, "in_model.examples"),
    "a floor below 0": ({"in_model.ce_floor": -0.1}, "in_model.ce_floor"),
    "no resamples in the model": ({"in_model.bootstrap_resamples": 0}, "in_model.bootstrap_resamples"),
    "full confidence in the model": ({"in_model.confidence": 1}, "in_model.confidence"),
    "no confidence in the model": ({"in_model.confidence": 0}, "in_model.confidence"),
    "enabled by a word": ({"in_model.enabled": "yes"}, "in_model.enabled"),
    "no dose": ({"steer.alphas": [], "steer.norm_alphas": []}, "a dose is needed"),
    "a dose of 0": ({"steer.alphas": [0.0]}, "steer.alphas"),
    "no prompts": ({"steer.prompts": []}, "steer.prompts"),
    "an empty prompt": ({"steer.prompts": [" "]}, "steer.prompts"),
    "a prompt that chooses and scores": (
        {"steer.prompts": ["a"], "steer.choosing_prompts": ["a"]},
        "what chooses must not score",
    ),
    "more labels than are tried": ({"steer.label_latents": 4, "steer.candidate_labels": 3}, "steer.label_latents"),
    "an unknown kind of special token": ({"steer.special_kinds": ["header"]}, "steer.special_kinds"),
    "no control": ({"steer.random_controls": 0}, "steer.random_controls"),
    "no tokens at once": ({"runtime.lm_batch_tokens": 0}, "runtime.lm_batch_tokens"),
    "hypotheses without labels": ({"data.label_field": None}, "set hypotheses.enabled: false"),
    "latents by label without labels": (
        {"data.label_field": None, "hypotheses.enabled": False, "interpret.latents": "label"},
        "interpret.latents is label, but data.label_field is null",
    ),
    "latents by label, and none lists one": (
        {"interpret.latents": "label", "features.listed_labels": 0},
        "features.listed_labels is 0",
    ),
    "a listed latent that does not exist": (
        {"interpret.latents": "listed", "interpret.listed": [3, 512]},
        "interpret.listed names latent 512, but sae.M is",
    ),
    "a latent to steer by that does not exist": ({"steer.listed": [512]}, "steer.listed names latent 512"),
    "labels of a number": (
        {"hypotheses.target": "number", "hypotheses.labels": ["comparing"]},
        "hypotheses.labels is not read under target: number",
    ),
    "unknown way to choose latents": ({"hypotheses.select_by": "ridge"}, "hypotheses.select_by"),
    "unknown correction": ({"hypotheses.correction": "none"}, "hypotheses.correction"),
    "a label that is no text": ({"hypotheses.labels": [1]}, "hypotheses.labels"),
    "all texts are strong": ({"hypotheses.strong_share": 1.0}, "hypotheses.strong_share"),
    "every hypothesis is significant": ({"hypotheses.alpha": 1}, "hypotheses.alpha"),
    "unknown device": ({"runtime.device": "tpu"}, "runtime.device"),
    "no rows at once": ({"runtime.sae_batch_rows": 0}, "runtime.sae_batch_rows"),
    "mps has no float64": ({"runtime.device": "mps"}, "runtime.device"),
}


@pytest.mark.parametrize(
    "changes",
    [
        LIVE,
        LIVE | {"extract.store": [], "evaluate.source": "live"},
        LIVE | {"extract.store": ["validation"], "evaluate.source": "live"},
        {"extract.store": ["train", "validation"], "evaluate.source": "live"},
        LIVE | {"train.batch_size": 64, "train.buffer_tokens": 128},
    ],
    ids=str,
)
def test_what_is_not_stored_may_be_live(base, changes):
    check(params(**(base | changes)))


@pytest.mark.parametrize("key", ["n_positions", "max_position_embeddings"])
def test_no_block_is_longer_than_the_model_reads(base, key):
    config = {"num_hidden_layers": 4, "hidden_size": 8, key: 100}
    (Path(base["model.name"]) / "config.json").write_text(json.dumps(config), encoding="utf-8")
    base |= {"extract.max_length": 50, "extract.block_size": 101}
    check(params(**base))
    with pytest.raises(ParamsError, match="extract.block_size is 101, but .* reads 100 tokens"):
        check(params(**(base | {"extract.packing": "block"})))
    check(params(**(base | {"extract.packing": "block", "extract.block_size": 100})))


@pytest.mark.parametrize(("changes", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_parameter_is_refused_in_one_line_that_names_it(base, changes, named):
    with pytest.raises(ParamsError) as caught:
        check(params(**(base | changes)))
    assert named in str(caught.value)
    assert str(caught.value).startswith("params.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_near_miss_is_guessed(base):
    with pytest.raises(ParamsError, match="did you mean 'batch_size'"):
        check(params(**(base | {"train.batchsize": 8, "train.batch_size": ABSENT})))


@pytest.mark.parametrize(
    "config",
    ["", "{", "[]", "{}", '{"num_hidden_layers": "four", "hidden_size": 8}', '{"num_hidden_layers": 4}'],
    ids=str,
)
def test_a_model_config_that_says_nothing_is_refused_in_one_line(base, config):
    (Path(base["model.name"]) / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        check(params(**base))
    assert "config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_there_is_refused_with_what_to_set(base, tmp_path):
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"nowhere.*model\.name"):
        check(params(**(base | {"model.name": nowhere, "model.files": nowhere})))


def test_a_model_with_its_language_part_inside_is_read(base):
    config = {"vision_config": {}, "text_config": {"num_hidden_layers": 6, "hidden_size": 3}}
    (Path(base["model.name"]) / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert check(params(**base)) == {"model": {"blocks": 6, "d_in": 3}}


HEADS = {
    "BertModel": False,
    "BertForMaskedLM": False,
    "LlamaForCausalLM": True,
    "GPT2LMHeadModel": True,
    "Gemma3ForConditionalGeneration": True,
}


@pytest.mark.parametrize(("architecture", "has_head"), HEADS.items())
def test_a_model_without_an_lm_head_is_told_before_anything_costly(base, architecture, has_head):
    path = Path(base["model.name"]) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architectures": [architecture]}), encoding="utf-8")
    off = {"in_model.enabled": False, "features.logit_tokens": 0, "steer.enabled": False}
    check(params(**base, **off))
    for key, value in {"in_model.enabled": True, "features.logit_tokens": 1, "steer.enabled": True}.items():
        alone = params(**base, **(off | {key: value}))
        if has_head:
            check(alone)
        else:
            with pytest.raises(ParamsError, match=rf"{architecture}, without an LM head; set {re.escape(key)}: \w+$"):
                check(alone)
    if not has_head:
        with pytest.raises(ParamsError, match=", ".join(f"{key}: {str(value).lower()}" for key, value in off.items())):
            check(params(**base))


def test_a_device_that_this_machine_lacks_is_refused(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = runtime(device="cuda")
    with pytest.raises(ParamsError, match=r"runtime\.device"):
        settings.torch_device()
    assert str(settings.model_copy(update={"device": "auto"}).torch_device()) == "cpu"


def test_a_queued_experiment_of_a_shallow_clone_is_refused(monkeypatch, tmp_path, capsys):
    root = tmp_path / "root"
    (root / ".git").mkdir(parents=True)
    (root / ".dvc" / "tmp").mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.chdir(root / ".dvc" / "tmp")
    ran: list[bool] = []
    run(lambda: ran.append(True))
    (root / ".git" / "shallow").touch()
    with pytest.raises(SystemExit):
        run(lambda: ran.append(True))
    assert "git fetch --unshallow" in capsys.readouterr().err
    monkeypatch.chdir(root)
    run(lambda: ran.append(True))
    assert len(ran) == 2


def test_a_full_disk_is_told_in_one_line(capsys):
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data/activations")

    with pytest.raises(SystemExit):
        run(full)
    assert (
        capsys.readouterr().err == "OSError: data/activations: No space left on device; make room or change its owner\n"
    )
