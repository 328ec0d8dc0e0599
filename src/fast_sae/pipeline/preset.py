"""Presets: files in the shape of params.yaml that hold some of its values, written into it.

Values are put in place as text, so that comments, order and everything else stay; what is written is what DVC writes.
No edit of the user's is lost: what stood in params.yaml before is kept in params.yaml.before.
"""

import copy
import difflib
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import cast

from fast_sae.activations.settings import HUB_MODEL, ModelSettings
from fast_sae.artifacts import whole_file
from fast_sae.errors import ModelError, ParamsError
from fast_sae.params import PARAMS, Section, load_params, parse_section
from fast_sae.pipeline.model_files import FoundModel, find_commit, try_model
from fast_sae.pipeline.values import Change, write_values
from fast_sae.preflight import check, model_width, parse, read_model_config
from fast_sae.sae.settings import ARCHITECTURES

PRESETS = Path("presets")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SUB_SECTIONS = {f"sae.{name}" for name in ARCHITECTURES}
_TIMES_WIDTH = re.compile(r"([1-9][0-9]*)x")


@dataclass(frozen=True)
class Preset:
    """A preset held against params.yaml, not written yet."""

    path: Path
    """params.yaml."""
    changes: list[Change]
    params: Section
    """All values, the preset's among them."""
    model: FoundModel | ModelError
    """Where its model is, or why it cannot be had."""
    before: bytes
    """What is in params.yaml."""
    after: bytes
    """What would be."""

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the preset in params.yaml for the moment in which DVC reads it; whatever happens, the file comes back.

        Raises:
            ParamsError: if an earlier process was killed in that moment; or if somebody else has changed params.yaml.
        """
        if not self.changes:
            yield
            return
        aside = self.path.with_name(f"{self.path.name}.aside")
        if aside.exists():
            raise ParamsError(
                f"{aside} holds your values, set aside by another run_pipeline; if none runs: mv {aside} {self.path}"
            )
        self._require_unchanged()
        terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _replace(aside, self.before)
            shutil.copystat(self.path, aside)
            _replace(self.path, self.after)
            yield
        finally:
            now = self.path.read_bytes()
            if now == self.after:
                aside.replace(self.path)
            elif now == self.before:  # the write has failed
                aside.unlink(missing_ok=True)
            else:  # edited in the meantime
                aside.replace(_free(self._before_path, self.before))
            signal.signal(signal.SIGTERM, terminated)

    def keep(self) -> Path:
        """Write the preset into params.yaml; return the file in which its bytes from before are.

        Raises:
            ParamsError: if somebody else has changed params.yaml.
        """
        self._require_unchanged()
        kept = _free(self._before_path, self.before)
        _replace(kept, self.before)
        _replace(self.path, self.after)
        return kept

    @property
    def _before_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.before")

    def _require_unchanged(self) -> None:
        if self.path.read_bytes() != self.before:
            raise ParamsError(f"{self.path} has changed in the meantime, and was left as it is; run this again")


def read_preset(name: str, presets: Path = PRESETS, params: Path = PARAMS) -> Preset:
    """Hold a preset against params.yaml, and write nothing.

    A branch in model.revision becomes the commit that it stands for now, and an sae.M such as 8x so many times the
    width of the model's activations.

    Raises:
        ParamsError: if there is no such preset, or params.yaml would not hold with it.
        ModelError: if the model's branch cannot be resolved.
    """
    path = _find(name, presets)
    before = load_params(params)
    raw = params.read_bytes()
    changes = _changes(before, load_params(path), path)
    try:
        changes = _sized(before, _pinned(before, changes))
        wanted = _merged(before, changes)
        model = try_model(parse(wanted).model)
        if isinstance(model, FoundModel):  # otherwise the prerequisites say so
            check(wanted)
        after = write_values(raw.decode(), changes).encode() if changes else raw
        _require_says(after, wanted)
    except (ParamsError, ModelError) as error:
        told = str(error).removeprefix(f"{PARAMS}: ")
        raise type(error)(f"{path}: {told}; {params} is as it was") from None
    return Preset(params, changes, wanted, model, raw, after)


def list_presets(presets: Path = PRESETS) -> list[str]:
    """Name the presets."""
    return sorted(path.stem for path in presets.glob("*.yaml"))


def _require_says(content: bytes, wanted: Section) -> None:
    """Read what would be written, and refuse it if it does not say what it should."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / PARAMS.name
        trial.write_bytes(content)
        if load_params(trial) != wanted:
            raise ParamsError("its values cannot be put into params.yaml, which is not written as `key: value` lines")


