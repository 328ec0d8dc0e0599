"""What a user can cause, told in one line, and the frame that every stage and command runs in.

    UserError               anything the user can mend: exit status 1, one line, no traceback
    ├── ParamsError         a value in params.yaml
    ├── DataError           a line of the data
    ├── ModelError          a language model, its tokenizer or its chat template
    └── ArtifactError       a file a stage has made, or should have

Everything else is a bug and keeps its traceback.
"""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path


class UserError(Exception):
    """Something the user can mend; the text says where, what was found, and what to do."""


class ParamsError(UserError):
    """A missing, unknown or impossible value in params.yaml."""


class DataError(UserError):
    """A data file that cannot be read, or bad lines in it."""


class ModelError(UserError):
    """A language model, tokenizer or chat template that cannot be used as asked."""


class ArtifactError(UserError):
    """A missing, truncated or mismatched file that a stage makes."""


_USERS_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
"""A full disk, a folder that may not be written."""


def run(main: Callable[[], None]) -> None:
    """Run a stage or command; end it with one line and status 1 if the user can mend what went wrong."""
    try:
        _refuse_shallow_queue()
        main()
    except OSError as error:
        if error.errno not in _USERS_ERRNO:
            raise
        sys.stderr.write(f"{type(error).__name__}: {error.filename}: {error.strerror}; make room or change its owner\n")
        sys.exit(1)
    except UserError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


def _refuse_shallow_queue() -> None:
    """Refuse a queued or temporary experiment of a shallow clone: DVC would run it and lose it without a word."""
    root = Path(os.environ.get("DVC_ROOT", "."))
    if Path.cwd() != root.resolve() and (root / ".git" / "shallow").exists():
        raise UserError(f"{root} is a shallow clone, where DVC loses queued experiments; run: git fetch --unshallow")
