"""`dvc repro` as if the user had typed it: its bars and words pass through, and nothing of it outlives us."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import FrameType

import psutil

_GRACE = 5.0
"""Seconds for what Ctrl-C has reached already to end by itself."""
_STEPS = ((signal.SIGINT, 20.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
"""What is sent, and the seconds before the next one."""


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
        _end(child, grace=_GRACE if terminal else 0)
        raise
    except _TerminatedError:
        _end(child, grace=0)
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(child: "subprocess.Popen[bytes]", grace: float) -> None:
    """Interrupt DVC and all that it has started, as Ctrl-C does, and end by force what stays."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # in a terminal a second Ctrl-C still reaches them
    alive = _with_children([psutil.Process(child.pid)] if child.poll() is None else [])
    _, alive = psutil.wait_procs(alive, grace)
    for number, seconds in _STEPS:
        alive = _with_children(alive)
        for process in alive:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                process.send_signal(number)
        _, alive = psutil.wait_procs(alive, seconds)
        if not alive:
            break
    child.poll()


def _with_children(processes: list[psutil.Process]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for process in processes:
        found.setdefault(process.pid, process)
        with suppress(psutil.NoSuchProcess):
            found |= {one.pid: one for one in process.children(recursive=True) if one.pid not in found}
    return list(found.values())


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _TerminatedError
