"""What the latents of a run do on the examples of test, as its data/features tells."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Int
from scipy.stats import rankdata

from fast_sae.artifacts import Json, read_manifest
from fast_sae.comparison.matching import unit_rows
from fast_sae.features.store import FeatureStore
from fast_sae.features.tables import STAGE, read_features_table


@dataclass(frozen=True)
class Behaviour:
    """Features of an SAE's living latents."""

    store: FeatureStore
    latents: pd.DataFrame
    """A row per living latent, by its number, rising."""
    prepared: str
    """Digest of the examples of test."""
    examples: Int[np.ndarray, " example"]
    """The index of each pooled example of test, rising."""
    pooled: Float32[np.ndarray, "alive example"]
    """Each living latent's largest activation in it. Memory: 4 bytes each."""
    top_examples: dict[int, list[int]]
    """The examples of the windows of test kept of each latent, those in which it is strongest first."""
    tokens: dict[int, list[str]]
    """The tokens of the highest lift, the highest first."""


def read_behaviour(folder: Path, sae_sha256: str) -> Behaviour:
    """Read data/features.

    Raises:
        ArtifactError: if it is of another SAE, damaged, or written by code of other tables.
    """
    store = FeatureStore.open(folder, read_manifest(folder, STAGE).settings)
    store.require_sae(sae_sha256)
    latents = store.latents.sort_index()
    return Behaviour(
        store,
        latents,
        str(cast(Json, store.manifest.facts["test"]).get("prepared_sha256")),
        store.pooled_examples("test")["example"].to_numpy(),
        store.pooled("test")[:, latents.index.to_numpy()].toarray().T,
        _top_examples(store),
        _lists(store.table("tokens"), "token"),
    )


def on_same_examples(
    a: Behaviour, b: Behaviour
) -> tuple[Float32[np.ndarray, "A example"], Float32[np.ndarray, "B example"]] | None:
    """Return the pooled activations of the latents of both over the examples that both pooled.

    None if they have not two of them in common: of other examples, an equal index says nothing.
    """
    _, in_a, in_b = np.intersect1d(a.examples, b.examples, return_indices=True)
    if a.prepared != b.prepared or len(in_a) < 2:
        return None
    return a.pooled[:, in_a], b.pooled[:, in_b]


def standardised(pooled: Float32[np.ndarray, "latent example"]) -> Float[np.ndarray, "latent example"]:
    """Centre and scale rows, so that the product of two is their Pearson correlation; zeros where a row is constant.

    >>> standardised(np.array([[0, 3, 3, 0], [2, 2, 2, 2]], np.float32))
    array([[-0.5,  0.5,  0.5, -0.5],
           [ 0. ,  0. ,  0. ,  0. ]])
    """
    rows = pooled.astype(np.float64)
    centred = rows - rows.mean(1, keepdims=True)
    centred[np.ptp(rows, axis=1) == 0] = 0  # what rounding left of a constant
    return unit_rows(centred)


def pair_correlations(
    first: Float[np.ndarray, "pair example"], second: Float[np.ndarray, "pair example"]
) -> Float[np.ndarray, " pair"]:
    """Correlate standardised rows pair by pair; NaN where one of the two does not vary."""
    known = first.any(1) & second.any(1)
    return np.where(known, (first * second).sum(1), np.nan)


def ranked(pooled: Float32[np.ndarray, "latent example"]) -> Float32[np.ndarray, "latent example"]:
    """Replace each activation by its rank in its row, ties by their mean: Pearson's of these is Spearman's."""
    return rankdata(pooled, axis=1).astype(np.float32)


def shared_top(a: list[int], b: list[int]) -> float | None:
    """Return the share of the n strongest examples that two latents have in common, n the shorter list's length.

    >>> shared_top([3, 1, 2, 7], [1, 9, 3])
    0.6666666666666666
    """
    n = min(len(a), len(b))
    return len({*a[:n]} & {*b[:n]}) / n if n else None


def _top_examples(store: FeatureStore) -> dict[int, list[int]]:
    kept = read_features_table(store.folder, "windows", split="test", sample="top")
    examples = read_features_table(store.folder, "texts")["example"].to_numpy()  # a window's number is its row
    table = kept.select(["latent", "rank"]).to_pandas().assign(example=examples[kept["window"].to_numpy()])
    return {latent: [*dict.fromkeys(found)] for latent, found in _lists(table, "example").items()}


def _lists(table: pd.DataFrame, column: str) -> dict[int, list]:
    """List a column by latent, in the order of the rank."""
    ordered = table.sort_values(["latent", "rank"], kind="stable")
    return {int(cast(int, latent)): [*found] for latent, found in ordered.groupby("latent", sort=True)[column]}
