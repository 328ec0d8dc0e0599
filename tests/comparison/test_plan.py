"""Plans: what they expand to, and what is refused in one line."""

import pytest
import yaml
from comparison_samples import plan
from omegaconf import OmegaConf
from samples import ROOT

from fast_sae.comparison.plan import Run, read_plan, runs
from fast_sae.errors import ParamsError

PAPER = ROOT / "experiments/fast_vs_block.yaml"
SMALL = {
    "about": "Small.",
    "common": {"sae.K": 4, "train.epochs": 1},
    "models": {"tiny": {"about": "It.", "overrides": {"model.dtype": "float32"}, "control_of": None}},
    "packings": {"FAST": {}, "block": {"train.lr": 0.002}},
    "architectures": {"topk": {"sae.architecture": "topk"}, "sparser": {"sae.K": 2}},
    "seeds": [1, 2],
}


def read(tmp_path, name="mine.yaml", **changes):
    path = tmp_path / name
    path.write_text(yaml.safe_dump(SMALL | changes, sort_keys=False))
    return read_plan(path, ROOT / "params.yaml")


def test_the_paper_s_plan_is_2_models_2_architectures_2_packings_and_3_seeds():
    planned = runs(read_plan(PAPER, ROOT / "params.yaml"), "fast_vs_block")
    assert len(planned) == 24
    assert len({run.name for run in planned}) == 24
    assert len({run.extraction for run in planned}) == 4
    assert {run.overrides["train.seed"] for run in planned} == {1, 2, 3}


def test_what_is_more_special_overrides(tmp_path):
    made = runs(read(tmp_path), "mine")
    assert len(made) == 8
    assert [run.overrides["sae.K"] for run in made if run.seed == 1] == [4, 4, 2, 2]
    assert [run.packing for run in made if run.seed == 1] == ["FAST", "block"] * 2
    assert made[-1].overrides == {
        "sae.K": 2,
        "train.epochs": 1,
        "model.dtype": "float32",
        "train.lr": 0.002,
        "train.seed": 2,
    }


def test_other_overrides_make_another_experiment_and_equal_ones_the_same(tmp_path):
    names = {run.name for run in runs(read(tmp_path), "mine")}
    assert {run.name for run in runs(read(tmp_path, about="Another text."), "mine")} == names
    assert not names & {run.name for run in runs(read(tmp_path, common={"sae.K": 4}), "mine")}


def test_a_packing_is_another_extraction_and_a_seed_is_not():
    a, b, c = (Run("p", "m", "f", "topk", 1, o) for o in ({"sae.K": 1}, {"sae.K": 2}, {"extract.max_length": 9}))
    assert a.extraction == b.extraction != c.extraction


@pytest.mark.parametrize(
    "value", ["models/a b", 'say "x"', "12345e6", "null", "a,b", "ünï", "C:\\x", "a\\", 8, 1e-05, True, None, [1, 2]]
)
def test_a_value_reaches_params_as_it_is(value):
    """Read by the parser that DVC uses."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    _, flag = Run("p", "m", "f", "topk", 1, {"a.b": value}).flags()
    assert OmegaConf.create({"x": OverridesParser.create().parse_override(flag).value()}).x == value


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"common": {"train.epoch": 1}}, "train.epoch is not in {params}; did you mean train.epochs?"),
        ({"common": {"sae.K": {"a": 1}}}, "plan.common.sae.K"),
        ({"packings": {"FAST": {}}}, "plan.packings"),
        ({"seeds": [1, 1]}, "plan: seeds must differ, found [1, 1]"),
        ({"seeds": ["one"]}, "plan.seeds.0 must be a whole number, found 'one'"),
        ({"architectures": {"a b": {}}}, "plan: names are of letters, digits, - and _, found 'a b'"),
        ({"model": {}}, "plan.model is not a parameter; did you mean 'models'?"),
        (
            {"models": {"tiny": SMALL["models"]["tiny"] | {"control_of": "big"}}},
            "plan: models.tiny.control_of must name another model, found 'big'",
        ),
    ],
    ids=str,
)
def test_what_does_not_hold_is_refused_in_one_line(tmp_path, changes, told):
    with pytest.raises(ParamsError) as caught:
        read(tmp_path, **changes)
    assert str(caught.value).startswith(f"{tmp_path / 'mine.yaml'}: {told.format(params=ROOT / 'params.yaml')}")
    assert "\n" not in str(caught.value)


def test_no_plan_no_yaml_and_a_name_git_cannot_take(tmp_path):
    with pytest.raises(ParamsError, match="none.yaml does not exist; a plan is written as"):
        read_plan(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ParamsError, match="bad.yaml: is not YAML"):
        read_plan(tmp_path / "bad.yaml")
    with pytest.raises(ParamsError, match="the name of a plan is of letters"):
        read(tmp_path, name="my plan.yaml")


def test_the_samples_are_a_plan():
    assert len(runs(plan(), "made")) == 6
