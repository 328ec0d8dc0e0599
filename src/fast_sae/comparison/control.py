"""What becomes of the wins on one model on another, its control."""

from collections.abc import Iterator, Sequence

from fast_sae.comparison.intervals import Interval, paired_difference
from fast_sae.comparison.measures import HEADLINE
from fast_sae.comparison.verdict import Cell, Comparison, Verdict


def told_by_control(cells: Sequence[Cell], packings: Sequence[str], control: str, of: str) -> Iterator[str]:
    """Say which wins of the first packing on a model its control confirms, reverses and leaves open.

    Each with the difference of the two differences: whether two differences differ is no matter of whether one of them
    excludes 0 and the other does not (Gelman & Stern 2006, The American Statistician 60(4)).
    """
    first, second = packings
    there = {(c.architecture, c.measure): c for c in _of(cells, control)}
    won = sorted(
        (c for c in _of(cells, of) if c.verdict == Verdict.FIRST and c.measure in HEADLINE),
        key=lambda c: HEADLINE.index(c.measure),
    )
    if not won:
        yield f"{first} wins nothing on {of}, so that its control {control} has nothing to confirm."
        return
    pairs = [(c, there.get((c.architecture, c.measure))) for c in won]
    kept = [pair for pair in pairs if _verdict(pair[1]) == Verdict.FIRST]
    turned = [pair for pair in pairs if _verdict(pair[1]) == Verdict.SECOND]
    left = [pair for pair in pairs if pair not in kept and pair not in turned]
    yield (
        f"{len(won)} differences speak for {first} on {of}. What its control {control} says of each, and in numbers "
        f"({first} − {second} on {of}) − ({first} − {second} on {control}), paired by seed and in the measure's unit:"
    )
    yield f"Confirmed on {control}: {_list(kept)}."
    yield f"Reversed on {control}: {_list(turned)}."
    yield (
        f"Left open by {control}, or L0 not matched there: {_list(left)}. That a control leaves a difference open does "
        "not show that there is none on it, nor what makes it on the other model."
    )


def difference_of_differences(one: Comparison, other: Comparison) -> Interval | None:
    """Return the interval of (first − second of one) − (first − second of the other), paired by seed."""
    return paired_difference(_by_seed(one), _by_seed(other))


def _by_seed(comparison: Comparison) -> dict[str, float]:
    first, second = comparison.first, comparison.second
    return {seed: value - second[seed] for seed, value in first.items() if seed in second}


def _of(cells: Sequence[Cell], model: str) -> list[Comparison]:
    return [c for cell in cells if cell.model == model for c in cell.comparisons]


def _verdict(comparison: Comparison | None) -> Verdict:
    return comparison.verdict if comparison else Verdict.OPEN


def _list(pairs: Sequence[tuple[Comparison, Comparison | None]]) -> str:
    return "; ".join(_line(one, other) for one, other in pairs) or "nothing"


def _line(one: Comparison, other: Comparison | None) -> str:
    name = f"{one.measure.title} ({one.architecture})"
    if other is None:
        return f"{name}, not measured there"
    unmatched = "" if other.matched else ", L0 not matched there"
    return f"{name}{unmatched}: {difference_of_differences(one, other)}"
