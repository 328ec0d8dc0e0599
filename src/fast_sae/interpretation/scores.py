"""How well answers agree with a latent: over windows as they were drawn, and over the population they stand for.

With weights w (windows that one stands for), truth t (the latent fires) and answer a, both 0 or 1, and the sums over
windows TP = Σ w·t·a, FP = Σ w·(1−t)·a, FN = Σ w·t·(1−a), TN = Σ w·(1−t)·(1−a):

    precision = TP / (TP + FP)              recall = TP / (TP + FN)
    F1 = 2 TP / (2 TP + FP + FN)            balanced accuracy = (TP / (TP + FN) + TN / (TN + FP)) / 2
    correlation = Pearson's, of the answer with the latent's largest activation in the window, weighted by w

Each sum is unbiased, w being one over the chance that the window is drawn (Horvitz & Thompson 1952); the ratios are
consistent. With w = 1 they are those of the sample as drawn, in which firing windows are far more frequent than in
the data: what HypotheSAEs and delphi report.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from fast_sae.evaluation.figures import Figures, with_bounds
from fast_sae.statistics import percentile_interval, resampled_sums, weighted_correlation

DETECTION = ("precision", "recall", "f1", "balanced_accuracy", "correlation")
FUZZING = ("balanced_accuracy", "f1")


def detection_scores(
    fires: Bool[np.ndarray, " window"],
    answer: Bool[np.ndarray, " window"],
    activation: Float[np.ndarray, " window"],
    weight: Float[np.ndarray, " window"],
) -> dict[str, float | None]:
    """Score answers as the module says; None where a denominator is 0, and all None if there are no windows."""
    said_yes, said_no = (np.array([weight[a & t].sum() for t in (fires, ~fires)]) for a in (answer, ~answer))
    (true_yes, false_yes), (false_no, true_no) = said_yes, said_no
    recall, specificity = _ratio(true_yes, true_yes + false_no), _ratio(true_no, true_no + false_yes)
    return {
        "precision": _ratio(true_yes, true_yes + false_yes),
        "recall": recall,
        "f1": _ratio(2 * true_yes, 2 * true_yes + false_yes + false_no),
        "balanced_accuracy": None if recall is None or specificity is None else (recall + specificity) / 2,
        "correlation": weighted_correlation(answer.astype(np.float64), activation, weight),
    }


def fuzzing_scores(active: Bool[np.ndarray, " window"], answer: Bool[np.ndarray, " window"]) -> dict[str, float | None]:
    """Score answers to marked windows, each counting once."""
    ones = np.ones(len(active))
    found = detection_scores(active, answer, active.astype(np.float64), ones)
    return {f"fuzzing_{name}": found[name] for name in FUZZING}


def mean_over_latents(
    name: str, values: Float[np.ndarray, " latent"], counts: UInt8[np.ndarray, "sample latent"], confidence: float
) -> Figures:
    """Return the mean over the latents that have a value, and its bootstrap interval by latent.

    Args:
        name: Of the figure.
        values: A score of each latent, NaN if it has none.
        counts: How often each resample holds each latent; the latents themselves first.
        confidence: Share of the resamples that the interval holds.
    """
    known = ~np.isnan(values)
    if not known.any():
        return with_bounds(name, None, None)
    sums = resampled_sums(counts[:, known], np.stack([values[known], np.ones(known.sum())], 1))
    with np.errstate(invalid="ignore"):
        means = sums[:, 0] / sums[:, 1]  # NaN in a resample that holds no latent with a value
    return with_bounds(name, float(means[0]), percentile_interval(means[1:], confidence))


def _ratio(over: float, under: float) -> float | None:
    return float(over / under) if under else None
