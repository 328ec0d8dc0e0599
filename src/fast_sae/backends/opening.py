"""The backend that params.yaml chooses; its code is imported by name, as an architecture's is."""

import importlib
from contextlib import AbstractContextManager
from pathlib import Path

from fast_sae.backends.base import Backend
from fast_sae.backends.settings import BackendSettings


def open_backend(settings: BackendSettings, replies: Path) -> AbstractContextManager[Backend]:
    """Open the backend; what it was told by a language model is in `replies` when the block ends.

    Args:
        settings: Those of the section `interpret`.
        replies: A file of the replies used, a JSON object a line; read first if it is there, and written anew.
    """
    module = importlib.import_module(f"fast_sae.backends.{settings.backend}.backend")
    return module.open_backend(settings, replies)
