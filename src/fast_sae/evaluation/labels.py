"""Whether single latents tell the labels of the data, beside what the activations tell without an SAE.

Three ways to tell a label from the rest, each fitted and chosen on validation alone and scored once on test: the best
latent, the best single dimension of the activations, and a linear probe on them.
"""

from collections.abc import Sequence, Set
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


@dataclass(frozen=True)
class Chosen:
    """What tells each label best on validation; its features are no longer needed."""

    labels: Sequence[str]
    latent: Int64[np.ndarray, " label"]
    latent_auroc: Float[np.ndarray, " label"]
    """On validation."""
    dimension: Int64[np.ndarray, " label"]
    """Column of `Features.dimensions`."""
    dimension_by: Sequence[str]
    sign: Float[np.ndarray, " label"]
    """−1 for a dimension that tells its label by being low."""
    probe_penalty: float
    probe: Probe

    def score(self, test: Features, counts: UInt8[np.ndarray, "sample test_example"]) -> LabelScores:
        """Score on test what was chosen.

        Args:
            test: What is scored.
            counts: How often each resample holds each test example.
        """
        positive = _positive(test, self.labels)
        scores = {
            "latent": test.latents[:, self.latent],
            "dimension": test.dimensions[:, self.dimension] * self.sign,
            "probe": self.probe.scores(test.mean),
        }
        return LabelScores(
            labels=self.labels,
            test_examples=positive.sum(1).tolist(),
            latent=self.latent.tolist(),
            latent_validation_auroc=self.latent_auroc.tolist(),
            dimension=(self.dimension % test.mean.shape[1]).tolist(),
            dimension_by=self.dimension_by,
            probe_penalty=self.probe_penalty,
            auroc={name: _resampled(values, positive, counts) for name, values in scores.items()},
        )


def choose(validation: Features, of_test: Set[str], seed: int) -> Chosen | None:
    """Choose on validation what tells each label from the rest; None without two labels that both splits hold.

    Args:
        validation: What chooses.
        of_test: Labels of test. Those that one of the splits does not hold are not scored, but their examples count
            against the others.
        seed: Deals the folds that choose the probe's penalty.
    """
    labels = sorted({*validation.labels.tolist()} & of_test)
    if len(labels) < 2:
        return None
    positive = _positive(validation, labels)
    latent, latent_auroc = _best(auroc(validation.latents, positive))
    dimension, by, sign = _best_dimension(validation, positive)
    penalty = choose_penalty(validation.mean, positive, folds(validation.labels.tolist(), seed))
    probe = Probe(validation.mean, positive, penalty)
    return Chosen(labels, latent, latent_auroc, dimension, by, sign, penalty, probe)


def _positive(features: Features, labels: Sequence[str]) -> Bool[np.ndarray, "label example"]:
    return features.labels == np.array(labels)[:, None]


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
