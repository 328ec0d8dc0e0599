"""From significant items to rules: any of several items, as long as the rule gets better on validation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from fast_sae.backends.base import Evidence, Explanation, Showing
from fast_sae.backends.offline.rules import OF_TOKENS, Rule
from fast_sae.backends.offline.sample import Sample
from fast_sae.backends.offline.significance import Tested, significant_items

_ORDER: tuple[Evidence, ...] = ("ngram", "token", "kind", "position", "label")
"""Which comes first of rules that are equally good."""
_LONGEST = 10
"""Items of one rule, at most, so that a reader can take it in."""

Fit = tuple[float, float]
"""φ over windows; where that is equal, F1 over tokens, of rules that speak of tokens (0 of others)."""


@dataclass(frozen=True)
class _Found:
    rule: Rule
    fit: Fit
    p: float
    holds: Bool[np.ndarray, " window"]


def explanations(showing: Showing, wanted: int, evidence: frozenset[Evidence]) -> list[Explanation]:
    """Name a latent by up to `wanted` rules, the best φ first; by one that is never true if nothing is significant."""
    sample = Sample.of(showing)
    significant = significant_items(sample, evidence)
    found = [rule for kind in _ORDER for rule in _grown(sample, [one for one in significant if one.evidence == kind])]
    found.sort(key=lambda one: one.fit, reverse=True)  # stable: equals stay in the order of _ORDER, short before long
    return [_explanation(sample, one) for one in found[:wanted]] or [_nothing(sample, evidence)]


def _grown(sample: Sample, tested: Sequence[Tested]) -> list[_Found]:
    """Return the best single item, and the best rule that grows out of it, item by item."""
    if not tested:
        return []
    tested = sorted(tested, key=lambda one: (len(one.item.split()), one.item))
    steps: list[_Found] = []
    while len(steps) < _LONGEST:
        before = steps[-1] if steps else None
        best = max((_with(sample, before, one) for one in tested), key=lambda found: found.fit)
        if before and best.fit <= before.fit:
            break
        steps.append(best)
    return steps if len(steps) == 1 else [steps[0], steps[-1]]


def _with(sample: Sample, before: _Found | None, one: Tested) -> _Found:
    rule = Rule(one.evidence, (*(before.rule.any_of if before else ()), one.item))
    holds = one.holds | before.holds if before else one.holds
    fit = (sample.correlation(holds), sample.token_f1(rule) if one.evidence in OF_TOKENS else 0.0)
    return _Found(rule, fit, max(one.p, before.p if before else 0.0), holds)


def _explanation(sample: Sample, found: _Found) -> Explanation:
    firing, silent = found.holds[sample.fires], found.holds[~sample.fires]
    seen = [
        f"true of {firing.sum()} of the {len(firing)} windows shown in which the latent fires",
        f"of {silent.sum()} of the {len(silent)} in which it is silent",
    ]
    if found.rule.evidence in OF_TOKENS:
        peaks = sum(found.rule.shows_in(one) for one in sample.firing)
        seen.append(f"strongest there in {peaks} of the {len(firing)}")
    text = f"{found.rule.sentence} (read off the data: {', '.join(seen)})"
    return Explanation(text, {**found.rule.json(), "adjusted_p": float(f"{found.p:.3g}")})


def _nothing(sample: Sample, evidence: frozenset[Evidence]) -> Explanation:
    searched = ", ".join(kind for kind in _ORDER if kind in evidence)
    shown = f"{int(sample.fires.sum())} windows in which the latent fires and {int((~sample.fires).sum())} others"
    text = f"no pattern found (nothing significant in {shown}; searched: {searched})"
    return Explanation(text, Rule("none", ()).json(), pattern=False)
