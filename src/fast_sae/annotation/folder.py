"""Where an annotation goes: a folder of two tables, written portion by portion, whole or absent."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from fast_sae.artifacts import MANIFEST
from fast_sae.errors import ArtifactError

Format = Literal["csv", "parquet"]
FORMATS: tuple[Format, ...] = ("csv", "parquet")
BAD_LINES = "bad_lines.txt"


def require_free(folder: Path, *, force: bool) -> None:
    """Refuse a folder that holds something, unless it is an earlier annotation that may be replaced.

    Raises:
        ArtifactError: if `folder` is a file, lies under one, holds an annotation and `force` is not set, or holds
            anything else, which is never replaced.
    """
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise ArtifactError(f"{place} is a file, not a folder; choose another --out")
    if not folder.exists():
        return
    ours = {MANIFEST, BAD_LINES, *(f"{table}.{suffix}" for table in ("tokens", "examples") for suffix in FORMATS)}
    held = sorted(path.name for path in folder.iterdir())
    if others := [name for name in held if name not in ours]:
        raise ArtifactError(f"{folder} holds {others[0]}, which is no annotation; choose another --out")
    if held and not force:
        raise ArtifactError(f"{folder} holds an annotation; choose another --out, or replace it with --force")


@contextmanager
def own_folder(folder: Path, *, force: bool) -> Iterator[Path]:
    """Give a temporary folder beside `folder`, of this run alone; put it in place at the end, or remove it on failure.

    Raises:
        ArtifactError: if another run, or the user, has meanwhile written what `require_free` refuses.
    """
    place = folder.resolve()  # where a link leads to
    part, old = (place.with_name(f".{place.name}.{secrets.token_hex(4)}{end}") for end in (".part", ".old.part"))
    part.mkdir(parents=True)
    try:
        yield part
        require_free(folder, force=force)
        if force:
            with suppress(FileNotFoundError):
                os.replace(place, old)
        os.replace(part, place)  # which takes the place of nothing but an empty folder
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or error.filename != str(part):
            raise
        raise ArtifactError(f"{folder} was written by another run meanwhile; choose another --out") from None
    finally:
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)


@dataclass(frozen=True)
class Tables:
    """The two tables, open for writing."""

    tokens: pq.ParquetWriter | pc.CSVWriter
    examples: pq.ParquetWriter | pc.CSVWriter


@contextmanager
def open_tables(folder: Path, tokens: pa.Schema, examples: pa.Schema, form: Format) -> Iterator[Tables]:
    """Open `tokens.<form>` and `examples.<form>`; each table written is on its way to disk at once.

    CSV quotes every text, so that commas, quotes and line ends in tokens stay inside their cell, and writes numbers so
    that they read back as the same.
    """
    with (
        _writer(folder / f"tokens.{form}", tokens, form) as by_token,
        _writer(folder / f"examples.{form}", examples, form) as by_example,
    ):
        yield Tables(by_token, by_example)


def _writer(path: Path, schema: pa.Schema, form: Format) -> pq.ParquetWriter | pc.CSVWriter:
    return pq.ParquetWriter(path, schema, compression="zstd") if form == "parquet" else pc.CSVWriter(path, schema)
