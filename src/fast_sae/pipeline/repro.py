"""`dvc repro` as if the user had typed it: its bars and words pass through, and nothing of it outlives us."""

import os
import signal
import subprocess
import sys
from types import FrameType

from fast_sae.processes import end_all

_GRACE = 5.0
"""Seconds for what Ctrl-C has reached already to end by itself."""


class _TerminatedError(Exception):
    """SIGTERM has come."""


def run_repro() -> int:
    """Run `dvc repro` to its end and return its exit status.

    In a terminal DVC and its stage stay in our process group, so that they can ask and Ctrl-C reaches them by itself;
    elsewhere they have a group of their own. Either way they end before us, so that no stage goes on unseen.

    Raises:
        KeyboardInterrupt: once DVC and its stage have ended, if Ctrl-C or SIGTERM has come.
    """
    terminal = sys.stdin.isatty()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    live = os.environ | {"PYTHONUNBUFFERED": "1"}  # in a log too, where Python would hold lines back
    signal.signal(signal.SIGTERM, _terminate)
    child = subprocess.Popen(["dvc", "repro"], env=live, process_group=None if terminal else 0)
    try:
        return child.wait()
    except KeyboardInterrupt:
        end_all([child], grace=_GRACE if terminal else 0)
        raise
    except _TerminatedError:
        end_all([child])
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _TerminatedError
