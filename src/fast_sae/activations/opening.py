"""A split opened the way params.yaml says: from disk, or computed live; the live code is imported by name.

DVC lists the folder of the chosen source, as it lists the file of the chosen architecture: so a change of the model's
code does not make anew what was trained from stored activations.
"""

import importlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

from fast_sae.activations.settings import STAGE, ExtractSettings, ModelSettings, activation_record
from fast_sae.activations.source import ActivationSource, Provenance
from fast_sae.activations.split import open_folder
from fast_sae.activations.stored.source import StoredActivations
from fast_sae.artifacts import Manifest, file_sha256
from fast_sae.chat.prepared import split_path
from fast_sae.chat.splits import Split
from fast_sae.errors import ArtifactError
from fast_sae.runtime import RuntimeSettings


@dataclass(frozen=True)
class Activations:
    """The activations of one layer, and how a stage reads them."""

    folder: Path
    """data/activations."""
    layer: int
    """Index into the model's hidden states."""
    model: ModelSettings
    extract: ExtractSettings
    source: Literal["stored", "live"]
    """How a split is read whose activations are not on disk: not at all, or computed."""
    buffer_tokens: int
    """Rows that a live pass in random order mixes."""
    runtime: RuntimeSettings

    def open(self, split: Split) -> ActivationSource:
        """Open a split without reading its rows; what is stored is read from disk in any case.

        Raises:
            ArtifactError: if a shard is missing or damaged, other settings or another model made it, or it is not
                stored and `source` says that it should be.
        """
        folder = open_folder(self.folder, self.layer, split, activation_record(self.model, self.extract))
        if folder.facts.stored:
            return StoredActivations(folder)
        if self.source == "stored":
            raise ArtifactError(
                f"{folder.path} holds no activations; name {split} in extract.store, then run: dvc repro {STAGE}"
            )
        return self._live.read(folder, split)

    @cached_property
    def _live(self):  # noqa: ANN202  (LiveModel, whose module is imported only where it is chosen)
        module = importlib.import_module(f"fast_sae.activations.{self.source}.source")
        return module.open_live(self.layer, self.model, self.extract, self.runtime, self.buffer_tokens)


def require_same_examples(provenance: Provenance, prepared: Path, split: Split) -> None:
    """Refuse activations of other examples than `prepared` holds now: rows and labels are joined by their order."""
    if file_sha256(split_path(prepared, split)) != provenance.prepared_sha256:
        raise ArtifactError(f"the {split} activations are not those of {prepared}; run: dvc repro {STAGE}")


def require_same_activations(sae: Manifest, validation: Provenance) -> None:
    """Refuse an SAE trained on other activations: its training rows could be among the test rows of these."""
    used = cast(dict[str, object], sae.facts["activations"])
    if used.get("validation_sha256") != validation.sha256:
        raise ArtifactError(
            f"{sae.path.parent} was trained on other activations than these; run: dvc repro {sae.stage}"
        )
