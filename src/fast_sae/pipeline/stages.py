"""Which stages `dvc repro` will run, as DVC itself tells: those out of date, and those that read what these make.

`dvc repro --dry` is no help: it fails at the first stage whose input another one has yet to make.
"""

import json
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fast_sae.errors import UserError
from fast_sae.params import load_params

_EDGE = re.compile(r'"([^"]+)" -> "([^"]+)"')


@dataclass(frozen=True)
class DueStage:
    """A stage that will run, or may."""

    name: str
    why: str
    """What has changed."""
    certain: bool
    """False: it runs only if an earlier stage makes something else than before."""


def due_stages(settled: Collection[str] = (), dvc_yaml: Path = Path("dvc.yaml")) -> list[DueStage]:
    """List the stages that `dvc repro` will run, in the order of dvc.yaml.

    Args:
        settled: Stages whose outputs are known to stay the same, though they are out of date.
        dvc_yaml: Where the stages stand.

    Raises:
        UserError: with DVC's own word, if it cannot tell.
    """
    status = cast(Mapping[str, list[object]], json.loads(_dvc("status", "--json") or "{}"))
    edges = _EDGE.findall(_dvc("dag", "--dot"))
    due: dict[str, DueStage] = {}
    for name in cast(Mapping[str, object], load_params(dvc_yaml)["stages"]):
        moved = [before for before, after in edges if after == name and before in due and before not in settled]
        if name in status:
            due[name] = DueStage(name, "; ".join(_changes(status[name])), certain=True)
        elif moved:
            due[name] = DueStage(name, f"only if {' or '.join(moved)} makes something new", certain=False)
    return list(due.values())


def _changes(entries: list[object]) -> Iterator[str]:
    """Say in words what `dvc status` found of one stage."""
    for entry in entries:
        if not isinstance(entry, dict):
            yield str(entry)  # such as "always changed" or "changed command"
            continue
        for kind, found in cast(dict[str, Mapping[str, object]], entry).items():
            yield f"{_WORDS.get(kind, kind)}: {', '.join(_named(found))}"


_WORDS = {"changed deps": "inputs", "changed outs": "results"}
_SHOWN = 3


def _named(found: Mapping[str, object]) -> Iterator[str]:
    names: list[str] = []
    for path, state in found.items():
        inner = cast(Mapping[str, object], state) if isinstance(state, Mapping) else None
        names += [f"{key} {word}" for key, word in inner.items()] if inner else [f"{path} {state}"]
    yield from names[:_SHOWN]
    if len(names) > _SHOWN:
        yield f"and {len(names) - _SHOWN} more"


def _dvc(*words: str) -> str:
    try:
        done = subprocess.run(["dvc", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError("no `dvc` on PATH; run: source .venv/bin/activate") from None
    if done.returncode != 0:
        told = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr.strip()[-200:])
        raise UserError(f"dvc {words[0]} fails: {told}")
    return done.stdout
