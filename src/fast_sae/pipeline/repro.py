"""`dvc repro` as if the user had typed it: its bars and words pass through, and Ctrl-C ends it before us."""

import os
import signal
import subprocess
import sys
from types import FrameType


class _TerminatedError(Exception):
    """SIGTERM has come."""


def run_repro() -> int:
    """Run `dvc repro` to its end and return its exit status.

    In a terminal Ctrl-C reaches DVC and its stage by itself; elsewhere they have a process group of their own, which is
    sent what we are sent. Either way they end first, so that no stage goes on unseen.

    Raises:
        KeyboardInterrupt: once DVC has ended, if the user has stopped it.
    """
    own_group = not sys.stdin.isatty()
    before = signal.signal(signal.SIGTERM, _terminate)
    live = os.environ | {"PYTHONUNBUFFERED": "1"}  # in a log too, where Python would hold lines back
    child = subprocess.Popen(["dvc", "repro"], env=live, process_group=0 if own_group else None)
    stopped = False
    try:
        while True:
            try:
                status = child.wait()
                break
            except (KeyboardInterrupt, _TerminatedError) as stop:
                stopped = True
                if own_group or isinstance(stop, _TerminatedError):
                    _interrupt(child, own_group)
    finally:
        signal.signal(signal.SIGTERM, before)
    if stopped:
        raise KeyboardInterrupt
    return status


def _interrupt(child: "subprocess.Popen[bytes]", own_group: bool) -> None:
    """Do to DVC and its stage what Ctrl-C does."""
    try:
        if own_group:
            os.killpg(child.pid, signal.SIGINT)
        else:
            child.send_signal(signal.SIGTERM)
    except ProcessLookupError:  # it has just ended
        pass


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _TerminatedError
