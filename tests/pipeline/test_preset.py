"""Presets: the files themselves, and how one is written into params.yaml."""

import shutil
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import modify_yaml
from samples import ROOT, model_config

from fast_sae.errors import ModelError, ParamsError
from fast_sae.params import load_params
from fast_sae.pipeline import preset
from fast_sae.pipeline.preset import list_presets, read_preset
from fast_sae.pipeline.values import Change, write_values
from fast_sae.preflight import parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BLOCKS = {  # num_hidden_layers in each model's config.json
    "llama-3.1-8b": 32,
    "llama-3.2-1b": 16,
    "llama-3.2-3b": 28,
    "qwen2.5-0.5b": 24,
    "qwen2.5-1.5b": 28,
    "qwen2.5-3b": 36,
    "qwen2.5-7b": 28,
}
RECIPES = ("fast-jumprelu", "fast-standard", "hypothesaes")
PAPER = {  # FAST's layers; SAELens' blocks.L.hook_resid_post is hidden_states[L + 1]
    "llama-3.2-1b": (4, 9, 14),
    "llama-3.2-3b": (4, 12, 20),
    "qwen2.5-0.5b": (4, 12, 20),
    "qwen2.5-1.5b": (4, 14, 24),
    "qwen2.5-3b": (4, 18, 32),
    "qwen2.5-7b": (4, 12, 18, 20, 25),
}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with params.yaml, the embedded model and no presets."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(
        ROOT / "models/tiny-instruct",
        tmp_path / "models/tiny-instruct",
        ignore=shutil.ignore_patterns("recipe", "README.md"),
    )
    (tmp_path / "presets").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preset, "find_commit", lambda model: COMMIT)
    return tmp_path


def apply_preset(name: str, *places: Path) -> list[Change]:
    found = read_preset(name, *places)
    found.keep()
    return found.changes


