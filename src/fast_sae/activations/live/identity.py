"""Which language model this is: the commit of one on the hub, a digest of the files of a local one.

A local model's name says nothing about its weights. What is read of a folder: weights, config, tokenizer, templates.
"""

import hashlib
from pathlib import Path

from fast_sae.activations.live.hub import resolve_commit
from fast_sae.activations.settings import ModelSettings
from fast_sae.artifacts import file_sha256

_READ = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "additional_chat_templates/*.jinja")


def identify(model: ModelSettings) -> dict[str, str | None]:
    """Return the facts `commit` and `model_sha256`, one of them null."""
    return {
        "commit": resolve_commit(model),
        "model_sha256": folder_sha256(Path(model.name)) if model.is_local else None,
    }


def folder_sha256(folder: Path) -> str:
    """SHA-256 over the names and digests of a model's files, sorted by name; seconds per 1 GB of weights."""
    files = sorted(path.relative_to(folder).as_posix() for pattern in _READ for path in folder.glob(pattern))
    return hashlib.sha256("".join(f"{file_sha256(folder / name)}  {name}\n" for name in files).encode()).hexdigest()
