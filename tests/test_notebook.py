"""notebooks/explore.ipynb, run on what `dvc pull` brings: it shows what it shows in git, wherever Jupyter starts."""

import re
import shutil
import sys

import nbformat
import pytest
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


@pytest.mark.slow
def test_what_has_changed_is_told(clone):
    path = clone.root / "notebooks/explore.ipynb"
    kept = path.read_text()
    try:
        path.write_text(kept.replace("nlargest(5", "nlargest(4"))
        done = clone.run(sys.executable, "tools/notebook.py", "--check", check=False)
        assert done.returncode == 1
        assert done.stderr.endswith("shows something else when it is run; run: python tools/notebook.py\n")
        path.write_text(kept.replace("features[213]", "features[512]"))
        done = clone.run(sys.executable, "tools/notebook.py", check=False)
        assert (
            done.stderr == "notebooks/explore.ipynb fails: UserError: latent 512 does not exist: the SAE has 0 to 511\n"
        )
    finally:
        path.write_text(kept)


@pytest.mark.slow
def test_it_runs_from_the_root_too(clone):
    clone.run(sys.executable, "-c", CODE)


def test_it_is_about_ten_lines():
    assert len([line for line in CODE.splitlines() if line]) <= 12


def test_nothing_of_a_machine_stands_in_it():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert stripped(nbformat.read(NOTEBOOK, as_version=4)) == text
    assert not re.search(r'["\' ]/(?!span|b>)\w+/\w|0x[0-9a-f]{6}|\d{4}-\d\d-\d\dT', text)
    assert all(cell.outputs for cell in CELLS if cell.cell_type == "code")
    assert not [out for cell in CELLS for out in cell.get("outputs", ()) if out.get("name") == "stderr"]
