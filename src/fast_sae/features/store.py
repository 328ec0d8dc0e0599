"""data/features, read: the windows kept for each latent, what is known of it, and each example's latents."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import scipy.sparse as sp

from fast_sae.artifacts import Json, Manifest, read_manifest
from fast_sae.chat.splits import Split
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

    @property
    def M(self) -> int:
        """Latents of the SAE, the dead ones too."""
        return cast(int, self.manifest.facts["M"])

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
        rows = self._windows.get((latent, split, sample))
        if rows is None:
            return []
        return [self._shown(row, sample) for row in rows]

    def pooled(self, split: Split) -> sp.csr_array:
        """Return each example's largest activation of each latent, over its tokens of the trained kinds.

        Shape: (examples, M), float32; 0 where a latent does not fire.
        """
        table = self.table(f"pooled_{split}")
        shape = (self.count("examples", split), self.M)
        entries = (table["activation"].to_numpy(), (table["example"].to_numpy(), table["latent"].to_numpy()))
        return sp.csr_array(entries, shape=shape, dtype=np.float32)

    @cached_property
    def _windows(self) -> dict[tuple[int, str, str], list[dict]]:
        table = self.table("windows").sort_values("rank", kind="stable")
        groups = table.groupby(["latent", "split", "sample"], sort=False)
        return {key: group.to_dict("records") for key, group in groups}  # pyright: ignore[reportReturnType]

    @cached_property
    def _texts(self) -> dict[int, Window]:
        return {
            row["window"]: Window(
                row["split"], row["example"], row["start"], tuple(row["tokens"]), tuple(row["kinds"]), row["label"]
            )
            for row in read_features_table(self.folder, "texts").to_pylist()
        }

    def _shown(self, row: dict, sample: Sample) -> Shown:
        activations = tuple(float(a) for a in row["activations"])
        return Shown(self._texts[row["window"]], activations, sample, row["decile"], row["weight"])
