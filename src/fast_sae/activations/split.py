"""One layer and split as `extract_activations` has written it: its manifest, and its shards mapped and checked.

A shard always holds what its tokens are; their activations too, if extract.store names the split.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from pydantic import BaseModel, ValidationError

from fast_sae.activations.settings import STAGE
from fast_sae.activations.shards import map_npz
from fast_sae.activations.source import Provenance, Rows, Tokens
from fast_sae.artifacts import Json, read_manifest
from fast_sae.errors import ArtifactError

_TOKENS = ("example", "position", "token_id", "kind")


class _Shard(BaseModel):
    file: str
    rows: int


class Facts(BaseModel):
    """What a reader needs of the manifest."""

    d_in: int
    prepared_sha256: str
    shared_prefix: int
    stored: bool
    """Whether the shards hold activations."""
    commit: str | None
    """Of a model on the hub."""
    model_sha256: str | None
    """Of a local model."""
    shards: list[_Shard]


@dataclass(frozen=True)
class SplitFolder:
    """A split on disk."""

    path: Path
    provenance: Provenance
    facts: Facts
    shards: list[Tokens]
    """`Rows`, if the split is stored."""

    @cached_property
    def kind(self) -> UInt8[np.ndarray, " row"]:
        """The kind of every row."""
        return np.concatenate([shard.kind for shard in self.shards] or [np.empty(0, np.uint8)])


def open_folder(activations: Path, layer: int, split: str, expected: Json) -> SplitFolder:
    """Open one layer and split without reading its rows.

    Args:
        activations: data/activations.
        layer: Index into the model's hidden states.
        split: train, validation or test.
        expected: The `activation_record` of params.yaml as it is now.

    Raises:
        ArtifactError: if a shard is missing or damaged, or if other settings made it.
    """
    folder = activations / f"layer_{layer}" / split
    manifest = read_manifest(folder, STAGE)
    manifest.require(expected)
    try:
        facts = Facts.model_validate(manifest.facts)
    except ValidationError as error:
        lacking = error.errors()[0]["loc"][0]
        raise ArtifactError(f"{manifest.path} does not tell {lacking!r}; run: dvc repro {STAGE}") from None
    model = {"commit": facts.commit, "model_sha256": facts.model_sha256}
    provenance = Provenance(manifest.settings, manifest.sha256, facts.prepared_sha256, facts.shared_prefix, model)
    shards = [_open_shard(folder / shard.file, shard.rows, facts) for shard in facts.shards]
    return SplitFolder(folder, provenance, facts, shards)


def _open_shard(path: Path, rows: int, facts: Facts) -> Tokens:
    arrays = map_npz(path, STAGE)
    shapes = dict.fromkeys(_TOKENS, (rows,)) | ({"activations": (rows, facts.d_in)} if facts.stored else {})
    if missing := [name for name in shapes if name not in arrays]:
        raise ArtifactError(f"{path} has no array {missing[0]!r}; run: dvc repro {STAGE}")
    if any(arrays[name].shape != shape for name, shape in shapes.items()):
        raise ArtifactError(f"{path} has not the shape its manifest says; run: dvc repro {STAGE}")
    return (Rows if facts.stored else Tokens)(**{name: arrays[name] for name in shapes})
