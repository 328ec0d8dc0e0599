"""Raw records of a data file, one reader per format; a record that cannot be read is told, not skipped."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from fast_sae.errors import DataError


@dataclass(frozen=True)
class Record:
    """One record and where it stands."""

    place: str
    """`line 7`, or `record 7` where a format has no lines."""
    value: object = None
    problem: str | None = None
    """Why there is no value."""


def read_records(path: Path) -> Iterator[Record]:
    """Yield every record of a .jsonl, .json, .csv, .tsv or .parquet file, the unreadable ones with their problem."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: {path.suffix or 'no suffix'} is not one of {', '.join(_READERS)}; set data.path")
    if not path.is_file():
        raise DataError(f"{path} is not a file; set data.path in params.yaml")
    try:
        yield from reader(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def read_texts(path: Path, field: str) -> Iterator[Record]:
    """Yield every line of a file of bare texts as a record with one field."""
    for record in _lines(path):
        yield record if record.problem else Record(record.place, value={field: record.value})


def _jsonl(path: Path) -> Iterator[Record]:
    for record in _lines(path):
        yield record if record.problem else _parse(record.place, str(record.value).strip())


def _lines(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw  # a byte-order mark is no content
            place = f"line {number}"
            try:
                text = line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                yield Record(place, problem=f"not UTF-8 (byte {error.start + 1})")
                continue
            yield Record(place, value=text) if text.strip() else Record(place, problem="empty")


def _parse(place: str, text: str) -> Record:
    try:
        return Record(place, value=json.loads(text))
    except json.JSONDecodeError as error:
        return Record(place, problem=f"not JSON ({error.msg} at character {error.pos + 1})")
    except (RecursionError, ValueError) as error:  # nested too deep; a number of too many digits
        return Record(place, problem=f"not JSON ({str(error) or type(error).__name__})")


def _json(path: Path) -> Iterator[Record]:
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start + 1})") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: line {error.lineno}: not JSON ({error.msg})") from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"{path} is not JSON ({str(error) or type(error).__name__})") from None
    if not isinstance(content, list):
        raise DataError(f"{path} holds {type(content).__name__}, not a list of examples; is it .jsonl?")
    for number, value in enumerate(cast(list[object], content), start=1):
        yield Record(f"record {number}", value=value)


def _csv(path: Path, delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(sys.maxsize)  # a long text is not an error
    # surrogateescape: bytes that are not UTF-8 reach read_example as half characters, which names their line
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = next((row for row in rows if row), [])
        except csv.Error as error:
            raise DataError(f"{path}: line 1: the header is not CSV ({error})") from None
        while True:
            number = rows.line_num + 1
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(f"line {number}", problem=f"not CSV ({error})")
            else:
                if row:
                    yield _cells(f"line {number}", header, row)


def _cells(place: str, header: list[str], row: list[str]) -> Record:
    if len(row) > len(header):
        return Record(place, problem=f"not CSV ({len(row) - len(header)} cells more than the header has)")
    return Record(place, value={name: _cell(name, cell) for name, cell in zip(header, row, strict=False)})


def _cell(name: str, cell: str) -> object:
    """A chat inside a CSV cell is written as JSON."""
    if name in ("messages", "conversations") and cell.lstrip().startswith("["):
        try:
            return json.loads(cell)
        except (RecursionError, ValueError):
            return cell
    return cell


def _parquet(path: Path) -> Iterator[Record]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from _rows(batch, number)
                number += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not Parquet: {' '.join(str(error).split())}") from None


def _rows(batch: pa.RecordBatch, before: int) -> Iterator[Record]:
    for row in range(len(batch)):
        place = f"record {before + row + 1}"
        try:
            yield Record(place, value=batch.slice(row, 1).to_pylist()[0])
        except UnicodeDecodeError:
            yield Record(place, problem="not UTF-8")


_READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": lambda path: _csv(path, ","),
    ".tsv": lambda path: _csv(path, "\t"),
    ".parquet": _parquet,
}
FORMATS = tuple(_READERS)
"""Suffixes of the data files that `read_records` reads."""
