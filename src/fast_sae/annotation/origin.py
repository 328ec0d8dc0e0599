"""What made an SAE, as its manifest tells: the model, the template and the layer that it must be asked with.

params.yaml may have changed since, and says nothing about an SAE in another folder.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ValidationError

from fast_sae.activations.settings import ExtractSettings, ModelSettings, read_record
from fast_sae.artifacts import Manifest, read_manifest
from fast_sae.chat.kinds import KIND_NAMES, Kind
from fast_sae.errors import ArtifactError
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.sae.checkpoint import STAGE, load_sae


class _Trained(BaseModel):
    """What is needed of the `train` section."""

    kinds: tuple[Literal[KIND_NAMES], ...]  # pyright: ignore[reportInvalidTypeForm]
    dtype: Literal["float64", "float32"]


@dataclass(frozen=True)
class Origin:
    """An SAE and how the activations that it was trained on were made."""

    sae: SparseAutoencoder
    """On the CPU, in the type that it is computed in."""
    model: ModelSettings
    extract: ExtractSettings
    """With the SAE's own layer as the only one."""
    kinds: tuple[int, ...]
    """Kinds of tokens that it was trained on."""
    manifest: Manifest

    @property
    def said_kinds(self) -> tuple[int, ...]:
        """Content alone, if it was trained on: what the template writes is the same in every example.

        Its activations are often the largest, and would head the list of every text.
        """
        return (int(Kind.CONTENT),) if Kind.CONTENT in self.kinds else self.kinds

    @property
    def folder(self) -> Path:
        """Where the SAE lies."""
        return self.manifest.path.parent


def read_origin(folder: Path) -> Origin:
    """Read an SAE and what made it.

    Raises:
        ArtifactError: if a file is missing or damaged, or if config.json describes another SAE than the manifest.
    """
    manifest = read_manifest(folder, STAGE)
    sae = load_sae(folder)
    made = manifest.settings
    if made.get("sae") != sae.settings.model_dump(mode="json"):
        raise ArtifactError(f"{manifest.path} and config.json describe two SAEs; run: dvc repro {STAGE}")
    try:
        model, extract = read_record(made, sae.settings.layer)
        trained = _Trained.model_validate_json(json.dumps(made["train"]))
    except (KeyError, TypeError, ValidationError) as error:
        told = " ".join(str(error).split())
        raise ArtifactError(
            f"{manifest.path} does not tell what made the SAE ({told}); run: dvc repro {STAGE}"
        ) from None
    kinds = tuple(int(Kind[name.upper()]) for name in trained.kinds)
    return Origin(sae.to(getattr(torch, trained.dtype)), model, extract, kinds, manifest)
