"""One value per example and feature: what the label metrics see of an example's rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int64, Integer
from torch import Tensor

from fast_sae.evaluation.settings import EvaluateSettings

Pooling = Literal["max", "mean"]


class Pooled:
    """The largest or mean value of each feature over the rows of each of some examples.

    Each takes 4 bytes; the sums behind means take 8, since float32 would round them wherever a batch ends.
    """

    def __init__(self, examples: Int64[np.ndarray, " pooled"], n_features: int, pooling: Pooling) -> None:
        """Pool the given examples, whose indices rise."""
        self.examples = examples
        self._maximum = pooling == "max"
        start, dtype = (-np.inf, np.float32) if self._maximum else (0, np.float64)
        self._values = np.full((len(examples), n_features), start, dtype)
        self._rows = np.zeros((len(examples), 1), np.int64)

    def add(self, example: Integer[np.ndarray, " row"], features: Float[np.ndarray, "row feature"]) -> None:
        """Take some rows in the order of their examples; an example's rows may come in several calls."""
        wanted = np.isin(example, self.examples)
        if not wanted.any():
            return
        examples, starts, counts = np.unique(example[wanted], return_index=True, return_counts=True)
        place = np.searchsorted(self.examples, examples)
        combine = np.maximum if self._maximum else np.add
        pooled = combine.reduceat(features[wanted].astype(self._values.dtype, copy=False), starts, axis=0)
        self._values[place] = combine(self._values[place], pooled)
        self._rows[place, 0] += counts

    def merge(self, other: "Pooled") -> None:
        """Add another part of the same examples."""
        assert np.array_equal(self.examples, other.examples)
        (np.maximum if self._maximum else np.add)(self._values, other._values, out=self._values)
        self._rows += other._rows

    def result(self) -> Float32[np.ndarray, "pooled feature"]:
        """Return the pooled features; 0 for an example without rows."""
        values = np.empty(self._values.shape, np.float32)
        np.divide(self._values, 1 if self._maximum else np.maximum(self._rows, 1), out=values, casting="same_kind")
        values[self._rows[:, 0] == 0] = 0
        return values


class Pools:
    """The pooled latents, single dimensions and mean activation of a sample of a split's labelled examples."""

    def __init__(self, labels: Sequence[str | None], n_latents: int, d_in: int, settings: EvaluateSettings) -> None:
        """Draw the sample; nothing is pooled yet."""
        examples = sampled_examples(labels, settings.label_examples, settings.seed)
        pooling = settings.label_pooling
        self.labels = np.array([labels[i] for i in examples], str)
        self.latents = Pooled(examples, n_latents, pooling)
        self.dimensions = Pooled(examples, 2 * d_in if pooling == "max" else d_in, pooling)
        self.mean = Pooled(examples, d_in, "mean")
        self._both_ends = pooling == "max"

    def add(
        self, example: Integer[np.ndarray, " row"], x: Float[Tensor, "row d_in"], latents: Float[Tensor, "row M"]
    ) -> None:
        """Take the rows that may tell the label, in the order of their examples."""
        if not len(self.labels) or not len(example):
            return
        activations = x.cpu().numpy()
        self.latents.add(example, latents.cpu().numpy())
        self.dimensions.add(example, np.hstack([activations, -activations]) if self._both_ends else activations)
        self.mean.add(example, activations)

    def merge(self, other: "Pools") -> None:
        """Add another part of the same split."""
        self.latents.merge(other.latents)
        self.dimensions.merge(other.dimensions)
        self.mean.merge(other.mean)

    def result(self) -> "Features":
        """Return what was pooled."""
        return Features(
            self.labels, self.latents.examples, self.latents.result(), self.dimensions.result(), self.mean.result()
        )


@dataclass(frozen=True)
class Features:
    """Labelled examples, and what is known of each."""

    labels: np.ndarray
    """The label of each."""
    examples: Int64[np.ndarray, " example"]
    """Its index in the split."""
    latents: Float[np.ndarray, "example M"]
    """The largest, or mean, of each latent."""
    dimensions: Float[np.ndarray, "example dimension"]
    """The largest of each dimension of x, then of −x; or the mean of each dimension of x."""
    mean: Float[np.ndarray, "example d_in"]
    """The mean activation."""


def sampled_examples(labels: Sequence[str | None], limit: int, seed: int) -> Int64[np.ndarray, " example"]:
    """Draw at most `limit` of the labelled examples; a split keeps the order of the data, which may be by label."""
    labelled = np.array([i for i, label in enumerate(labels) if label is not None], np.int64)
    return np.sort(np.random.default_rng(seed).permutation(labelled)[:limit])
