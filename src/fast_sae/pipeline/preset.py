"""Presets: files in the shape of params.yaml that hold some of its values, written into it.

Values are put in place as text, so that comments, order and everything else stay; what is written is what DVC writes.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml
from dvc.utils.serialize import dumps_yaml

from fast_sae.activations.settings import HUB_MODEL
from fast_sae.artifacts import whole_file
from fast_sae.errors import ModelError, ParamsError
from fast_sae.params import PARAMS, Section, load_params
from fast_sae.pipeline.model_files import find_commit, find_model
from fast_sae.preflight import check, parse

PRESETS = Path("presets")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Change:
    """One value that a preset changes."""

    section: str
    key: str
    old: object
    new: object

    def line(self) -> str:
        """Say what changes.

        >>> Change("sae", "K", 8, None).line()
        'sae.K: 8 → null'
        """
        return f"{self.section}.{self.key}: {_told(self.old)} → {_told(self.new)}"


def apply_preset(name: str, presets: Path = PRESETS, params: Path = PARAMS) -> list[Change]:
    """Write a preset's values into params.yaml, or nothing at all.

    A branch in model.revision is written as the commit that it stands for now.

    Raises:
        ParamsError: if there is no such preset, or params.yaml would not hold with it.
        ModelError: if the model's branch cannot be resolved.
    """
    path = _find(name, presets)
    before = load_params(params)
    changes = _changes(before, load_params(path), path)
    try:
        changes = _pinned(before, changes)
        parse(_merged(before, changes))
        _check_model(_merged(before, changes))
        _write(params, changes, _merged(before, changes))
    except (ParamsError, ModelError) as error:
        told = str(error).removeprefix(f"{PARAMS}: ")
        raise type(error)(f"{path}: {told}; {params} is as it was") from None
    return changes


def list_presets(presets: Path = PRESETS) -> list[str]:
    """Name the presets."""
    return sorted(path.stem for path in presets.glob("*.yaml"))


def write_values(text: str, changes: list[Change]) -> str:
    """Put new values into the text of params.yaml and leave the rest of it alone.

    Raises:
        ParamsError: if a key cannot be found in the text.

    >>> write_values("a:\\n  b: 1  # one\\n  c:\\n  - 2\\n  # three\\n", [Change("a", "c", [2], None)])
    'a:\\n  b: 1  # one\\n  c:\\n  # three\\n'
    """
    for change in changes:
        text = _put(text, change)
    return text


def _write(params: Path, changes: list[Change], wanted: Section) -> None:
    """Put the values in place, read the file again, and keep it only if it says what it should."""
    text = write_values(params.read_text(encoding="utf-8"), changes)
    with whole_file(params) as part:
        part.write_text(text, encoding="utf-8")
        if load_params(part) != wanted:
            raise ParamsError("its values cannot be put into params.yaml, which is not written as `key: value` lines")


def _find(name: str, presets: Path) -> Path:
    known = list_presets(presets)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f", did you mean {near[0]}?" if near else ""
        raise ParamsError(
            f"no preset {name!r}{guess}; there are {', '.join(known) or f'none in {presets}'}; "
            "the committed values come back with: git checkout params.yaml"
        )
    return presets / f"{name}.yaml"


def _changes(before: Section, wanted: Section, path: Path) -> list[Change]:
    """List what differs; sections and keys that params.yaml does not have are refused."""
    changes: list[Change] = []
    for section, values in wanted.items():
        there = before.get(section)
        if not isinstance(there, Mapping):
            raise ParamsError(f"{path}: {section!r} is not a section of {PARAMS}; there are {', '.join(before)}")
        if not isinstance(values, Mapping):
            raise ParamsError(f"{path}: {section} must be a mapping of values, found {values!r}")
        have = cast(Section, there)
        for key, value in cast(Section, values).items():
            if key not in have:
                near = difflib.get_close_matches(str(key), have, n=1)
                guess = f"; did you mean {near[0]!r}?" if near else ""
                raise ParamsError(f"{path}: {section}.{key} is not in {PARAMS}{guess}")
            if _differ(have[key], value):
                changes.append(Change(section, key, have[key], value))
    return changes


def _differ(old: object, new: object) -> bool:
    return old != new or type(old) is not type(new)  # 1, 1.0 and true are equal in Python


def _merged(before: Section, changes: list[Change]) -> dict[str, object]:
    merged: dict[str, object] = {
        name: dict(cast(Section, values)) if isinstance(values, Mapping) else values for name, values in before.items()
    }
    for change in changes:
        cast(dict[str, object], merged[change.section])[change.key] = change.new
    return merged


def _pinned(before: Section, changes: list[Change]) -> list[Change]:
    """Put the commit in the place of a hub model's branch."""
    model = parse(_merged(before, changes)).model
    if model.files != HUB_MODEL or _COMMIT.fullmatch(model.revision or ""):
        return changes
    commit = find_commit(model)
    old = cast(Section, before["model"])["revision"]
    others = [change for change in changes if (change.section, change.key) != ("model", "revision")]
    return others if old == commit else [*others, Change("model", "revision", old, commit)]


def _check_model(params: Section) -> None:
    """Hold the layers against the model, where it can be had; where not, the prerequisites say so."""
    try:
        find_model(parse(params).model)
    except ModelError:
        return
    check(params)


def _put(text: str, change: Change) -> str:
    """Replace one value in the text, from the colon behind its key to its last character."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    section = _value(root, change.section)
    for key, value in section.value if isinstance(section, yaml.MappingNode) else ():
        if key.value == change.key:
            start = text.index(":", key.end_mark.index) + 1
            return text[:start] + _written(change, key.start_mark.column) + text[max(start, _end(value)) :]
    raise ParamsError(f"{PARAMS}: {change.section}.{change.key} cannot be found")


def _value(mapping: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = mapping.value if isinstance(mapping, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _end(node: yaml.Node) -> int:
    """Find where a value ends; a block's own mark stands behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _written(change: Change, column: int) -> str:
    """Write a value as DVC does, in block style, behind a key at this column."""
    block = dumps_yaml({change.section: {change.key: change.new}}).rstrip("\n").split("\n")[1:]
    first = block[0].removeprefix(f"  {change.key}:").rstrip()
    return "\n".join([first, *(" " * column + line[2:] for line in block[1:])])


def _told(value: object) -> str:
    return "null" if value is None else str(value)
