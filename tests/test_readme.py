"""README.md against the repository: its tree, its numbers, and the files and commands that it names."""

import re
from pathlib import Path

import pytest
from readme import MODEL_CARD, PACKED_CARD, README, describe, insert

ROOT = Path(__file__).parents[1]
TEXT = README.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [README, MODEL_CARD, PACKED_CARD], ids=lambda path: path.parent.name)
def test_trees_and_numbers_are_those_of_this_tree_and_run(path):
    """Mended by: python tools/readme.py."""
    text = path.read_text(encoding="utf-8")
    assert "made by tools/readme.py" in text
    assert insert(text) == text


def test_nothing_is_left_to_fill_in():
    assert "@@" not in TEXT


def test_every_module_has_its_line():
    told = {name for name, _ in describe()}
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("*.py") if path.stat().st_size} <= told


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "CONTRIBUTING.md",
        "docs/api.md",
        "docs/dvc.md",
        "models/tiny-instruct/README.md",
        "models/tiny-instruct-packed/README.md",
    ],
)
def test_every_link_leads_somewhere(document):
    path = ROOT / document
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), link


def test_every_preset_named_is_there_and_every_script_too():
    assert all((ROOT / f"presets/{name}.yaml").exists() for name in re.findall(r"--preset ([\w.-]+)", TEXT))
    assert all((ROOT / name).exists() for name in re.findall(r"\b((?:src|tools)/\w+\.py)\b", TEXT))


def test_every_parameter_named_with_s_exists():
    import yaml

    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, key in re.findall(r"-S '?(\w+)\.(\w+)=", TEXT):
        assert key in params[section], f"{section}.{key}"


def test_every_requirement_earns_its_line():
    """The table says what each package is for."""
    table = TEXT.split("## What it stands on")[1]
    required = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert [name for name in required if not re.search(rf"\| .*\b{name}\b.* \|", table)] == []
