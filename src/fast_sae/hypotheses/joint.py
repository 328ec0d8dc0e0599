"""All hypotheses of a target in one model, fitted on validation and scored on test; and the latents themselves.

    label     logistic regression on the annotations, AUROC
    number    least squares, R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)², below 0 where the mean predicts better

Differs from HypotheSAEs, which fits on the texts that it scores: its AUROC and R² rise with every hypothesis, true or
not. They stand beside ours as `in_sample`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, UInt8

from fast_sae.evaluation.probe import Probe
from fast_sae.statistics import auroc, resampled_auroc, resampled_sums

_PENALTY = 1e-3
"""L2, of the mean log-loss over standardised annotations: it keeps weights finite where hypotheses tell a label without
a mistake, and hardly moves those of a few columns."""


@dataclass(frozen=True)
class Joint:
    """How well one model predicts one target."""

    columns: int
    texts: int
    """Of test, with all annotations."""
    test: Float64[np.ndarray, " sample"]
    """AUROC or R² on test, then on each resample of it; NaN where it has no value."""
    in_sample: float
    """Fitted on test itself, as HypotheSAEs does."""


def score_jointly(
    fitted: tuple[Float[np.ndarray, "validation_text column"], Float64[np.ndarray, " validation_text"]],
    scored: tuple[Float[np.ndarray, "test_text column"], Float64[np.ndarray, " test_text"]],
    counts: UInt8[np.ndarray, "sample test_text"],
    *,
    is_label: bool,
) -> Joint | None:
    """Fit on one set of texts and score on another; None where there is nothing to fit or to score.

    Args:
        fitted: Annotations or activations of validation, and the target.
        scored: The same of test.
        counts: How often each resample holds each text of test; the texts themselves first.
        is_label: Whether the target is 1 or 0.
    """
    (x, y), (test_x, test_y) = fitted, scored
    if not x.shape[1] or any(len(side) == 0 or np.ptp(side) == 0 for side in (y, test_y)):
        return None
    found = [_predict(a, b, test_x, is_label=is_label) for a, b in ((x, y), (test_x, test_y))]
    if is_label:
        test = resampled_auroc(found[0], test_y > 0, counts)
        in_sample = float(auroc(found[1][:, None], test_y[None] > 0)[0, 0])
    else:
        test, (in_sample, *_) = _r2(found[0], test_y, counts), _r2(found[1], test_y, counts[:1])
    return Joint(x.shape[1], len(test_y), test, float(in_sample))


def _predict(
    x: Float[np.ndarray, "text column"],
    y: Float64[np.ndarray, " text"],
    test_x: Float[np.ndarray, "test_text column"],
    *,
    is_label: bool,
) -> Float64[np.ndarray, " test_text"]:
    """Return log-odds or numbers, to 10 digits, so that the last ones of a processor make no tie and break none."""
    if is_label:
        return np.round(Probe(x, y[None] > 0, _PENALTY).scores(test_x)[:, 0], 10)
    mean = x.mean(0, dtype=np.float64)
    weights, *_ = np.linalg.lstsq(x - mean, y - y.mean(), rcond=1e-9)
    return (test_x - mean) @ weights + y.mean()


def _r2(
    predicted: Float64[np.ndarray, " text"], y: Float64[np.ndarray, " text"], counts: UInt8[np.ndarray, "sample text"]
) -> Float64[np.ndarray, " sample"]:
    centred = y - y.mean()
    columns = np.stack([(y - predicted) ** 2, centred**2, centred, np.ones(len(y))], 1)
    error, square, total, n = resampled_sums(counts, columns).T
    spread = square - total**2 / n
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 1e-12 * square.max(), 1 - error / spread, np.nan)
