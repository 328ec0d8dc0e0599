"""One shard file: an uncompressed .npz whose arrays are aligned, so that a reader can memory-map them.

`numpy.savez` writes arrays at odd offsets and `numpy.load` never maps an .npz. Here the padding goes into the extra
field of each zip member, which readers skip: `numpy.load` reads the same file.
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError

import numpy as np

from fast_sae.artifacts import whole_file
from fast_sae.errors import ArtifactError

ALIGNMENT = 64
"""Bytes; a cache line, and what numpy aligns the data of an .npy to."""
_LOCAL_HEADER = 30
_DAMAGE = (
    *(zipfile.BadZipFile, struct.error, OSError, EOFError, NotImplementedError),  # not the zip it should be
    *(ValueError, KeyError, TypeError, OverflowError, SyntaxError, TokenError),  # numpy parses its header as Python
)
_PADDING_FIELD = 0xD935
"""Id of the extra field for padding, as Android's zipalign uses it."""


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays uncompressed and aligned; the same arrays give the same bytes."""
    with whole_file(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            assert archive.fp is not None
            zip64 = array.nbytes > 2**31 - 2**16
            at = archive.fp.tell() + _LOCAL_HEADER + len(member.filename) + (20 if zip64 else 0) + 4
            gap = -at % ALIGNMENT
            member.extra = struct.pack("<HH", _PADDING_FIELD, gap) + bytes(gap)
            with archive.open(member, "w", force_zip64=zip64) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def map_npz(path: Path, stage: str) -> dict[str, np.ndarray]:
    """Memory-map every array of a shard, read-only; nothing is read until it is used.

    Raises:
        ArtifactError: if the file is missing, truncated, compressed, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            return {m.filename.removesuffix(".npy"): _map_member(path, file, m) for m in archive.infolist()}
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist; run: dvc pull, or: dvc repro {stage}") from None
    except _DAMAGE as error:
        raise ArtifactError(f"{path} is damaged ({' '.join(str(error).split())}); run: dvc repro {stage}") from None


def _map_member(path: Path, file, member: zipfile.ZipInfo) -> np.ndarray:  # noqa: ANN001  (an open binary file)
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    file.seek(member.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", file.read(4))
    file.seek(name_length + extra_length, 1)
    start = file.tell()
    format_version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = read_header[format_version](file)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects")
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if file.tell() - start + size != member.file_size:
        raise ValueError(f"{member.filename} has not the size its header says")
    if size == 0:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset=file.tell(), shape=shape, order="F" if fortran else "C")
