"""Every reply, stored the moment it comes, so that no run buys it twice.

A reply lies in `data/replies/<two hex digits>/<key>.json`, a folder that no stage owns, and those that a run used are
also in its `replies` file, which DVC keeps. The key is the SHA-256 of the whole request: model, temperature,
max_output_tokens, seed, prompt version, every message to its last character, the schema asked for, and which try of a
question that was answered badly it is. Where the server stands (base_url) and what it costs are not part of it: they
do not change what was asked, and a replay needs no server at all. Two servers that call different models by one name
must be told apart by `interpret.model`.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from fast_sae.artifacts import Json, whole_file
from fast_sae.progress import say

_DAMAGED = (ValueError, TypeError, KeyError, RecursionError)
"""What reading a record raises if it is no JSON, too deep, of another form, or not what its key says."""


@dataclass(frozen=True)
class Reply:
    """What a server answered, as far as anything hangs on it."""

    text: str | None
    refusal: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True)
class _Record:
    request: Json
    reply: Reply


def canonical(content: Json) -> str:
    """Return the one JSON text of an object: sorted keys, no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def key_of(request: Json) -> str:
    """Return the name of a request: SHA-256, in hex, of its canonical JSON."""
    return hashlib.sha256(canonical(request).encode()).hexdigest()


def replies_folder() -> Path:
    """Return data/replies below the repository's root, which experiments in temporary folders share."""
    return Path(os.environ.get("DVC_ROOT", "."), "data", "replies")


class ReplyStore:
    """The folder of all replies, and the file of those that a run used."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.folder = folder
        self._file = file
        self._kept = dict(_read_lines(file))
        self._used: dict[str, _Record] = {}
        self._damaged: set[str] = set()

    def get(self, request: Json) -> Reply | None:
        """Return the stored reply to a request, and count it as used."""
        key = key_of(request)
        record = self._used.get(key) or self._read(key) or self._kept.get(key)
        if record is None:
            return None
        self._used[key] = record
        return record.reply

    def put(self, request: Json, reply: Reply) -> None:
        """Store a reply, and count it as used."""
        key = key_of(request)
        self._used[key] = _Record(request, reply)
        self._write(key, self._used[key])

    def write_used(self) -> None:
        """Write the replies used, by key; those that were in the file and no longer are move to the folder."""
        for key in sorted(set(self._kept) - set(self._used)):
            if self._read(key) is None:
                self._write(key, self._kept[key])
        with whole_file(self._file) as part:
            part.write_text("".join(_line(key, self._used[key]) for key in sorted(self._used)), encoding="utf-8")

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _read(self, key: str) -> _Record | None:
        path = self._path(key)
        try:
            return _parse(path.read_bytes(), key)[1]
        except FileNotFoundError:
            return None
        except _DAMAGED:
            if key not in self._damaged:
                self._damaged.add(key)
                say(f"{path} is damaged: not used")
            return None

    def _write(self, key: str, record: _Record) -> None:
        """Write a reply whole, under a name that no other process writes: two may buy the same reply at once."""
        own = self._path(key).with_suffix(f".{os.getpid()}.part")
        with whole_file(own) as part:
            part.write_text(_line(key, record), encoding="utf-8")
        os.replace(own, self._path(key))


def _line(key: str, record: _Record) -> str:
    return canonical({"key": key, "request": record.request, "reply": asdict(record.reply)}) + "\n"


def _read_lines(file: Path) -> Iterator[tuple[str, _Record]]:
    lines = file.read_bytes().split(b"\n") if file.exists() else []
    for number, line in enumerate(lines, 1):
        if line:
            try:
                yield _parse(line)
            except _DAMAGED:
                say(f"{file}:{number} is damaged: not used")


def _parse(text: bytes, wanted: str | None = None) -> tuple[str, _Record]:
    """Read a record back; what was changed since it was stored no longer fits its key.

    Raises:
        One of `_DAMAGED`, if it is not what was stored.
    """
    content = json.loads(text)
    record = _Record(cast(Json, content["request"]), Reply(**content["reply"]))
    key = cast(str, content["key"])
    if key != key_of(record.request) or wanted not in (None, key):
        raise ValueError(f"{key} is not the key of its request")
    if not _fits(record.reply):
        raise ValueError("fields of the wrong type")
    return key, record


def _fits(reply: Reply) -> bool:
    texts = (reply.text, reply.refusal, reply.finish_reason)
    numbers = (reply.prompt_tokens, reply.completion_tokens)
    return all(isinstance(text, str | None) for text in texts) and all(isinstance(n, int | None) for n in numbers)
