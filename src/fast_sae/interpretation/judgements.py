"""What a backend says of windows of test: of the name chosen for each latent, and of another latent's as a baseline."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from fast_sae.backends.base import Answer, Backend, Explanation, Rating, Unanswered
from fast_sae.backends.naming import Named
from fast_sae.interpretation.material import RATED, Material

Who = Literal["chosen", "other"]
"""Whose name is judged: the latent's own, chosen on validation, or that of another latent."""
WHO: tuple[Who, ...] = ("chosen", "other")
Answers = Mapping[int, Answer[Sequence[bool]]]
"""By latent, for each of its windows; a latent without a name was asked nothing."""

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Judgements:
    """The answers, by whose name was judged and by the latent whose windows they are of."""

    others: Mapping[int, int]
    """The latent whose name is the baseline of each; empty if there are no two names."""
    detection: Mapping[Who, Answers]
    fuzzing: Mapping[Who, Answers]
    ratings: Mapping[int, Answer[Rating]]
    """Of the latents that fire in five windows of test."""

    def asked(self, materials: Mapping[int, Material]) -> Iterator[tuple[int, bool]]:
        """Yield the judgements that each question asked for, and whether they were had; a rating is one."""
        for who in WHO:
            for latent, answer in self.detection[who].items():
                yield len(materials[latent].judged), not isinstance(answer, Unanswered)
            for latent, answer in self.fuzzing[who].items():
                yield len(materials[latent].fuzzed), not isinstance(answer, Unanswered)
        for answer in self.ratings.values():
            yield 1, not isinstance(answer, Unanswered)


def judge_names(
    backend: Backend, materials: Mapping[int, Material], named: Mapping[int, Named], seed: int
) -> Judgements:
    """Have the names judged on the same windows of test: each latent's own, and another's in its place.

    Args:
        backend: Judges.
        materials: The windows of each latent.
        named: What came of naming each.
        seed: Deals the names of other latents.
    """
    own = {latent: one.name for latent, one in named.items() if isinstance(one.name, Explanation)}
    others = derangement(list(own), seed)
    names: dict[Who, dict[int, Explanation]] = {
        "chosen": own,
        "other": {latent: own[others[latent]] for latent in own if others},
    }
    windows = {latent: [shown.window for shown in materials[latent].judged] for latent in own}
    marked = {latent: [one.marked for one in materials[latent].fuzzed] for latent in own}
    top = {latent: materials[latent].top for latent in own if len(materials[latent].top) == RATED}
    return Judgements(
        others,
        {who: _ask(backend.detect, names[who], windows) for who in WHO},
        {who: _ask(backend.fuzz, names[who], marked) for who in WHO},
        _ask(backend.rate, own, top),
    )


def derangement(latents: Sequence[int], seed: int) -> dict[int, int]:
    """Give each latent another one, each to one, by a random circle of all; none if there is no other.

    >>> derangement([3, 5], seed=0)
    {3: 5, 5: 3}
    """
    if len(latents) < 2:
        return {}
    circle = np.random.default_rng(seed).permutation(np.array(latents)).tolist()
    return dict(zip(circle, [*circle[1:], circle[0]], strict=True))


def _ask(
    method: Callable[[Sequence[tuple[Explanation, Sequence[A]]]], Sequence[B]],
    names: Mapping[int, Explanation],
    windows: Mapping[int, Sequence[A]],
) -> dict[int, B]:
    """Ask about each name and its latent's windows, where there are any."""
    latents = [latent for latent in names if windows.get(latent)]
    answers = method([(names[latent], windows[latent]) for latent in latents])
    return dict(zip(latents, answers, strict=True))