def write_preset(here: Path, text: str, name: str = "mine") -> str:
    (here / "presets" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return name


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def comments(path: Path) -> list[str]:
    return [line for line in lines(path) if line.lstrip().startswith("#")]


def write_back(path: Path) -> None:
    """Rewrite params.yaml as `dvc exp run -S` of an equal value does."""
    with modify_yaml(str(path)) as content:
        content["sae"]["K"] = content["sae"]["K"]


def test_the_presets_are_those_of_the_table():
    assert list_presets(ROOT / "presets") == sorted([*BLOCKS, *RECIPES])


@pytest.mark.parametrize("name", BLOCKS)
def test_a_preset_of_the_repository_holds_and_names_layers_that_exist(here, name):
    shutil.copytree(ROOT / "presets", here / "presets", dirs_exist_ok=True)
    apply_preset(name)
    parsed = parse(load_params())
    assert min(parsed.extract.layers) > 0
    assert max(parsed.extract.layers) < BLOCKS[name]  # the last one would stand behind the final norm
    assert parsed.sae.layer in parsed.extract.layers
    assert (parsed.model.revision, parsed.model.dtype, parsed.train.dtype) == (COMMIT, "bfloat16", "float32")
    assert parsed.data.path == yaml.safe_load((ROOT / "params.yaml").read_text())["data"]["path"]
    before = lines(here / "params.yaml")
    write_back(here / "params.yaml")
    assert lines(here / "params.yaml") == before


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_layers_are_read_as_saelens_counts(name):
    layers = yaml.safe_load((ROOT / f"presets/{name}.yaml").read_text())["extract"]["layers"]
    assert layers == [layer + 1 for layer in PAPER[name]]


def test_the_users_own_set_up_is_that_of_the_original():
    mine = yaml.safe_load((ROOT / "presets/llama-3.1-8b.yaml").read_text())
    assert mine["model"]["name"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert (mine["extract"]["layers"], mine["extract"]["max_length"], mine["sae"]["layer"]) == ([12], 512, 12)
    assert (mine["sae"]["M"], mine["sae"]["K"], mine["sae"]["matryoshka"]) == (256, 8, [64, 256])


def test_presets_set_the_same_keys_so_that_one_may_follow_another(here):
    shutil.copytree(ROOT / "presets", here / "presets", dirs_exist_ok=True)
    apply_preset("qwen2.5-7b")
    once = (here / "params.yaml").read_bytes()
    for name in BLOCKS:
        apply_preset(name)
    apply_preset("qwen2.5-7b")
    assert (here / "params.yaml").read_bytes() == once
    assert apply_preset("qwen2.5-7b") == []


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_follows_any_model_and_leaves_model_data_and_layer(here, name):
    shutil.copytree(ROOT / "presets", here / "presets", dirs_exist_ok=True)
    before, had = load_params(), comments(here / "params.yaml")
    apply_preset(name)
    after = load_params()
    parse(after)
    assert comments(here / "params.yaml") == had
    assert {section for section in before if before[section] != after[section]} <= {"sae", "train"}
    assert after["sae"]["layer"] == before["sae"]["layer"]
    assert after["train"]["kinds"] == before["train"]["kinds"]
    assert after["sae"]["architecture"] == name.removeprefix("fast-").replace("hypothesaes", "topk")


def test_recipes_set_the_same_keys_so_that_one_takes_another_back():
    keys = [yaml.safe_load((ROOT / f"presets/{name}.yaml").read_text()) for name in RECIPES]
    for section in ("sae", "train"):
        of_all = [set(preset[section]) - {"standard", "jumprelu", "aux_coef"} for preset in keys]
        assert of_all[0] == of_all[1] == of_all[2]


def test_an_m_of_so_many_widths_becomes_a_number(here):
    changes = apply_preset(write_preset(here, "sae:\n  M: 8x\n  matryoshka:\n"))
    assert Change("sae", "M", 512, 768) in changes  # the embedded model is 96 wide
    assert apply_preset("mine") == []


@pytest.mark.parametrize("value", ["0x8", "x8", "-8x", "8 x", "8.5x"])
def test_any_other_word_for_m_is_refused(here, value):
    with pytest.raises(ParamsError, match=r"sae.M must be a whole number"):
        read_preset(write_preset(here, f"sae:\n  M: '{value}'\n"))


def test_one_value_of_an_architecture_leaves_the_others_and_their_comments(here):
    before = lines(here / "params.yaml")
    changes = apply_preset(write_preset(here, "sae:\n  jumprelu:\n    bandwidth: 0.5\n"))
    assert changes == [Change("sae.jumprelu", "bandwidth", 0.05, 0.5)]
    differ = [(a, b) for a, b in zip(before, lines(here / "params.yaml"), strict=True) if a != b]
    assert differ == [("    bandwidth: 0.05", "    bandwidth: 0.5")]


def test_a_mapping_of_free_keys_is_replaced_whole(here):
    params = here / "params.yaml"
    params.write_text(params.read_text().replace("template_kwargs: {}", "template_kwargs:\n    a: 1\n    b: 2"))
    changes = apply_preset(write_preset(here, "extract:\n  template_kwargs:\n    a: 1\n    c: 3\n"))
    assert changes == [Change("extract", "template_kwargs", {"a": 1, "b": 2}, {"a": 1, "c": 3})]


def test_an_unknown_value_of_an_architecture_is_refused(here):
    with pytest.raises(ParamsError, match=r"sae.jumprelu.bandwith is not in params.yaml; did you mean 'bandwidth'"):
        read_preset(write_preset(here, "sae:\n  jumprelu:\n    bandwith: 0.5\n"))


def test_comments_and_order_stay_and_what_is_not_named_stays(here):
    name = write_preset(here, "sae:\n  M: 64\n  K: 4\n  matryoshka:\ntrain:\n  lr: 5e-5\nextract:\n  layers: [1, 5]\n")
    before, had = load_params(), comments(here / "params.yaml")
    changes = apply_preset(name)
    after = load_params()
    assert comments(here / "params.yaml") == had
    assert [list(section) for section in after.values()] == [list(section) for section in before.values()]
    assert {change.line() for change in changes} == {
        "sae.M: 512 → 64",
        "sae.K: 8 → 4",
        "sae.matryoshka: [128, 512] → null",
        "train.lr: 0.001 → 5e-05",
        "extract.layers: [5] → [1, 5]",
    }
    for change in changes:
        before[change.section][change.key] = change.new
    assert after == before


def test_a_change_and_its_opposite_give_the_same_bytes(here):
    original = (here / "params.yaml").read_bytes()
    there = write_preset(
        here, "sae: {matryoshka: }\ndata: {max_examples: 3}\nextract: {template_kwargs: {a: b}}\n", "a"
    )
    back = write_preset(
        here, "sae: {matryoshka: [128, 512]}\ndata: {max_examples: 2500}\nextract: {template_kwargs: {}}\n", "b"
    )
    apply_preset(there)
    assert (here / "params.yaml").read_bytes() != original
    apply_preset(back)
    assert (here / "params.yaml").read_bytes() == original


@pytest.mark.parametrize(
    ("text", "change", "expected"),
    [
        ("a:\n  b: 1  # one\n", Change("a", "b", 1, 2), "a:\n  b: 2  # one\n"),
        ("a:\n  b:  # none\n  c: 1\n", Change("a", "b", None, 2), "a:\n  b: 2  # none\n  c: 1\n"),
        ("a:\n  b: [1,\n    2]  # two\n  c: 1\n", Change("a", "b", [1, 2], 3), "a:\n  b: 3  # two\n  c: 1\n"),
        ("a:\n  b:\n  - 1\n  # of c\n  c: 1\n", Change("a", "b", [1], 3), "a:\n  b: 3\n  # of c\n  c: 1\n"),
        ("a:\n  b:\n    - 1\n", Change("a", "b", [1], [2, 3]), "a:\n  b:\n  - 2\n  - 3\n"),
        ("a:\n  b: 1", Change("a", "b", 1, []), "a:\n  b: []"),
        ("a:\n  b: x\n", Change("a", "b", "x", "2024-07-26"), "a:\n  b: '2024-07-26'\n"),
        ("a: {b: 1, c: 2}\n", Change("a", "b", 1, 2), "a: {b: 2, c: 2}\n"),
        ('a:\n  "b": 1\n', Change("a", "b", 1, None), 'a:\n  "b":\n'),
    ],
    ids=str,
)
def test_a_value_is_put_into_the_text(text, change, expected):
    assert write_values(text, [change]) == expected


HOSTILE = {
    "unknown section": ("sea:\n  K: 4\n", "'sea' is not a section"),
    "unknown key": ("sae:\n  KK: 4\n", "sae.KK is not in params.yaml; did you mean 'K'?"),
    "key of no text": ("sae:\n  1: 4\n", "sae.1 is not in params.yaml"),
    "section is a number": ("sae: 5\n", "sae must be a mapping"),
    "section is empty": ("sae:\n", "sae must be a mapping"),
    "wrong type": ("sae:\n  K: eight\n", "sae.K must be a whole number, found 'eight'"),
    "broken rule": ("sae:\n  K: 513\n", "sae.K must not exceed sae.M=512"),
    "rule between sections": ("sae:\n  layer: 1\n", "sae.layer is 1, but extract.layers is [5]"),
    "layer beyond the model": ("sae:\n  layer: 9\nextract:\n  layers: [9]\n", "layer 9 does not exist"),
    "model nowhere": ("model:\n  name: nowhere\n", "model.files is 'models/tiny-instruct'"),
    "revision of a local model": ("model:\n  revision: main\n", "model.revision must be null"),
    "nothing": ("", "holds no sections"),
    "a list": ("- sae\n", "holds no sections"),
    "no YAML": ("sae: [1, 2\n", "is not YAML"),
    "a python tag": ("sae: !!python/object/apply:os.getcwd []\n", "is not YAML"),
    "first good, then bad": ("data:\n  seed: 7\nsae:\n  K: 0\n", "sae.K must be greater than 0"),
}


@pytest.mark.parametrize(("text", "told"), HOSTILE.values(), ids=HOSTILE)
def test_a_preset_that_does_not_hold_is_refused_in_one_line_and_writes_nothing(here, text, told):
    before = (here / "params.yaml").read_bytes()
    with pytest.raises(ParamsError) as caught:
        apply_preset(write_preset(here, text))
    assert told in str(caught.value)
    assert "presets/mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (here / "params.yaml").read_bytes() == before
    assert sorted(path.name for path in here.iterdir()) == ["models", "params.yaml", "presets"]


@pytest.mark.parametrize("name", ["qwen", "../params", "", "llama-3.1-8B", "default"])
def test_an_unknown_name_lists_the_presets(name):
    with pytest.raises(ParamsError) as caught:
        apply_preset(name, ROOT / "presets", ROOT / "params.yaml")
    assert all(known in str(caught.value) for known in BLOCKS)
    assert "params.yaml.before" in str(caught.value)


def test_a_branch_that_cannot_be_resolved_leaves_params_alone(here, monkeypatch):
    def unreachable(model):
        raise ModelError("the hub cannot be reached")

    monkeypatch.setattr(preset, "find_commit", unreachable)
    before = (here / "params.yaml").read_bytes()
    with pytest.raises(ModelError, match=r"mine.yaml: the hub cannot be reached; params.yaml is as it was"):
        apply_preset(
            write_preset(here, "model:\n  name: a/b\n  files: models/HUB_MODEL\n  revision: main\nsae:\n  K: 4\n")
        )
    assert (here / "params.yaml").read_bytes() == before


def test_a_commit_is_taken_as_it_is(here, monkeypatch):
    monkeypatch.setattr(preset, "find_commit", None)  # not called
    other = COMMIT[::-1]
    apply_preset(write_preset(here, f"model:\n  name: a/b\n  files: models/HUB_MODEL\n  revision: {other}\n"))
    assert load_params()["model"]["revision"] == other


def test_another_local_model_is_held_against_its_own_config(here):
    folder = model_config(here / "models/other", n_blocks=2)
    shutil.copy(here / "models/tiny-instruct/tokenizer.json", folder)
    shutil.copy(here / "models/tiny-instruct/model.safetensors", folder)
    text = f"model:\n  name: {folder}\n  files: {folder}\nextract:\n  layers: [3]\nsae:\n  layer: 3\n"
    with pytest.raises(ParamsError, match="hidden_states 0 to 2"):
        apply_preset(write_preset(here, text))


def test_params_yaml_that_cannot_be_edited_is_left_alone(here):
    text = (here / "params.yaml").read_text()
    (here / "params.yaml").write_text(
        text.replace("  seed: 42\n", "  seed: &s 42\n", 1).replace("seed: 42", "seed: *s")
    )
    before = (here / "params.yaml").read_bytes()
    with pytest.raises(ParamsError):
        apply_preset(write_preset(here, "data:\n  seed: 7\n"))
    assert (here / "params.yaml").read_bytes() == before
