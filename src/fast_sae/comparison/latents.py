"""The latents of two runs, matched: what is found again, what has changed its meaning, vanished or appeared."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Int

from fast_sae.comparison.behaviour import on_same_examples, pair_correlations, ranked, standardised
from fast_sae.comparison.contents import Contents
from fast_sae.comparison.matching import MOST, SHARED, match, nearest, unit_rows

CHANGED = 0.5
"""A pair found again by decoder whose pooled activations correlate less than this has changed its meaning.

At 0.5 one of the two explains a quarter of the other's variance over the same examples. Ours, not from a paper.
"""
By = Literal["decoder", "activation"]


class Status(StrEnum):
    """What has become of a latent."""

    CHANGED = "changed its meaning"
    VANISHED = "vanished"
    APPEARED = "appeared"
    FOUND = "found again"


@dataclass(frozen=True)
class Described:
    """The latents of one run that are compared, by a row each in every array."""

    number: Int[np.ndarray, " latent"]
    decoder: Float[np.ndarray, "latent d_in"] | None
    """Rows of length 1; None where cosines with the other run's mean nothing."""
    pooled: Float32[np.ndarray, "latent example"] | None
    """Over the examples of test that both runs pooled; None where there are none."""


@dataclass(frozen=True)
class LatentComparison:
    """Two runs' latents side by side."""

    rows: pd.DataFrame
    """A row per pair and per latent without one. `status`; `a`, `b`: numbers; `cosine` of the decoders, `pearson` and
    `spearman` of the pooled activations of the pair; `nearest`, `nearest_cosine`, `nearest_by_activation`,
    `nearest_pearson`: of a latent without a pair, the most like it of the other run. Missing: NA."""
    by: By | None
    """What was matched by; None: nothing could be."""
    exact: bool
    """Whether the matching is the best there is."""
    notes: tuple[str, ...]

    def count(self, status: Status) -> int:
        """Count the rows of a status."""
        return int(np.count_nonzero(self.rows["status"] == status))

    @property
    def living_on(self) -> int:
        """Count the vanished latents that another of the second run does the work of, by their activations."""
        return int(
            np.count_nonzero((self.rows["status"] == Status.VANISHED) & (self.rows["nearest_pearson"] >= SHARED))
        )


def compare_latents(a: Contents, b: Contents) -> LatentComparison:
    """Match the latents of two runs and say what has become of each.

    By decoder cosine where both SAEs read the same layer of the same model; else by the correlation of pooled
    activations, where the same examples of test were pooled; else not at all.
    """
    notes = [why for why in (_no_cosines(a, b), _no_correlations(a, b)) if why]
    first, second = _described(a, b)
    if not len(first.number) or not len(second.number):
        return _unmatched((*notes, "one of the runs has no living latent: nothing to match"))
    if first.decoder is not None:
        return _matched(first, second, "decoder", notes)
    if first.pooled is not None:
        return _matched(first, second, "activation", [*notes, "latents are matched by activation instead"])
    return _unmatched((*notes, "latents are not matched: only metrics and parameters are compared"))


def compare_described(first: Described, second: Described, by: By, most: int = MOST) -> LatentComparison:
    """Match latents of which at least what `by` names is known.

    Pairs of a similarity ≥ `SHARED` are found again; of those matched by decoder, pairs whose pooled activations
    correlate less than `CHANGED` have changed their meaning. A pair of which one latent fires equally in all pooled
    examples, or in none, has no correlation and is not judged.
    """
    seen = [_standardised(one) for one in (first, second)]
    directions = seen if by == "activation" else [first.decoder, second.decoder]
    assert directions[0] is not None
    assert directions[1] is not None
    matching = match(directions[0], directions[1], most)
    shared = matching.cosine >= SHARED
    pairs = matching.first[shared], matching.second[shared]
    left = [np.setdiff1d(np.arange(len(one.number)), used) for one, used in zip((first, second), pairs, strict=True)]
    found = _pairs(first, second, pairs, seen)
    if by == "activation":
        found["status"] = Status.FOUND
    table = pd.concat(
        [
            found,
            _alone(Status.VANISHED, "a", left[0], (first, second), seen),
            _alone(Status.APPEARED, "b", left[1], (second, first), seen[::-1]),
        ],
        ignore_index=True,
    )
    return LatentComparison(table.reindex(columns=_COLUMNS), by, matching.exact, ())


