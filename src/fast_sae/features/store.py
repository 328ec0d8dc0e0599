"""data/features, read: the windows kept for each latent, what is known of it, and each example's latents."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from fast_sae.artifacts import Json, Manifest, file_sha256, read_manifest
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.chat.prepared import split_path
from fast_sae.chat.splits import Split
from fast_sae.errors import ArtifactError
from fast_sae.features.tables import STAGE, read_features_table
from fast_sae.features.windows import Sample, Shown, Window


@dataclass(frozen=True)
class FeatureStore:
    """The folder that `collect_features` writes."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path, expected: Json) -> "FeatureStore":
        """Open the folder without reading a table.

        Args:
            folder: data/features.
            expected: The `features_record` of params.yaml as it is now.

        Raises:
            ArtifactError: if it is missing, or other settings made it.
        """
        manifest = read_manifest(folder, STAGE)
        manifest.require(expected)
        return cls(folder, manifest)

    def require_examples(self, prepared: Path, split: Split) -> None:
        """Refuse features of other examples than `prepared` holds now: labels and texts are joined by their order."""
        if cast(Json, self.manifest.facts[split]).get("prepared_sha256") != file_sha256(split_path(prepared, split)):
            raise ArtifactError(f"{self.folder} is not of the {split} examples of {prepared}; run: dvc repro {STAGE}")

    def require_sae(self, sae_sha256: str) -> None:
        """Refuse features of other weights than these, though the same settings made both."""
        if self.manifest.facts.get("sae_sha256") != sae_sha256:
            raise ArtifactError(f"{self.folder} is of another SAE than now; run: dvc repro {STAGE}")

    def require_made_of(self, folder: Path, stage: str) -> None:
        """Refuse what `stage` made of other features than these."""
        if read_manifest(folder, stage).facts.get("features_sha256") != self.manifest.sha256:
            raise ArtifactError(f"{folder} is not of the present {self.folder}; run: dvc repro {stage}")

    @property
    def M(self) -> int:
        """Latents of the SAE, the dead ones too."""
        return cast(int, self.manifest.facts["M"])

    @property
    def trained_kinds(self) -> frozenset[int]:
        """The kinds of tokens that the SAE was trained on: a latent fires on no others."""
        names = cast(list[str], cast(Json, self.manifest.settings["train"])["kinds"])
        return frozenset(KIND_NAMES.index(name) for name in names)

    def count(self, what: str, split: Split) -> int:
        """Return the number of `examples`, `windows` or `tokens` (of the trained kinds) of a split."""
        return cast(int, cast(Json, self.manifest.facts[split])[what])

    @cached_property
    def latents(self) -> pd.DataFrame:
        """A row per living latent, by its number."""
        return self.table("latents").set_index("latent")

    def table(self, name: str) -> pd.DataFrame:
        """Read one table whole."""
        return read_features_table(self.folder, name).to_pandas()

    def windows(self, latent: int, split: Split, sample: Sample) -> list[Shown]:
        """Return the windows kept for a latent, those in which it is strongest first."""
        return [
            self._shown(row, sample)
            for row in self._windows(latent)
            if (row["split"], row["sample"]) == (split, sample)
        ]

    def pooled_examples(self, split: Split) -> pd.DataFrame:
        """Return the `example` (its index in data/prepared, rising) and `label` of each example that is pooled.

        A label that is missing is pandas' missing value and not None: ask `isna`.
        """
        return read_features_table(self.folder, "examples", split=split).select(["example", "label"]).to_pandas()

    def pooled(self, split: Split) -> sp.csr_array:
        """Return each pooled example's largest activation of each latent, over its tokens of the trained kinds.

        Shape: (pooled examples, M), float32, in the order of `pooled_examples`; 0 where a latent does not fire.
        """
        table = read_features_table(self.folder, "pooled", split=split)
        example, latent, activation = (table[name].to_numpy() for name in ("example", "latent", "activation"))
        examples = self.pooled_examples(split)["example"].to_numpy()
        place = np.searchsorted(examples, example)
        return sp.csr_array((activation, (place, latent)), shape=(len(examples), self.M), dtype=np.float32)

    def _windows(self, latent: int) -> list[dict]:
        if latent not in self._seen:
            self._seen[latent] = read_features_table(self.folder, "windows", latent=latent).to_pylist()
        return self._seen[latent]

    @cached_property
    def _seen(self) -> dict[int, list[dict]]:
        return {}

    @cached_property
    def _texts(self) -> pa.Table:
        return read_features_table(self.folder, "texts")

    @cached_property
    def _read(self) -> dict[int, Window]:
        return {}

    def _window(self, number: int) -> Window:
        """Return a window by its row in the table of texts; one object, however many latents keep it."""
        if number not in self._read:
            row = self._texts.slice(number, 1).to_pylist()[0]
            place = row["split"], row["example"], row["start"]
            self._read[number] = Window(*place, tuple(row["tokens"]), tuple(row["kinds"]), row["label"])
        return self._read[number]

    def _shown(self, row: dict, sample: Sample) -> Shown:
        return Shown(self._window(row["window"]), tuple(row["activations"]), sample, row["decile"], row["weight"])
