"""The programs the pipeline stands on: Python, the pinned packages, DVC and the python that DVC will run.

It imports nothing beyond the standard library: it must run where the packages are missing.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fast_sae.errors import UserError
from fast_sae.pipeline.findings import Finding, look

_OLDEST = (3, 11)
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[.*\])?\s*(?:==\s*([^\s;]+))?")
_ACTIVATE = "run: source .venv/bin/activate"


def check_environment(requirements: Path = Path("requirements.txt")) -> "list[Finding]":
    """Check Python, packages and DVC, each in one line."""
    return [
        look("python", _python),
        look("packages", lambda: _packages(requirements)),
        look("dvc", _dvc),
    ]


def _python() -> str:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST:
        raise UserError(f"{found} is older than 3.11; run: make clean-venv && make PYTHON=python3.11 repro")
    return found


def _packages(requirements: Path) -> str:
    try:
        pins = dict(_pins(requirements.read_text(encoding="utf-8")))
    except OSError:
        raise UserError(f"{requirements} cannot be read; run this from the root of the repository") from None
    wrong = [told for name, wanted in pins.items() if (told := _difference(name, wanted))]
    if wrong:
        raise UserError(f"{', '.join(wrong)}; run: python -m pip install -r {requirements}")
    return f"{len(pins)} as {requirements} pins them"


def _pins(text: str) -> Iterator[tuple[str, str]]:
    """Read `name==version` lines; a name without version takes any. Options, such as -c, are left out."""
    for line in text.splitlines():
        requirement = line.split("#")[0].strip()
        match = _PIN.match(requirement) if not requirement.startswith("-") else None
        if match:
            yield match[1], match[2] or ""


def _difference(name: str, wanted: str) -> str:
    """Say what is wrong with an installed package, or nothing; a build's mark (+cpu) is no other version."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{name} is missing"
    same = not wanted or wanted in (found, found.split("+")[0])
    return "" if same else f"{name} is {found}, not {wanted}"


def _dvc() -> str:
    dvc, python = shutil.which("dvc"), shutil.which("python")
    if dvc is None:
        raise UserError(f"no `dvc` on PATH; {_ACTIVATE}")
    prefix = _output(python, "-c", "import sys; print(sys.prefix)") if python else ""
    if not prefix or os.path.realpath(prefix) != os.path.realpath(sys.prefix):
        there = python or "no python at all"
        raise UserError(f"DVC will run {there}, which is another than this one ({sys.executable}); {_ACTIVATE}")
    found = _output(dvc, "--version")
    if wrong := _difference("dvc", found):
        raise UserError(f"the `dvc` on PATH is {found or 'broken'}, but {wrong.split(',')[0]} here; {_ACTIVATE}")
    return f"{found}; its python is this one"


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
