"""The public face: an SAE and its features in a few lines of a notebook, with the paths of this repository as defaults.

    sae, features = load_sae(), load_features()
    features.table                   # a row per latent: name, label, AUROC, density
    features[17]                     # all about one
    features.search("shape")
    rows = load_activations("test")
    latents = sae.encode(rows.x)

Paths may be given; those that are not lie in the repository that the current folder is in.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from fast_sae.activations.settings import STAGE as EXTRACTION
from fast_sae.activations.source import Rows
from fast_sae.activations.split import open_folder
from fast_sae.activations.stored.source import StoredActivations
from fast_sae.artifacts import Json, read_manifest
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.chat.splits import Split
from fast_sae.errors import ArtifactError, UserError
from fast_sae.features.latent import Feature
from fast_sae.features.store import FeatureStore
from fast_sae.features.tables import STAGE as FEATURES
from fast_sae.features.tables import read_features_table
from fast_sae.rows import read_rows, reading
from fast_sae.sae import checkpoint
from fast_sae.sae.base import SparseAutoencoder

__all__ = ["Activations", "Feature", "Features", "SparseAutoencoder", "load_activations", "load_features", "load_sae"]

_PORTION = 65536
"""Rows read at once."""


def load_sae(folder: Path | str | None = None) -> SparseAutoencoder:
    """Load an SAE to look at: `encode` takes activations (rows, d_in), `decode` takes latents (rows, M).

    Args:
        folder: Of an SAE; default: models/sae.

    Returns:
        The SAE, in float32 on the CPU, without gradients.

    Raises:
        ArtifactError: if it is missing or damaged.
    """
    return checkpoint.load_sae(_path(folder, "models/sae")).requires_grad_(False)


def load_features(
    folder: Path | str | None = None, *, interpretations: Path | str | None = None, sae: Path | str | None = None
) -> "Features":
    """Open what is known of each latent.

    Args:
        folder: Of `collect_features`; default: data/features.
        interpretations: Of `interpret_sae`, for names; default: data/interpretations, if it is there.
        sae: Of the SAE that they must be of; default: models/sae, if it is there.

    Raises:
        ArtifactError: if features are missing or of another SAE, or names are of other features.
    """
    place = _path(folder, "data/features")
    store = FeatureStore(place, read_manifest(place, FEATURES))
    weights = _path(sae, "models/sae")
    if sae is not None or (weights / checkpoint.WEIGHTS).exists():
        store.require_sae(checkpoint.sae_sha256(weights))
    named = _path(interpretations, "data/interpretations")
    if interpretations is None and not named.exists():
        return Features(store, pd.DataFrame(columns=["name", "score"]))
    return Features(store, _read_names(named, store))


def load_activations(
    split: Split = "test",
    *,
    rows: int | None = None,
    folder: Path | str | None = None,
    sae: Path | str | None = None,
) -> "Activations":
    """Read stored activations of the layer that an SAE reads.

    Args:
        split: train, validation or test.
        rows: Read no more than the first so many; None for all.
        folder: Of `extract_activations`; default: data/activations.
        sae: Of the SAE; default: models/sae.

    Raises:
        ArtifactError: if they are missing, not stored, or not those that the SAE was trained on.
    """
    made = read_manifest(_path(sae, "models/sae"), checkpoint.STAGE).settings
    layer = cast(int, cast(Json, made["sae"])["layer"])
    expected = {section: made[section] for section in ("model", "extract")}
    opened = open_folder(_path(folder, "data/activations"), layer, split, expected)
    if not opened.facts.stored:
        raise ArtifactError(
            f"{opened.path} holds no activations; name {split} in extract.store, then run: dvc repro {EXTRACTION}"
        )
    return Activations.of(_first(StoredActivations(opened), rows))


@dataclass(frozen=True)
class Activations:
    """Activations, and what each row is."""

    x: Float[Tensor, "row d_in"]
    """In float32, as `load_sae().encode` takes them."""
    tokens: pd.DataFrame
    """A row for each row of `x`: `example` (its index within the split), `position`, `token_id`, `kind`."""

    @classmethod
    def of(cls, rows: Rows) -> "Activations":
        """Make them of rows as they are stored."""
        tokens = {name: getattr(rows, name) for name in ("example", "position", "token_id")}
        kinds = np.array(KIND_NAMES)[rows.kind]
        return cls(torch.from_numpy(rows.activations.astype(np.float32)), pd.DataFrame({**tokens, "kind": kinds}))

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.x)


class Features:
    """The living latents of an SAE: a table of all of them, and each by its number."""

    def __init__(self, store: FeatureStore, names: pd.DataFrame) -> None:
        """Take data/features, and `name` and `score` of the latents that have a name, by their number."""
        self.store = store
        self._names = names

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row per living latent, by its number.

        Columns: `name` and `score` (balanced accuracy of the name on test windows) where it has one; `label`, the one
        it tells best, and its `auroc` on test; `density`, the share of test tokens on which it fires; and its largest
        activation on validation, `max_activation`.
        """
        known = self.store.latents[["best_label", "test_auroc", "test_density", "max_activation"]]
        names = self._names.reindex(known.index).astype({"name": object, "score": float})
        return pd.concat([names, known.set_axis(["label", "auroc", "density", "max_activation"], axis=1)], axis=1)

    def search(self, word: str) -> pd.DataFrame:
        """Return the rows of `table` whose name, label or tokens hold a word, in any case.

        The tokens are those of high lift and the strongest of each top window. `found_in` says which of the three, the
        first that does; what is found in names stands first.
        """
        sought = word.casefold()
        places = {"name": self.table["name"], "label": self.table["label"], "tokens": self._words}
        found = pd.DataFrame({place: _holds(texts, sought) for place, texts in places.items()}, self.table.index)
        hits = self.table.assign(found_in=found.idxmax(axis=1))[found.any(axis=1)]
        return hits.iloc[[i for place in places for i in np.flatnonzero(hits["found_in"] == place)]]

    @cached_property
    def _words(self) -> pd.Series:
        """The tokens of each latent that are searched, a line each."""
        windows = read_features_table(self.store.folder, "windows", sample="top").to_pandas()
        texts = self.store.table("texts").set_index("window")["tokens"]
        peaks = [texts[n][on.argmax()] for n, on in zip(windows["window"], windows["activations"], strict=True)]
        lifted = self.store.table("tokens")[["latent", "token"]]
        words = pd.concat([lifted, pd.DataFrame({"latent": windows["latent"], "token": peaks})])
        lines = {latent: "\n".join(tokens) for latent, tokens in words.groupby("latent")["token"]}
        return pd.Series(lines, dtype=object).reindex(self.table.index)

    def __getitem__(self, latent: int) -> Feature:
        """Return all about one latent.

        Raises:
            UserError: if it does not exist, or is dead.
        """
        if latent not in self.table.index:
            return Feature(self.store, latent)  # which says why not
        name, score = self.table.loc[latent, ["name", "score"]]
        return Feature(
            self.store, int(latent), name if isinstance(name, str) else None, None if np.isnan(score) else score
        )

    def __iter__(self) -> Iterator[Feature]:
        """Go through the living latents by their number."""
        return (self[latent] for latent in self.table.index)

    def __len__(self) -> int:
        """Count the living latents."""
        return len(self.table)

    def __repr__(self) -> str:
        """Say how many there are."""
        return f"{len(self)} living latents of {self.store.M}, {self.table['name'].notna().sum()} of them named"