_COLUMNS = [
    *("status", "a", "b", "cosine", "pearson", "spearman"),
    *("nearest", "nearest_cosine", "nearest_by_activation", "nearest_pearson"),
]


def _no_cosines(a: Contents, b: Contents) -> str | None:
    sides = [(run.model, run.origin.sae.settings.layer, run.origin.sae.d_in) for run in (a, b)]
    differing = [what for what, x, y in zip(("model", "layer", "width"), *sides, strict=True) if x != y]
    return f"the SAEs read another {' and '.join(differing)}: decoder cosines mean nothing" if differing else None


def _no_correlations(a: Contents, b: Contents) -> str | None:
    if a.behaviour is None or b.behaviour is None:
        return "activations are not compared: not both runs have features"
    if on_same_examples(a.behaviour, b.behaviour) is None:
        return "activations are not compared: the runs have pooled other examples of test, or split the data otherwise"
    return None


def _described(a: Contents, b: Contents) -> tuple[Described, Described]:
    pooled = a.behaviour and b.behaviour and on_same_examples(a.behaviour, b.behaviour)
    comparable = _no_cosines(a, b) is None
    first, second = (
        Described(
            run.alive,
            unit_rows(run.origin.sae.W_dec.detach().numpy()[run.alive]) if comparable else None,
            pooled[side] if pooled else None,
        )
        for side, run in enumerate((a, b))
    )
    return first, second


def _matched(first: Described, second: Described, by: By, notes: Sequence[str]) -> LatentComparison:
    found = compare_described(first, second, by)
    bound = (
        f"more than {MOST:,} latents: pairs are made greedily, the likest first, with a sum of cosines at least half"
    )
    told = [] if found.exact else [f"{bound} of the largest possible"]
    return LatentComparison(found.rows, by, found.exact, (*notes, *told))


def _unmatched(notes: tuple[str, ...]) -> LatentComparison:
    return LatentComparison(pd.DataFrame(columns=_COLUMNS), None, exact=True, notes=notes)


def _standardised(one: Described) -> Float[np.ndarray, "latent example"] | None:
    return None if one.pooled is None else standardised(one.pooled)


def _pairs(
    first: Described,
    second: Described,
    pairs: tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]],
    seen: Sequence[Float[np.ndarray, "_ example"] | None],
) -> pd.DataFrame:
    a, b = pairs
    missing = np.full(len(a), np.nan)
    cosine = pearson = spearman = missing
    if first.decoder is not None and second.decoder is not None:
        cosine = (first.decoder[a] * second.decoder[b]).sum(1)
    if first.pooled is not None and second.pooled is not None and seen[0] is not None and seen[1] is not None:
        pearson = pair_correlations(seen[0][a], seen[1][b])
        spearman = pair_correlations(standardised(ranked(first.pooled[a])), standardised(ranked(second.pooled[b])))
    return pd.DataFrame(
        {
            "status": np.where(pearson < CHANGED, Status.CHANGED, Status.FOUND).astype(object),
            "a": _numbers(first.number[a]),
            "b": _numbers(second.number[b]),
            "cosine": cosine,
            "pearson": pearson,
            "spearman": spearman,
        }
    )


def _alone(
    status: Status,
    side: Literal["a", "b"],
    rows: Int[np.ndarray, " alone"],
    runs: tuple[Described, Described],
    seen: Sequence[Float[np.ndarray, "_ example"] | None],
) -> pd.DataFrame:
    own, other = runs
    table = pd.DataFrame({"status": pd.Series([status] * len(rows), dtype=object), side: _numbers(own.number[rows])})
    if own.decoder is not None and other.decoder is not None:
        row, table["nearest_cosine"] = nearest(own.decoder[rows], other.decoder)
        table["nearest"] = _numbers(other.number[row])
    if seen[0] is not None and seen[1] is not None:
        row, cosine = nearest(seen[0][rows], seen[1])
        varies = seen[0][rows].any(1)
        table["nearest_by_activation"] = _numbers(other.number[row]).where(varies)
        table["nearest_pearson"] = np.where(varies, cosine, np.nan)
    return table


def _numbers(latents: Int[np.ndarray, " latent"]) -> pd.Series:
    return pd.Series(latents, dtype="Int64")
