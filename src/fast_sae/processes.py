"""Programs that we have started end before us, with all that they have started, so that nothing goes on unseen."""

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil

STEPS = ((signal.SIGINT, 20.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
"""What is sent, and the seconds before the next one."""


def end_all(children: "Sequence[subprocess.Popen[bytes]]", grace: float = 0) -> None:
    """Interrupt programs and all that they have started, as Ctrl-C does, and end by force what stays.

    Args:
        children: The programs.
        grace: Seconds for what Ctrl-C has reached already to end by itself.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # in a terminal a second Ctrl-C still reaches them
    alive = _with_children([psutil.Process(child.pid) for child in children if child.poll() is None])
    _, alive = psutil.wait_procs(alive, grace)
    for number, seconds in STEPS:
        alive = _with_children(alive)
        for process in alive:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                process.send_signal(number)
        _, alive = psutil.wait_procs(alive, seconds)
        if not alive:
            break
    for child in children:
        child.poll()


@contextmanager
def ended_with_us(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` if the block is left by Ctrl-C, by SIGTERM, which becomes the same, or by an error."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except BaseException:
        end()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _with_children(processes: list[psutil.Process]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for process in processes:
        found.setdefault(process.pid, process)
        with suppress(psutil.NoSuchProcess):
            found |= {one.pid: one for one in process.children(recursive=True) if one.pid not in found}
    return list(found.values())
