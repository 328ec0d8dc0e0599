"""Runs as DVC experiments of the present commit, side by side, each in a copy of its own: `dvc exp run --temp`.

Not `dvc exp run --queue`: its workers are daemons that live on, and keep the repository locked, when what started them
is killed; it would run whatever else the user has queued; and it does not tell which run has failed, or why.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fast_sae.comparison.plan import Run
from fast_sae.errors import UserError
from fast_sae.processes import end_all, ended_with_us
from fast_sae.progress import say

_STAGES = ("evaluate_sae", "evaluate_in_model")
"""What is run, with all before it: the stages whose metrics are compared."""
_POLL = 0.2
"""Seconds between two looks at what is at work."""
_OURS = re.compile(r"[A-Za-z]*Error: ")


def git(*words: str) -> str:
    """Ask git, and return what it says without the last line end.

    Raises:
        UserError: with git's own words, if it fails.
    """
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = done.stderr.strip().splitlines() or ["it does not say why"]
        raise UserError(f"git {words[0]} fails: {told[-1]}")
    return done.stdout.rstrip("\n")


def require_clean(allowed: Iterable[Path]) -> None:
    """Refuse a working tree that its commit does not tell, and a clone in which DVC loses experiments.

    Args:
        allowed: Files that may have changed: what is written from the runs.

    Raises:
        UserError: naming one file that has changed.
    """
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise UserError("this is a shallow clone, where DVC loses experiments; run: git fetch --unshallow")
    ours = {path.as_posix() for path in allowed}
    status = git("status", "--porcelain", "--untracked-files=all")
    if changed := [line[3:] for line in status.splitlines() if line[3:] not in ours]:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(f"{changed[0]}{more} changed since the commit that the runs are made from; commit first")


def known_experiments(commit: str) -> dict[str, str]:
    """Return the experiments of a commit: the revision of each by its name."""
    home = f"refs/exps/{commit[:2]}/{commit[2:]}/"
    listed = git("for-each-ref", "--format=%(refname) %(objectname)", home)
    return {
        ref.removeprefix(home): revision for ref, _, revision in (line.partition(" ") for line in listed.splitlines())
    }


@dataclass(frozen=True)
class Workers:
    """Runs at work side by side; none outlives this."""

    commit: str
    """What the runs are made from."""
    jobs: int
    """Runs at once; the processor's cores are shared out among them."""
    logs: Path
    """Folder of what each run says."""
    _active: dict[str, tuple["subprocess.Popen[bytes]", float]] = field(default_factory=dict)
    """By the name of the run: its process, and when it was begun."""

    def run(self, runs: Sequence[Run]) -> None:
        """Run what the commit does not have yet; first one run of each extraction, so that the others find it cached.

        Raises:
            UserError: naming a run that has failed; those at work are let finish, others are not begun.
        """
        have = known_experiments(self.commit)
        due = [run for run in runs if run.name not in have]
        say(f"{len(runs)} runs, of which {len(runs) - len(due)} are there already; logs: {self.logs}")
        first = list({run.extraction: run for run in reversed(due)}.values())
        with ended_with_us(self._end):
            self._side_by_side(first)
            self._side_by_side([run for run in due if run not in first])

    def _side_by_side(self, runs: Sequence[Run]) -> None:
        left, failed = list(reversed(runs)), []
        while self._active or (left and not failed):
            while left and len(self._active) < self.jobs and not failed:
                self._start(left.pop())
            time.sleep(_POLL)
            for name, seconds in self._ended():
                ok = name in known_experiments(self.commit)
                say(f"{name}: {'done' if ok else 'FAILED'} in {seconds:.0f} s; {len(left)} more to begin")
                failed += [] if ok else [name]
        if failed:
            log = self._log(failed[0])
            raise UserError(f"{failed[0]} has failed: {_reason(log)}; all that it said: {log}")

    def _start(self, run: Run) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        threads = str(max(1, (os.cpu_count() or 1) // self.jobs))
        command = ["dvc", "--wait-for-lock", "exp", "run", "--temp", "--name", run.name, *run.flags(), *_STAGES]
        with self._log(run.name).open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": threads},
                process_group=0,  # Ctrl-C comes to us, and we end them
            )
        self._active[run.name] = process, time.monotonic()

    def _ended(self) -> list[tuple[str, float]]:
        ended = [name for name, (process, _) in self._active.items() if process.poll() is not None]
        return [(name, time.monotonic() - self._active.pop(name)[1]) for name in ended]

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _end(self) -> None:
        end_all([process for process, _ in self._active.values()])


def _reason(log: Path) -> str:
    """Find the line in which a stage says why it fails, or else DVC's."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line for line in lines if _OURS.match(line)] or [line for line in lines if line.startswith("ERROR")]
    return told[0] if told else "it does not say why"
