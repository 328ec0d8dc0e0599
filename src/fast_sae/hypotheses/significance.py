"""Whether a hypothesis holds on test: an effect with its interval, a p-value, and the correction for many of them.

    separation    mean target of the texts that have the concept − mean of those that have not (HypotheSAEs)
    label         AUROC of the annotation; p of Fisher's exact test, two-sided (Fisher 1935)
    number        Pearson correlation; p of the U test, two-sided (Mann & Whitney 1947): no shape of the numbers assumed

Differs from HypotheSAEs, which takes Student's t-test for either target, and counts as significant by the p-value of a
coefficient among those of all hypotheses: what one adds to the others, which is not defined where two agree.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8, UInt8
from scipy.stats import false_discovery_control, fisher_exact, mannwhitneyu

from fast_sae.hypotheses.annotations import UNANSWERED
from fast_sae.hypotheses.settings import Correction
from fast_sae.statistics import Interval, auroc, percentile_interval, resampled_sums


@dataclass(frozen=True)
class Tested:
    """One hypothesis on the annotated texts of test."""

    texts: int
    """Texts with an answer; nothing else here counts the others."""
    unanswered: int
    having: int
    """Texts that have the concept."""
    separation: float | None
    """None if all texts have the concept, or none has."""
    interval: Interval | None
    auroc: float | None
    """For a label."""
    correlation: float | None
    """For a number."""
    p: float | None
    """1 where nothing can be told apart; None where nothing was answered, so that there was no test."""


def score_hypothesis(
    has: Int8[np.ndarray, " text"],
    target: Float64[np.ndarray, " text"],
    counts: UInt8[np.ndarray, "sample text"],
    *,
    is_label: bool,
    confidence: float,
) -> Tested:
    """Test one hypothesis.

    Args:
        has: Annotations: 1, 0, or `UNANSWERED`.
        target: What is predicted.
        counts: How often each resample holds each text; the texts themselves first.
        is_label: Whether the target is 1 or 0.
        confidence: Share of the resamples that the interval holds.
    """
    answered = has != UNANSWERED
    yes, y = has[answered] == 1, target[answered]
    separations = _separations(has, target, counts)
    known = answered.any() and not np.isnan(separations[0])
    return Tested(
        texts=int(answered.sum()),
        unanswered=int((~answered).sum()),
        having=int(yes.sum()),
        separation=float(separations[0]) if known else None,
        interval=percentile_interval(separations[1:], confidence) if known else None,
        auroc=_number(auroc(yes[:, None].astype(np.float64), y[None] > 0)[0, 0]) if is_label and len(y) else None,
        correlation=None if is_label else _correlation(yes.astype(np.float64), y),
        p=p_value(has, target, is_label=is_label),
    )


def p_value(has: Int8[np.ndarray, " text"], target: Float64[np.ndarray, " text"], *, is_label: bool) -> float | None:
    """Test, two-sided, whether the target goes with the annotation; see the module."""
    answered = has != UNANSWERED
    if not answered.any():
        return None
    yes, y = has[answered] == 1, target[answered]
    if yes.all() or not yes.any() or np.ptp(y) == 0:
        return 1.0
    if is_label:
        table = [[int((side & (y == value)).sum()) for value in (1, 0)] for side in (yes, ~yes)]
        return float(fisher_exact(table).pvalue)  # pyright: ignore[reportAttributeAccessIssue]
    return float(mannwhitneyu(y[yes], y[~yes])[1])


def corrected(p: Float64[np.ndarray, " test"], correction: Correction) -> Float64[np.ndarray, " test"]:
    """Correct for as many tests: compared with alpha, each of these holds what its procedure promises.

    Bonferroni; Holm (1979), never less powerful; Benjamini & Hochberg (1995), of false discoveries.

    >>> corrected(np.array([0.01, 0.04, 0.03]), "holm")
    array([0.03, 0.06, 0.06])
    """
    return _CORRECTIONS[correction](p) if len(p) else p


def permuted_share(
    has: Int8[np.ndarray, "text hypothesis"],
    target: Float64[np.ndarray, "text hypothesis"],
    *,
    is_label: bool,
    alpha: float,
    permutations: int,
    seed: int,
) -> float | None:
    """Return the share of tests with p ≤ alpha, uncorrected, when the texts' targets are shuffled among them.

    At most about alpha if the tests keep their level; below it, since Fisher's test is exact and counts are whole.
    """
    generator = np.random.default_rng(seed)
    p = []
    for _ in range(permutations):
        shuffled = target[generator.permutation(len(target))]
        p += [p_value(of, y, is_label=is_label) for of, y in zip(has.T, shuffled.T, strict=True)]
    made = [one for one in p if one is not None]
    return sum(one <= alpha for one in made) / len(made) if made else None


def _separations(
    has: Int8[np.ndarray, " text"], target: Float64[np.ndarray, " text"], counts: UInt8[np.ndarray, "sample text"]
) -> Float64[np.ndarray, " sample"]:
    sides = [(has == value).astype(np.float64) for value in (1, 0)]
    columns = np.stack([column for side in sides for column in (side * target, side)], 1)
    with_it, n_with, without, n_without = resampled_sums(counts, columns).T
    with np.errstate(invalid="ignore"):
        return with_it / n_with - without / n_without


def _correlation(x: Float64[np.ndarray, " text"], y: Float64[np.ndarray, " text"]) -> float | None:
    if not len(x) or not np.ptp(x) or not np.ptp(y):
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _holm(p: Float64[np.ndarray, " test"]) -> Float64[np.ndarray, " test"]:
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    raised = np.empty_like(p)
    raised[order] = np.minimum(stepped, 1)
    return raised


def _bonferroni(p: Float64[np.ndarray, " test"]) -> Float64[np.ndarray, " test"]:
    return np.minimum(p * len(p), 1)


def _benjamini_hochberg(p: Float64[np.ndarray, " test"]) -> Float64[np.ndarray, " test"]:
    return np.asarray(false_discovery_control(p, method="bh"))


_CORRECTIONS: dict[Correction, Callable[[Float64[np.ndarray, " test"]], Float64[np.ndarray, " test"]]] = {
    "holm": _holm,
    "bonferroni": _bonferroni,
    "benjamini_hochberg": _benjamini_hochberg,
}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
