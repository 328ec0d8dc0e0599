"""One line of a check: what was found and, where that will not do, what to do about it.

It imports nothing beyond the standard library, so that a missing package can be told by it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fast_sae.errors import UserError


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    """What was looked at."""
    ok: bool
    found: str
    """What was found; where it fails, what to do too."""
    fatal: bool = True
    """False: a failure is only a warning."""

    def line(self) -> str:
        """Say it in one line.

        >>> Finding("disk", False, "8 GB are free").line()
        'FAILS  disk         8 GB are free'
        """
        return f"{'ok' if self.ok else 'FAILS' if self.fatal else 'warns':<7}{self.name:<13}{self.found}"


def look(name: str, check: Callable[[], str]) -> Finding:
    """Run one check; what it returns was found, and a UserError that it raises is its failure."""
    try:
        return Finding(name, True, check())
    except UserError as error:
        return Finding(name, False, str(error))
