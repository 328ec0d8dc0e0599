"""Activations that `extract_activations` has written: memory-mapped shards, read where they lie."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float, Int, UInt8
from pydantic import BaseModel, ValidationError

from fast_sae.activations.settings import STAGE
from fast_sae.activations.shards import map_npz
from fast_sae.activations.source import Provenance, Rows
from fast_sae.artifacts import Json, Manifest, file_sha256, read_manifest
from fast_sae.chat.prepared import split_path
from fast_sae.chat.splits import Split
from fast_sae.errors import ArtifactError


class _Shard(BaseModel):
    file: str
    rows: int


class _Facts(BaseModel):
    """What a reader needs of the manifest."""

    d_in: int
    prepared_sha256: str
    shared_prefix: int
    shards: list[_Shard]


class StoredActivations:
    """One layer and split on disk; an `ActivationSource`."""

    def __init__(self, activations: Path, layer: int, split: Split, expected: Json) -> None:
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
            facts = _Facts.model_validate(manifest.facts)
        except ValidationError as error:
            lacking = error.errors()[0]["loc"][0]
            raise ArtifactError(f"{manifest.path} does not tell {lacking!r}; run: dvc repro {STAGE}") from None
        self.provenance = Provenance(manifest.settings, manifest.sha256, facts.prepared_sha256, facts.shared_prefix)
        self.d_in = facts.d_in
        self._shards = [self._open(folder / shard.file, shard.rows) for shard in facts.shards]
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])

    @property
    def kind(self) -> UInt8[np.ndarray, " row"]:
        """The kind of every row of the split."""
        return np.concatenate([shard.kind for shard in self._shards])

    def take(self, index: Int[np.ndarray, " taken"]) -> Float[np.ndarray, "taken d_in"]:
        """Return the activations of the given rows, in the given order, shard by shard in the order on disk."""
        taken = np.empty((len(index), self.d_in), self._shards[0].activations.dtype)
        order = np.argsort(index, kind="stable")
        cuts = np.searchsorted(index[order], self._starts)
        for shard, start, first, last in zip(self._shards, self._starts, cuts, cuts[1:], strict=False):
            here = order[first:last]
            taken[here] = shard.activations[index[here] - start]
        return taken

    def chunks(self, rows: int) -> Iterator[Rows]:
        """Go once through the split in order, at most `rows` rows at a time."""
        for shard in self._shards:
            for at in range(0, len(shard), rows):
                part = slice(at, at + rows)
                yield Rows(*(array[part] for array in vars(shard).values()))

    def _open(self, path: Path, rows: int) -> Rows:
        arrays = map_npz(path, STAGE)
        names = ("activations", "example", "position", "token_id", "kind")
        if missing := [name for name in names if name not in arrays]:
            raise ArtifactError(f"{path} has no array {missing[0]!r}; run: dvc repro {STAGE}")
        whole = all(arrays[name].shape == (rows,) for name in names[1:])
        if not whole or arrays["activations"].shape != (rows, self.d_in):
            raise ArtifactError(f"{path} has not the shape its manifest says; run: dvc repro {STAGE}")
        return Rows(*(arrays[name] for name in names))


def require_same_examples(provenance: Provenance, prepared: Path, split: Split) -> None:
    """Refuse activations of other examples than `prepared` holds now: rows and labels are joined by their order."""
    if file_sha256(split_path(prepared, split)) != provenance.prepared_sha256:
        raise ArtifactError(f"the {split} activations are not those of {prepared}; run: dvc repro {STAGE}")


def require_same_split(sae: Manifest, validation: Provenance) -> None:
    """Refuse an SAE trained on other activations: its training rows could be among the test rows of these."""
    used = cast(dict[str, object], sae.facts["activations"])
    if used.get("validation_sha256") != validation.sha256:
        raise ArtifactError(
            f"{sae.path.parent} was trained on other activations than these; run: dvc repro {sae.stage}"
        )
