"""Where one of two ways of training is better, as far as a few seeds can tell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fast_sae.comparison.collect import Result, seed_pairs
from fast_sae.comparison.intervals import Interval, paired_difference, t_interval
from fast_sae.comparison.measures import L0, MEASURES, ROWS, VARYING_L0, Measure
from fast_sae.comparison.plan import Plan
from fast_sae.errors import UserError

TOLERANCE = 0.05
"""An L0 further from its target, or from the other's, makes a comparison at matched sparsity impossible."""
ELASTICITY = 1.0
"""Percent of an error that one percent of L0 may take away: twice the largest |d log FVU / d log L0| that was measured
on the default's SAE (0.49, from K = 6 to 7)."""


class Verdict(StrEnum):
    """What a difference says."""

    FIRST = "the first is better"
    SECOND = "the second is better"
    EQUAL = "no difference"
    OPEN = "nothing can be said"
    UNMATCHED = "L0 is not matched"


@dataclass(frozen=True)
class Sparsity:
    """The L0 of one model and architecture under both packings, by seed."""

    first: Mapping[str, float]
    second: Mapping[str, float]
    target: float
    varying: tuple[Mapping[str, float], Mapping[str, float]] | None
    """The two without constant rows; None where they were not measured."""

    @property
    def gap(self) -> float:
        """The L0 gap, log(mean of the first / mean of the second)."""
        return _log_ratio(self.first, self.second)

    @property
    def varying_gap(self) -> float | None:
        """The same without constant rows."""
        return _log_ratio(*self.varying) if self.varying else None

    def gap_of(self, measure: Measure) -> float:
        """Return the gap over the rows that a measure is of; over all, where it was not measured over those."""
        own = self.varying_gap if measure.l0 == VARYING_L0 else None
        return self.gap if own is None else own

    @property
    def furthest(self) -> float:
        """Largest distance of a run from the target, as a share of it."""
        return max(abs(l0 / self.target - 1) for l0 in [*self.first.values(), *self.second.values()])

    @property
    def apart(self) -> float:
        """Distance of the two means, as a share of the second."""
        second = t_interval(list(self.second.values())).mean
        return abs(t_interval(list(self.first.values())).mean - second) / second if second else float("inf")

    @property
    def matched(self) -> bool:
        """Whether all runs are near the target, and the two packings near each other."""
        return max(self.furthest, self.apart) <= TOLERANCE


@dataclass(frozen=True)
class Comparison:
    """One measure of one model and architecture under both packings."""

    model: str
    architecture: str
    measure: Measure
    first: Mapping[str, float]
    """By seed, or by pair of seeds."""
    second: Mapping[str, float]
    difference: Interval
    """First minus second, paired by seed."""
    matched: bool
    """Whether L0 is."""
    l0_gap: float
    """log(mean L0 of the first / mean L0 of the second), over the rows that the measure is of."""

    @property
    def verdict(self) -> Verdict:
        """Judge by the interval: it must lie wholly on one side of 0, at matched L0, less what the L0 gap explains."""
        if self.measure.of_seed_pairs:
            return Verdict.OPEN
        sign = self.difference.sign
        if not sign:
            return Verdict.EQUAL if self.difference.low == self.difference.high == 0 else Verdict.OPEN
        if not self.matched:
            return Verdict.UNMATCHED
        if self.explained_by_l0:
            return Verdict.OPEN
        return Verdict.FIRST if self._first_leads else Verdict.SECOND

    @property
    def explained_by_l0(self) -> bool:
        """Whether a lead that the interval shows, at matched L0, may be the higher L0 of the one that leads.

        The interval is shifted towards the other one by gap · `ELASTICITY` · |mean of the other| (of a base-2 logarithm
        by gap · `ELASTICITY` / ln 2), where the gap is in the leader's favour, and must still exclude 0.
        """
        sign, low, high = self.difference.sign, self.difference.low, self.difference.high
        if not sign or not self.matched or self.measure.of_seed_pairs or low is None or high is None:
            return False
        gap = max(0.0, self.l0_gap if self._first_leads else -self.l0_gap)
        behind = list((self.second if self._first_leads else self.first).values())
        scale = 1 / math.log(2) if self.measure.logarithm else abs(t_interval(behind).mean)
        return not (low if sign > 0 else -high) > gap * ELASTICITY * scale  # of nan, too

    @property
    def _first_leads(self) -> bool:
        return (self.difference.mean > 0) == (self.measure.better == "higher")


@dataclass(frozen=True)
class Cell:
    """One model with one architecture."""

    model: str
    architecture: str
    sparsity: Sparsity
    comparisons: Sequence[Comparison]


def compare(plan: Plan, results: Sequence[Result]) -> list[Cell]:
    """Compare the two packings of a plan; a measure that no run has is left out.

    Raises:
        UserError: if the packings are scored on different test tokens.
    """
    return [_cell(plan, results, model, architecture) for model, architecture in plan.cells()]


def _cell(plan: Plan, results: Sequence[Result], model: str, architecture: str) -> Cell:
    here = [result for result in results if (result.run.model, result.run.architecture) == (model, architecture)]
    scored = sorted({result.metrics[ROWS] for result in here if ROWS in result.metrics})
    if len(scored) > 1:
        told = " and ".join(f"{rows:,.0f}" for rows in scored)
        raise UserError(
            f"{model}, {architecture}: the runs are scored on {told} test tokens, and their scores cannot be compared; "
            "let the packings of the plan differ only in how training is fed"
        )
    first, second = ([r for r in here if r.run.packing == packing] for packing in plan.packings)
    one, two = _samples(first), _samples(second)
    varying = (one[VARYING_L0], two[VARYING_L0]) if VARYING_L0 in one and VARYING_L0 in two else None
    sparsity = Sparsity(one[L0], two[L0], here[0].target_l0, varying)
    comparisons = [
        Comparison(
            model,
            architecture,
            measure,
            one[measure.key],
            two[measure.key],
            difference,
            sparsity.matched,
            sparsity.gap_of(measure),
        )
        for measure in MEASURES
        if (difference := paired_difference(one.get(measure.key, {}), two.get(measure.key, {})))
    ]
    return Cell(model, architecture, sparsity, comparisons)


def _samples(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Gather values by measure, and by seed or pair of seeds."""
    found: dict[str, dict[str, float]] = {}
    by_seed = ((str(result.run.seed), result.metrics) for result in results)
    for label, values in (*by_seed, *seed_pairs(results)):
        for key, value in values.items():
            found.setdefault(key, {})[label] = value
    return found


def _log_ratio(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Return log(mean first / mean second): infinite where one of the two is 0, and 0 where both are."""
    one, two = (t_interval(list(values.values())).mean for values in (first, second))
    if one <= 0 or two <= 0:
        return 0.0 if one == two else math.copysign(math.inf, one - two)
    return math.log(one / two)
