"""Whether single latents tell the labels of the data: the best latent's AUROC for each label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Integer

from fast_sae.statistics import auroc


class PooledLatents:
    """One value per example and latent, over the rows of the example."""

    def __init__(self, n_examples: int, n_latents: int, pooling: Literal["max", "mean"], limit: int) -> None:
        """Pool the first `limit` of `n_examples` examples."""
        self._values = np.zeros((min(n_examples, limit), n_latents), np.float32)
        self._rows = np.zeros((len(self._values), 1), np.float32)
        self._combine = np.maximum if pooling == "max" else np.add
        self._divide = pooling == "mean"

    def add(self, example: Integer[np.ndarray, " row"], latents: Float[np.ndarray, "row M"]) -> None:
        """Take some rows in the order of their examples; an example's rows may come in several calls."""
        n = int(np.searchsorted(example, len(self._values)))
        if n == 0:
            return
        examples, starts, counts = np.unique(example[:n], return_index=True, return_counts=True)
        pooled = self._combine.reduceat(latents[:n], starts, axis=0)
        self._values[examples] = self._combine(self._values[examples], pooled)
        self._rows[examples, 0] += counts

    def result(self) -> Float[np.ndarray, "example M"]:
        """Return the pooled latents; 0 for an example without rows."""
        return self._values / np.maximum(self._rows, 1) if self._divide else self._values


@dataclass(frozen=True)
class LabelScore:
    """The latent that tells one label best."""

    label: str
    latent: int
    """Chosen on validation."""
    validation_auroc: float
    test_auroc: float
    test_examples: int
    """Test examples with this label."""


def score_labels(
    validation: Float[np.ndarray, "validation_example M"],
    validation_labels: Sequence[str | None],
    test: Float[np.ndarray, "test_example M"],
    test_labels: Sequence[str | None],
) -> list[LabelScore]:
    """Choose for each label the latent with the highest AUROC on validation, and score it on test.

    The pooled latents may be those of the first examples only. Examples without a label are left out; so are labels
    that one of the splits does not hold.
    """
    validation_labels, test_labels = validation_labels[: len(validation)], test_labels[: len(test)]
    labels = sorted({*validation_labels} & {*test_labels} - {None}, key=str)
    if len(labels) < 2:
        return []
    chosen_on = _auroc(validation, validation_labels, labels)
    scored_on = _auroc(test, test_labels, labels)
    best = chosen_on.argmax(1)
    return [
        LabelScore(
            label=str(label),
            latent=int(latent),
            validation_auroc=float(chosen_on[i, latent]),
            test_auroc=float(scored_on[i, latent]),
            test_examples=sum(other == label for other in test_labels),
        )
        for i, (label, latent) in enumerate(zip(labels, best, strict=True))
    ]


def _auroc(
    pooled: Float[np.ndarray, "example M"], labels: Sequence[str | None], wanted: Sequence[str | None]
) -> Float[np.ndarray, "label M"]:
    labelled: Bool[np.ndarray, " example"] = np.array([label is not None for label in labels])
    names = np.array([label for label in labels if label is not None])
    return auroc(pooled[labelled], np.stack([names == label for label in wanted]))
