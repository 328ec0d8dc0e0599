"""A program under observation: how long it runs, and the anonymous memory that it holds at most."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fast_sae.errors import UserError

_EVERY = 0.05
"""Seconds between two looks."""


@dataclass(frozen=True)
class Watched:
    """One run."""

    seconds: float
    peak_anon: int
    """Bytes of RssAnon in /proc/<pid>/status: what the process has allocated, without mapped files."""
    finished: bool
    """Whether it came to its end before its time was up."""
    output: str


def watch(arguments: Sequence[str], folder: Path, environment: dict[str, str], seconds: float) -> Watched:
    """Run Python with some arguments in a folder, for so many seconds at most.

    Raises:
        UserError: if it fails.
    """
    started, peak = time.monotonic(), 0
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        while process.poll() is None and time.monotonic() - started < seconds:
            peak = max(peak, anonymous_memory(process.pid))
            time.sleep(_EVERY)
        finished = process.poll() is not None
    finally:
        process.kill()
        output, _ = process.communicate()
    if finished and process.returncode:
        raise UserError(f"{' '.join(command)} failed; what it said stands above")
    return Watched(time.monotonic() - started, peak, finished, output)


def anonymous_memory(pid: int) -> int:
    """Return a process's RssAnon in bytes; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)
