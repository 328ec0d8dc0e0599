"""Run notebooks/explore.ipynb and keep what it shows: `python tools/notebook.py`; --check says whether it shows that.

What is kept hangs on nothing but the code and the data: no times, no ids of cells, no version of the kernel. The
default's models/sae, data/features and data/interpretations must be there, and data/activations: `dvc pull`.
"""

import argparse
import difflib
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks/explore.ipynb"
_SECONDS = 300
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_OF_CODE = ("execution_count", "outputs")


def executed(path: Path, folder: Path) -> str:
    """Run a notebook in a folder and return it as the text of its file.

    Args:
        path: The notebook.
        folder: Where its kernel starts.

    Raises:
        CellExecutionError: if a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    options = {"kernel_name": "python3", "timeout": _SECONDS, "extra_arguments": ["--log-level=ERROR"]}
    NotebookClient(notebook, **options, resources={"metadata": {"path": folder}}).execute()
    return stripped(notebook)


def stripped(notebook: NotebookNode) -> str:
    """Return a notebook as the text of its file, without what differs from run to run."""
    cells = [_cell(cell, f"cell-{number}") for number, cell in enumerate(notebook.cells, start=1)]
    kept = nbformat.from_dict({"cells": cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5})
    nbformat.validate(kept)
    return nbformat.writes(kept) + "\n"


def _cell(cell: NotebookNode, name: str) -> dict[str, object]:
    own = {"cell_type": cell.cell_type, "id": name, "metadata": {}, "source": cell.source}
    return {**own, **{key: cell[key] for key in _OF_CODE}} if cell.cell_type == "code" else own


def main() -> None:
    """Read the command line; run the notebook, and write it or say how it differs."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if the file shows something else")
    asked = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    try:
        now = executed(NOTEBOOK, NOTEBOOK.parent)
    except CellExecutionError as error:
        sys.exit(f"{NOTEBOOK.relative_to(ROOT)} fails: {error.ename}: {error.evalue}")
    if not asked.check:
        NOTEBOOK.write_text(now, encoding="utf-8")
        return
    before = NOTEBOOK.read_text(encoding="utf-8")
    sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), now.splitlines(True), "file", "run", n=0))
    if now != before:
        sys.exit(f"{NOTEBOOK.relative_to(ROOT)} shows something else when it is run; run: python tools/notebook.py")


if __name__ == "__main__":
    main()
