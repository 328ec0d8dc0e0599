"""Whether single latents tell the labels of the data, beside what the activations tell without an SAE.

Three ways to tell a label from the rest, each fitted and chosen on validation alone and scored once on test: the best
latent, the best single dimension of the activations, and a linear probe on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from fast_sae.evaluation.pooling import Features
from fast_sae.evaluation.probe import Probe, choose_penalty, folds
from fast_sae.statistics import Interval, auroc, percentile_interval, resampled_auroc


@dataclass(frozen=True)
class LabelScores:
    """How well each label is told."""

    labels: Sequence[str] = ()
    test_examples: Sequence[int] = ()
    """Test examples with each label."""
    latent: Sequence[int] = ()
    """Chosen on validation."""
    latent_validation_auroc: Sequence[float] = ()
    dimension: Sequence[int] = ()
    """Chosen on validation."""
    dimension_by: Sequence[str] = ()
    """How it tells the label, by the same choice: by being high or low at its largest, smallest or mean."""
    probe_penalty: float | None = None
    auroc: dict[str, Float[np.ndarray, "sample label"]] = field(default_factory=dict)
    """Test AUROC by `latent`, `dimension` and `probe`: of the test examples, then of each resample of them."""

    def interval(self, method: str, label: int, confidence: float) -> Interval | None:
        """Return the bootstrap interval of one label's test AUROC."""
        return percentile_interval(self.auroc[method][1:, label], confidence)

    def means(self, method: str) -> Float[np.ndarray, " sample"]:
        """Return the mean over labels, of test and of each resample; labels that one lacks are left out of it."""
        known = ~np.isnan(self.auroc[method])
        with np.errstate(invalid="ignore"):
            return np.where(known, self.auroc[method], 0).sum(1) / known.sum(1)


def score_labels(
    validation: Features, test: Features, counts: UInt8[np.ndarray, "sample test_example"], seed: int
) -> LabelScores:
    """Choose on validation what tells each label from the rest, and score it on test.

    Args:
        validation: What chooses.
        test: What is scored.
        counts: How often each resample holds each test example.
        seed: Deals the folds that choose the probe's penalty.

    Labels that one of the splits does not hold are not scored, but their examples count against the others.
    """
    labels = sorted({*validation.labels.tolist()} & {*test.labels.tolist()})
    if len(labels) < 2:
        return LabelScores()
    positive, of_test = (features.labels == np.array(labels)[:, None] for features in (validation, test))
    latent, latent_auroc = _best(auroc(validation.latents, positive))
    dimension, by, sign = _best_dimension(validation, positive)
    penalty = choose_penalty(validation.mean, positive, folds(validation.labels.tolist(), seed))
    scores = {
        "latent": test.latents[:, latent],
        "dimension": test.dimensions[:, dimension] * sign,
        "probe": Probe(validation.mean, positive, penalty).scores(test.mean),
    }
    return LabelScores(
        labels=labels,
        test_examples=of_test.sum(1).tolist(),
        latent=latent.tolist(),
        latent_validation_auroc=latent_auroc.tolist(),
        dimension=(dimension % test.mean.shape[1]).tolist(),
        dimension_by=by,
        probe_penalty=penalty,
        auroc={name: _resampled(values, of_test, counts) for name, values in scores.items()},
    )


def _best(found: Float[np.ndarray, "label feature"]) -> tuple[Int64[np.ndarray, " label"], Float[np.ndarray, " label"]]:
    best = found.argmax(1)
    return best, found[np.arange(len(best)), best]


def _best_dimension(
    validation: Features, positive: Bool[np.ndarray, "label example"]
) -> tuple[Int64[np.ndarray, " label"], list[str], Float[np.ndarray, " label"]]:
    """Choose the dimension that tells each label best, by being high or by being low: max(AUROC, 1 − AUROC)."""
    found, d_in = auroc(validation.dimensions, positive), validation.mean.shape[1]
    best, _ = _best(np.maximum(found, 1 - found))
    high = found[np.arange(len(best)), best] >= 0.5
    pools = ["max", "min"] if validation.dimensions.shape[1] > d_in else ["mean"]
    told = [pools[i // d_in] for i in best]
    by = [f"{'high' if up != (pool == 'min') else 'low'} {pool}" for up, pool in zip(high, told, strict=True)]
    return best, by, np.where(high, 1.0, -1.0)


def _resampled(
    scores: Float[np.ndarray, "example label"],
    positive: Bool[np.ndarray, "label example"],
    counts: UInt8[np.ndarray, "resample example"],
) -> Float[np.ndarray, "resample label"]:
    columns = [resampled_auroc(score, of_label, counts) for score, of_label in zip(scores.T, positive, strict=True)]
    return np.stack(columns, 1)
