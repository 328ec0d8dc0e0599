"""notebooks/explore.ipynb, run on what `dvc pull` brings: it shows what it shows in git, wherever Jupyter starts."""

import re
import shutil
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from notebook import NOTEBOOK, stripped
from pipeline_clone import Clone
from samples import ROOT

CELLS = nbformat.read(NOTEBOOK, as_version=4).cells
CODE = "\n".join(cell.source for cell in CELLS if cell.cell_type == "code")
NAMES = ("data/interpretations/interpretations.csv", "data/interpretations/manifest.json")
READ = ("models/sae", "data/features", *NAMES, "data/activations/layer_5/test")


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """The pipeline's files, the notebook, and what it reads as it lies in .dvcstore."""
    clone = Clone(tmp_path_factory.mktemp("pulled"))
    for name in ("dvc.yaml", "dvc.lock", "params.yaml", "tools/notebook.py", "notebooks/explore.ipynb"):
        (clone.root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, clone.root / name)
    (clone.root / "src").symlink_to(ROOT / "src")
    clone.run("dvc", "init", "-q", "--no-scm")
    clone.run("dvc", "remote", "add", "-q", "--default", "store", str(ROOT / ".dvcstore"))
    clone.run("dvc", "pull", "-q", *READ)
    return clone


@pytest.mark.slow
def test_it_shows_what_it_shows_in_git(clone):
    """Mended by: python tools/notebook.py."""
    done = clone.run(sys.executable, "tools/notebook.py", "--check", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("source", "arguments", "told"),
    [
        (
            "1 + 1",
            ["--check"],
            "notebooks/explore.ipynb shows something else when it is run; run: python tools/notebook.py",
        ),
        ("1 / 0", [], "notebooks/explore.ipynb fails: ZeroDivisionError: division by zero"),
    ],
)
def test_what_has_changed_or_fails_is_told_and_nothing_written(source, arguments, told, tmp_path):
    for name in ("tools", "notebooks"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "tools/notebook.py", tmp_path / "tools")
    path = tmp_path / "notebooks/explore.ipynb"
    path.write_text(stripped(new_notebook(cells=[new_code_cell(source)])))
    before = path.read_bytes()
    done = Clone(tmp_path).run(sys.executable, "tools/notebook.py", *arguments, check=False)
    assert (done.returncode, done.stderr) == (1, f"{told}\n")
    assert path.read_bytes() == before


@pytest.mark.slow
def test_it_runs_from_the_root_too(clone):
    (shown,) = [out.text for cell in CELLS for out in cell.get("outputs", ()) if out.output_type == "stream"]
    assert clone.run(sys.executable, "-c", CODE).stdout == shown


def test_it_is_about_ten_lines():
    assert len([line for line in CODE.splitlines() if line]) <= 12


def test_nothing_of_a_machine_stands_in_it():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert stripped(nbformat.read(NOTEBOOK, as_version=4)) == text
    assert not re.search(r'["\' ]/(?!span|b>)\w+/\w|0x[0-9a-f]{6}|\d{4}-\d\d-\d\dT', text)
    assert all(cell.outputs for cell in CELLS if cell.cell_type == "code")
    assert not [out for cell in CELLS for out in cell.get("outputs", ()) if out.get("name") == "stderr"]