def _holds(texts: pd.Series, sought: str) -> list[bool]:
    return [isinstance(text, str) and sought in text.casefold() for text in texts]


def _first(source: StoredActivations, rows: int | None) -> Rows:
    taken: list[Rows] = []
    left = len(source.kind) if rows is None else min(rows, len(source.kind))
    for chunk in source.chunks(_PORTION):
        taken.append(Rows(**{name: array[:left] for name, array in vars(chunk).items()}))
        left -= len(taken[-1])
        if left <= 0:
            break
    return Rows(**{name: np.concatenate([vars(part)[name] for part in taken]) for name in vars(taken[0])})


def _read_names(folder: Path, store: FeatureStore) -> pd.DataFrame:
    """Read the names that were found, and refuse those of other features."""
    store.require_made_of(folder, "interpret_sae")
    path = folder / "interpretations.csv"
    with reading(path, "interpret_sae"):
        explained = [row for row in read_rows(path) if row["status"] == "explained"]
        names = [(row["interpretation"], float(row["balanced_accuracy"] or "nan")) for row in explained]
        return pd.DataFrame(names, [int(row["neuron_idx"]) for row in explained], ["name", "score"])


def _path(given: Path | str | None, default: str) -> Path:
    """Return the path given, or the default one in this repository, as seen from the current folder."""
    return _root() / default if given is None else Path(given)


def _root() -> Path:
    """Find the folder of this repository's pipeline, here or above."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").exists() and (folder / "params.yaml").exists():
            return Path(os.path.relpath(folder, here))
    raise UserError("neither this folder nor one above it is the repository; start there, or give the paths")