def _replace(path: Path, content: bytes) -> None:
    with whole_file(path) as part:
        part.write_bytes(content)
        if path.exists():
            shutil.copymode(path, part)


def _free(path: Path, content: bytes) -> Path:
    """Find a name that is free or holds the same already: .before, .before2, and so on."""
    names = (path if number == 1 else path.with_name(f"{path.name}{number}") for number in count(1))
    return next(name for name in names if not name.exists() or name.read_bytes() == content)


def _find(name: str, presets: Path) -> Path:
    known = list_presets(presets)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f", did you mean {near[0]}?" if near else ""
        raise ParamsError(
            f"no preset {name!r}{guess}; there are {', '.join(known) or f'none in {presets}'}; "
            f"the values from before a preset are in {PARAMS}.before"
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
        changes += _changes_in(section, have, cast(Mapping[object, object], values), path)
    return changes


def _changes_in(section: str, have: Section, values: Mapping[object, object], path: Path) -> Iterator[Change]:
    """Yield what differs in a section; of a mapping in it, such as sae.jumprelu, value by value, for its comments."""
    for key, value in values.items():
        if not isinstance(key, str) or key not in have:
            near = difflib.get_close_matches(str(key), have, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ""
            raise ParamsError(f"{path}: {section}.{key} is not in {PARAMS}{guess}")
        there = have[key]
        if f"{section}.{key}" in _SUB_SECTIONS and isinstance(there, Mapping) and isinstance(value, Mapping) and there:
            yield from _changes_in(f"{section}.{key}", cast(Section, there), cast(Mapping[object, object], value), path)
        elif _differ(there, value):
            yield Change(section, key, there, value)


def _differ(old: object, new: object) -> bool:
    return old != new or type(old) is not type(new)  # 1, 1.0 and true are equal in Python


def _merged(before: Section, changes: list[Change]) -> dict[str, object]:
    merged = copy.deepcopy(dict(before))
    for change in changes:
        place = merged
        for name in change.section.split("."):
            place = cast(dict[str, object], place[name])
        place[change.key] = change.new
    return merged


def _sized(before: Section, changes: list[Change]) -> list[Change]:
    """Put a number in the place of an sae.M of so many times the width of the model, such as 8x."""
    asked = next((change for change in changes if (change.section, change.key) == ("sae", "M")), None)
    times = _TIMES_WIDTH.fullmatch(str(asked.new)) if asked else None
    if asked is None or times is None:
        return changes
    model = parse_section(_merged(before, changes), "model", ModelSettings)
    M = int(times[1]) * model_width(read_model_config(model), model)
    others = [change for change in changes if change is not asked]
    return others if asked.old == M else [*others, Change("sae", "M", asked.old, M)]


def _pinned(before: Section, changes: list[Change]) -> list[Change]:
    """Put the commit in the place of a hub model's branch."""
    model = parse_section(_merged(before, changes), "model", ModelSettings)
    if model.files != HUB_MODEL or _COMMIT.fullmatch(model.revision or ""):
        return changes
    commit = find_commit(model)
    old = cast(Section, before["model"])["revision"]
    others = [change for change in changes if (change.section, change.key) != ("model", "revision")]
    return others if old == commit else [*others, Change("model", "revision", old, commit)]
