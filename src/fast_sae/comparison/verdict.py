"""Where one of two ways of training is better, as far as a few seeds can tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fast_sae.comparison.collect import Result, seed_pairs
from fast_sae.comparison.intervals import Interval, paired_difference, t_interval
from fast_sae.comparison.measures import L0, MEASURES, ROWS, Measure
from fast_sae.comparison.plan import Plan
from fast_sae.errors import UserError

TOLERANCE = 0.05
"""An L0 further from its target, or from the other's, makes a comparison at matched sparsity impossible."""


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

    @property
    def verdict(self) -> Verdict:
        """Judge by the interval alone: it must lie wholly on one side of 0, at matched L0."""
        sign = self.difference.sign
        if not sign:
            return Verdict.EQUAL if self.difference.low == self.difference.high == 0 else Verdict.OPEN
        if not self.matched:
            return Verdict.UNMATCHED
        return Verdict.FIRST if (sign > 0) == (self.measure.better == "higher") else Verdict.SECOND


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
    sparsity = Sparsity(one[L0], two[L0], here[0].target_l0)
    comparisons = [
        Comparison(model, architecture, measure, one[measure.key], two[measure.key], difference, sparsity.matched)
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
