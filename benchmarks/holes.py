"""Stored activations of any size that take little disk: in each shard file most rows are a hole, which reads as zeros.

Each shard has its own bytes, its own examples and its own pages in the page cache: reading a split of 20 GB costs what
20 GB cost, and only the disk is spared. (The checksum that a zip keeps of its members is that of the first shard; no
reader of shards looks at it, since they are mapped.)
"""

from pathlib import Path

import numpy as np

from fast_sae.activations.settings import STAGE
from fast_sae.activations.shards import map_npz, write_npz
from fast_sae.artifacts import Json, write_manifest
from fast_sae.chat.kinds import Kind
from fast_sae.errors import UserError

EXAMPLE_ROWS = 64
"""Tokens of each example, about as many as a short chat has."""
SHARD_ROWS = 65536
_FILLED = 16
"""One row in so many holds numbers."""
_RANK = 32


def write_split(
    place: Path, d_in: int, shards: int, record: Json, *, prepared_sha256: str = "", rows: int = SHARD_ROWS
) -> None:
    """Write shards of float16 rows, and their manifest.

    Args:
        place: Folder of one layer and split.
        d_in: Width of a row.
        shards: How many.
        record: What the manifest says of the settings.
        prepared_sha256: Digest of the examples.
        rows: Of each shard, a multiple of 64.

    Raises:
        UserError: if the file system fills holes.
    """
    names = [f"shard-{number:05d}.npz" for number in range(shards)]
    write_npz(place / names[0], _first_shard(d_in, rows))
    mapped = map_npz(place / names[0], STAGE)
    activations, example = mapped["activations"], mapped["example"]
    assert isinstance(activations, np.memmap)
    assert isinstance(example, np.memmap)
    content = (place / names[0]).read_bytes()
    hole = activations.offset + activations.nbytes // _FILLED, activations.offset + activations.nbytes
    for number, name in enumerate(names):
        _write_around(place / name, content, *hole)
        numbers = np.memmap(place / name, np.int32, "r+", example.offset, (rows,))
        numbers += number * (rows // EXAMPLE_ROWS)
        numbers.flush()
    facts = {"d_in": d_in, "shared_prefix": 4, "prepared_sha256": prepared_sha256, "stored": True}
    described = [{"file": name, "rows": rows} for name in names]
    write_manifest(place, STAGE, record, facts | {"commit": None, "model_sha256": None, "shards": described})


def _first_shard(d_in: int, rows: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    filled = random.normal(size=(rows // _FILLED, _RANK)) @ random.normal(size=(_RANK, d_in)) / _RANK**0.5
    activations = np.zeros((rows, d_in), np.float16)
    activations[: len(filled)] = filled
    position = np.tile(np.arange(EXAMPLE_ROWS, dtype=np.int32), rows // EXAMPLE_ROWS)
    kind = np.full(rows, Kind.CONTENT, np.uint8)
    kind[position < 4] = Kind.SCAFFOLD
    kind[position == 0] = Kind.BEGIN_OF_TEXT
    example = np.repeat(np.arange(rows // EXAMPLE_ROWS, dtype=np.int32), EXAMPLE_ROWS)
    return {"activations": activations, "example": example, "position": position, "token_id": position, "kind": kind}


def _write_around(path: Path, content: bytes, start: int, end: int) -> None:
    """Write a file without the bytes from start to end."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.write(content[:start])
        file.seek(end)
        file.write(content[end:])
    if path.stat().st_blocks * 512 > len(content) - (end - start) // 2:
        raise UserError(f"{path}: this file system fills the holes of a file; run in a folder of another one")
