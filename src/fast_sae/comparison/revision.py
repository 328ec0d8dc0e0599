"""A revision of the repository: what a user calls it, and the files it holds, git's and DVC's."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc_data.index import DataIndexError

from fast_sae.comparison.experiments import git
from fast_sae.errors import UserError

WORKSPACE = "workspace"
_EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>.+)")


@dataclass(frozen=True)
class Revision:
    """A commit, or the files as they lie in the workspace."""

    asked: str
    """What the user calls it."""
    commit: str | None
    """Whole; None: the workspace."""

    def __str__(self) -> str:
        """Name it with its commit.

        >>> str(Revision("main~1", "0123456789" * 4)), str(Revision("workspace", None))
        ('main~1 (0123456)', 'workspace')
        """
        return self.asked if self.commit is None else f"{self.asked} ({self.commit[:7]})"

    def names(self, folder: str) -> list[str]:
        """List the paths of what git holds right in a folder, such as `metrics`; sorted, none where it is missing."""
        if self.commit is None:
            return sorted(path.as_posix() for path in Path(folder).glob("*"))
        return git("ls-tree", "--name-only", self.commit, f"{folder}/").splitlines()

    def text(self, path: str) -> str | None:
        """Read a file that git holds; None where it is missing."""
        if self.commit is None:
            return Path(path).read_text(encoding="utf-8") if Path(path).is_file() else None
        if not git("ls-tree", "--name-only", self.commit, path):
            return None
        return git("show", f"{self.commit}:{path}")

    def holds(self, path: str) -> bool:
        """Tell whether a stage's output is known here, whether or not its bytes are at hand."""
        return self._files.exists(path)

    def fetch(self, path: str, to: Path) -> Path:
        """Copy a stage's output, from DVC's cache or else its remote, and return where it now lies.

        Raises:
            UserError: if its bytes are in neither.
        """
        try:
            self._files.get(path, str(to), recursive=True)
        except (OSError, DvcException, DataIndexError):
            raise UserError(
                f"{self}: the bytes of {path} are neither in DVC's cache nor in its remote; {self._cure}"
            ) from None
        return to

    @cached_property
    def _files(self) -> DVCFileSystem:
        return DVCFileSystem(".", rev=self.commit)

    @property
    def _cure(self) -> str:
        if self.commit is None:
            return "run: dvc pull, or: dvc repro"
        return f"run: dvc fetch {self.asked}, where they were made: dvc push; or make them again: dvc repro there"


def find_revision(asked: str) -> Revision:
    """Find what a user calls a revision: git's words for a commit, a DVC experiment, or `workspace`.

    Raises:
        UserError: if there is no such thing, or several experiments of that name.
    """
    if asked == WORKSPACE:
        return Revision(asked, None)
    if asked and not asked.startswith("-"):
        try:
            return Revision(asked, git("rev-parse", "--verify", "--quiet", f"{asked}^{{commit}}"))
        except UserError:
            pass  # no commit of git's
    found = {commit for name, commit in _experiments() if name == asked}
    if len(found) == 1:
        return Revision(asked, found.pop())
    if found:
        raise UserError(f"{len(found)} experiments are called {asked}; name one by its revision: dvc exp list -A")
    raise UserError(
        f"{asked!r} is no revision, branch, tag or experiment of this repository, and not {WORKSPACE!r}; "
        "experiments: dvc exp list -A; those of a remote: dvc exp pull origin NAME"
    )


def _experiments() -> Iterator[tuple[str, str]]:
    for line in git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps/").splitlines():
        commit, _, ref = line.partition(" ")
        if known := _EXPERIMENT.fullmatch(ref):
            yield known["name"], commit
