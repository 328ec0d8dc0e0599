"""dvc.lock against the code and against itself: no data, no cache, no remote and no recomputing needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LOCK = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
STORE = ROOT / ".dvcstore/files/md5"
MADE = {out["path"]: out["md5"] for entry in LOCK.values() for out in entry.get("outs", [])}
CACHED = {path: md5 for path, md5 in MADE.items() if not path.startswith("metrics/")}  # metrics lie in git itself


def dvc(*words: str) -> str:
    command = [Path(sys.executable).parent / "dvc", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def objects(md5: str) -> list[Path]:
    """The stored object of an output, and those of its files if it is a folder."""
    path = STORE / md5[:2] / md5[2:]
    if not md5.endswith(".dir"):
        return [path]
    return [path, *(STORE / e["md5"][:2] / e["md5"][2:] for e in json.loads(path.read_text()))]


def sub_folder_md5(out: str, inside: str) -> str:
    """The hash DVC gives to a folder inside an output: that of the sorted list of its files."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    prefix = tuple(Path(inside).relative_to(out).parts)
    tree = Tree()
    for entry in json.loads(objects(MADE[out])[0].read_text()):
        parts = tuple(entry["relpath"].split("/"))
        if parts[: len(prefix)] == prefix:
            tree.add(parts[len(prefix) :], None, HashInfo("md5", entry["md5"]))
    tree.digest()
    assert tree.hash_info.value is not None
    return tree.hash_info.value


def test_the_locked_stages_are_those_of_dvc_yaml():
    assert dvc("stage", "list", "--name-only").split() == list(LOCK)


def test_nothing_has_changed_since_the_lock_was_written():
    changes = [
        (stage, path, state)
        for stage, entries in json.loads(dvc("status", "--json")).items()
        for entry in entries
        for paths in (entry.values() if isinstance(entry, dict) else [{"command": entry}])
        for path, found in paths.items()
        for state in (found.values() if isinstance(found, dict) else [found])
        if state not in ("deleted", "not in cache")
    ]
    assert changes == []


@pytest.mark.parametrize("stage", LOCK)
def test_a_stage_was_run_on_what_the_stage_before_made(stage):
    """The poisoned lock of dvc.md, finding 3, fails here."""
    for dep in LOCK[stage]["deps"]:
        for out in MADE:
            if dep["path"] == out:
                assert dep["md5"] == MADE[out], f"{stage} was run against another {out}"
            elif dep["path"].startswith(out + "/"):
                assert dep["md5"] == sub_folder_md5(out, dep["path"]), f"{stage} was run against another {dep['path']}"


@pytest.mark.parametrize("out", CACHED)
def test_the_store_in_git_holds_every_output_whole(out):
    import hashlib

    for path in objects(MADE[out]):
        name = path.parent.name + path.name.removesuffix(".dir")
        assert hashlib.md5(path.read_bytes()).hexdigest() == name, path


def test_the_store_holds_little_and_nothing_else():
    wanted = {path for md5 in CACHED.values() for path in objects(md5)}
    size = sum(path.stat().st_size for path in STORE.rglob("*") if path.is_file())
    assert size <= 40e6
    assert {path for path in STORE.rglob("*") if path.is_file()} == wanted
