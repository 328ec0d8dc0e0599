"""What every artefact carries: a manifest of the settings that made it, and a way to be whole or absent.

A manifest has no clock and sorted keys, so that the same run gives the same bytes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fast_sae.errors import ArtifactError

if TYPE_CHECKING:
    import pandas as pd  # at run time only where a table is made: check_params must not wait for it

MANIFEST = "manifest.json"

Json = Mapping[str, object]


@dataclass(frozen=True)
class Manifest:
    """What made an artefact, and the facts the next stage needs about it."""

    path: Path
    """The manifest's own file."""
    stage: str
    """Name of the stage that makes this artefact."""
    settings: Json
    """The sections of params.yaml that decided the content."""
    facts: Json
    """What the stage found out: shapes, counts, digests."""

    @property
    def sha256(self) -> str:
        """Digest of the file, which names this very artefact."""
        return file_sha256(self.path)

    def differences(self, expected: Json) -> Iterator[tuple[str, object, object]]:
        """Yield each setting that differs from `expected`: its name, what made the artefact, and what is expected."""
        return _differences("", self.settings, expected)

    def require(self, expected: Json) -> None:
        """Refuse an artefact made with other settings than params.yaml holds now."""
        for key, made, wanted in self.differences(expected):
            raise ArtifactError(
                f"{self.path.parent} was made with {key}={made!r}, but params.yaml says {wanted!r}; "
                f"run: dvc repro {self.stage}"
            )


def write_manifest(folder: Path, stage: str, settings: Json, facts: Json, versions: tuple[str, ...] = ()) -> None:
    """Write `manifest.json`; `versions` names the packages whose version belongs to the record."""
    content = {
        "stage": stage,
        "settings": settings,
        "facts": facts,
        "versions": {name: version(name).split("+")[0] for name in versions},
    }
    write_json(folder / MANIFEST, content)


def read_manifest(folder: Path, stage: str) -> Manifest:
    """Read the manifest of the artefact in `folder`, which `stage` makes."""
    path = folder / MANIFEST
    content = read_json(path, stage)
    if content.get("stage") != stage or not all(isinstance(content.get(key), dict) for key in ("settings", "facts")):
        raise ArtifactError(f"{path} is not a manifest of {stage}; run: dvc repro {stage}")
    return Manifest(path, stage, cast(Json, content["settings"]), cast(Json, content["facts"]))


def read_json(path: Path, stage: str) -> dict[str, object]:
    """Read a JSON object that `stage` makes."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist; run: dvc pull, or: dvc repro {stage}") from None
    except ValueError:
        raise ArtifactError(f"{path} is not JSON; run: dvc repro {stage}") from None
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} holds no JSON object; run: dvc repro {stage}")
    return cast(dict[str, object], content)


def write_json(path: Path, content: Json) -> None:
    """Write sorted, indented JSON, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(
            json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def write_metrics(path: Path, prefix: str, values: Mapping[str, float | int | None]) -> None:
    """Write flat metrics for DVC, rounded to 6 significant digits; what has no value is left out."""
    write_json(path, {prefix: round_metrics(values)})


def round_metrics(values: Mapping[str, float | int | None]) -> dict[str, float | int]:
    """Round to 6 significant digits, which no processor changes; what has no value is left out.

    >>> round_metrics({"mse": 0.123456789, "rows": 1234567, "none": None})
    {'mse': 0.123457, 'rows': 1234567}
    """
    return {k: (v if isinstance(v, int) else float(f"{v:.6g}")) for k, v in values.items() if v is not None}


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as CSV, numbers rounded to 6 significant digits."""
    with whole_file(path) as part:
        table.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; put it in place at the end, or remove it if the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; put it in place of `path` at the end, or remove it if the block fails."""
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if path.exists():
            shutil.rmtree(path)
        os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _differences(prefix: str, made: object, wanted: object) -> Iterator[tuple[str, object, object]]:
    if isinstance(made, Mapping) and isinstance(wanted, Mapping):
        made, wanted = cast(Json, made), cast(Json, wanted)
        for key in sorted({*made, *wanted}):
            yield from _differences(f"{prefix}.{key}".lstrip("."), made.get(key), wanted.get(key))
    elif made != wanted:
        yield prefix, made, wanted
