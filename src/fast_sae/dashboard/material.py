"""All that the page is made of, read and known to belong together."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float

from fast_sae.artifacts import Json
from fast_sae.dashboard.figures import Figures
from fast_sae.dashboard.names import Names
from fast_sae.features.store import FeatureStore
from fast_sae.features.tables import read_features_table

SPLIT = "test"
"""Where all windows come from: names were read off validation, so that here they can be doubted."""


@dataclass(frozen=True)
class Material:
    """What the stages have found."""

    store: FeatureStore
    W_dec: Float[np.ndarray, "M d_in"]
    names: Names
    steered: Mapping[int, Json]
    figures: Figures

    @cached_property
    def latents(self) -> pd.DataFrame:
        """A row per living latent, by its number, rising."""
        return self.store.latents

    @cached_property
    def texts(self) -> pa.Table:
        """The texts of all windows, by their row."""
        return read_features_table(self.store.folder, "texts")

    @cached_property
    def label_numbers(self) -> dict[str, int]:
        """The number that the page gives each label."""
        found = (
            self.texts["label"],
            *(read_features_table(self.store.folder, of)["label"] for of in ("labels", "examples")),
        )
        labels = {label for column in found for label in column.unique().to_pylist() if label is not None}
        return {label: number for number, label in enumerate(sorted(labels))}

    def label_number(self, label: object) -> int:
        """Return a label's number; -1 where there is none."""
        return self.label_numbers.get(label, -1) if isinstance(label, str) else -1
