"""Where a long stage keeps what is done, so that a killed run goes on instead of starting over.

DVC deletes the outputs of a stage before it runs it again, whole or not. So shards wait in
`.scratch/<stage>/<fingerprint>/` of the main repository (also from a temporary or queued run) until all are there. The
fingerprint covers all that decides their bytes: a run with other settings, data, weights or code starts afresh.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fast_sae.artifacts import Json
from fast_sae.errors import ArtifactError


@dataclass(frozen=True)
class Scratch:
    """A folder for this very run, locked against another that would do the same."""

    path: Path

    def hand_over(self, destination: Path) -> None:
        """Put the finished folder in the place of `destination`."""
        if destination.exists():
            shutil.rmtree(destination)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.path, destination)


@contextmanager
def open_scratch(stage: str, identity: Json, files: Iterable[Path]) -> Iterator[Scratch]:
    """Open the scratch folder of a run that `identity` and the given files decide.

    Args:
        stage: Name of the stage.
        identity: Settings.
        files: Inputs and code; data and code by content, files over 16 MB (weights) by name, size and time.

    Raises:
        ArtifactError: if another run with the same fingerprint is at work.
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    for file in sorted(files):
        digest.update(str(file).encode() + _identify(file))
    home = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / stage
    path = home / digest.hexdigest()[:16]
    path.mkdir(parents=True, exist_ok=True)
    with (home / f"{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ArtifactError(f"{path} is in use: the same {stage} runs already; wait for it") from None
        yield Scratch(path)


def _identify(file: Path) -> bytes:
    stat = file.stat()
    if stat.st_size > 16_000_000:
        return f"{file}:{stat.st_size}:{stat.st_mtime_ns}".encode()
    return hashlib.sha256(file.read_bytes()).digest()
