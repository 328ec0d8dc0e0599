"""Dose and response: how often a label is recognised at each dose, and by how much a latent beats its controls.

Labels and doses are chosen on the choosing prompts; every rate here is of the scoring prompts, and every interval draws
whole prompts anew, the same ones for the latent and for its controls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from fast_sae.statistics import percentile_interval, resample_counts, resampled_sums
from fast_sae.steering.choosing import LabelLatent
from fast_sae.steering.settings import SteerSettings
from fast_sae.steering.trials import UNSTEERED, Continuation

CONTROLS = ("random", "other")


class Estimate(NamedTuple):
    """A mean over prompts, and its interval."""

    value: float
    low: float
    high: float


class Chosen(NamedTuple):
    """A label whose latent is scored, at a dose that other prompts chose."""

    label: str
    latent: int
    auroc: float
    alpha: float
    choosing_rate: float
    """The label's rate on the choosing prompts at that dose."""


def choose(
    candidates: Sequence[LabelLatent], choosing: Sequence[Continuation], alphas: Sequence[float], max_repetition: float
) -> list[Chosen]:
    """Choose each candidate's dose, and order the candidates by the rate that it reaches; of equal doses the smallest.

    Args:
        candidates: Labels and their latents.
        choosing: Continuations of the choosing prompts.
        alphas: The doses.
        max_repetition: As `shown` takes it.
    """
    found = []
    for label, latent, auroc in candidates:
        rates = [
            float(shown(select(choosing, "latent", alpha, latent), label, max_repetition).mean()) for alpha in alphas
        ]
        best = min(range(len(alphas)), key=lambda i: (-rates[i], alphas[i]))
        found.append(Chosen(label, latent, auroc, alphas[best], rates[best]))
    return sorted(found, key=lambda chosen: (-chosen.choosing_rate, -chosen.auroc, chosen.label))


def shown(continuations: Sequence[Continuation], label: str, max_repetition: float) -> Float[np.ndarray, " prompt"]:
    """Return, for each prompt, the share of its continuations that show a label and are no mere repetition.

    Args:
        continuations: As many of each prompt.
        label: What is recognised.
        max_repetition: Share of repeated n-grams above which a continuation shows nothing.
    """
    of_prompt: dict[int, list[bool]] = {}
    for one in continuations:
        shows = one.recognised == label and one.repetition <= max_repetition
        of_prompt.setdefault(one.prompt, []).append(shows)
    return np.array([np.mean(of_prompt[prompt]) for prompt in sorted(of_prompt)])


def select(
    continuations: Sequence[Continuation], role: str, alpha: float, latent: int | None = None
) -> list[Continuation]:
    """Return the continuations of one role at one dose; of role `latent`, those of one latent."""
    return [
        one
        for one in continuations
        if (one.trial.role, one.trial.alpha) == (role, alpha)
        and (latent is None or (one.trial.direction is not None and one.trial.direction.latent == latent))
    ]


@dataclass(frozen=True)
class Effects:
    """What was measured on the scoring prompts."""

    scoring: Sequence[Continuation]
    chosen: Sequence[Chosen]
    settings: SteerSettings

    @property
    def n_prompts(self) -> int:
        """Count the scoring prompts."""
        return len({one.prompt for one in self.scoring})

    def rate(self, chosen: Chosen, role: str, alpha: float) -> Float[np.ndarray, " prompt"]:
        """Return a label's rate for each prompt; of the unsteered model at dose 0 whatever the role."""
        role = role if alpha else UNSTEERED
        found = select(self.scoring, role, alpha, chosen.latent if role == "latent" else None)
        return shown(found, chosen.label, self.settings.max_repetition)

    def mean_rate(self, role: str, alpha: float | None) -> Float[np.ndarray, " prompt"]:
        """Return the mean over the chosen labels; alpha None: each at the dose chosen for it."""
        return np.mean([self.rate(one, role, one.alpha if alpha is None else alpha) for one in self.chosen], 0)

    def difference(self, chosen: Chosen, control: str) -> Estimate:
        """Return by how much a latent raises its label's rate above a control, at the dose chosen for it."""
        return self.estimate(self.rate(chosen, "latent", chosen.alpha) - self.rate(chosen, control, chosen.alpha))

    def mean_difference(self, control: str) -> Estimate:
        """Return the same as a mean over the chosen labels."""
        return self.estimate(self.mean_rate("latent", None) - self.mean_rate(control, None))

    def raises(self, differences: Sequence[Estimate]) -> bool:
        """Whether a rate lies well above both controls: by the margin, and with intervals above 0."""
        return all(d.low > 0 and d.value >= self.settings.margin for d in differences)

    def raised(self) -> list[Chosen]:
        """Return the labels whose latent raises their rate well above both controls."""
        return [one for one in self.chosen if self.raises([self.difference(one, control) for control in CONTROLS])]

    def estimate(self, values: Float[np.ndarray, " prompt"]) -> Estimate:
        """Return the mean over prompts with its bootstrap interval."""
        means = resampled_sums(self._counts, values[:, None])[:, 0] / len(values)
        interval = percentile_interval(means[1:], self.settings.confidence)
        assert interval is not None
        return Estimate(float(means[0]), *interval)

    @cached_property
    def _counts(self) -> UInt8[np.ndarray, "sample prompt"]:
        return resample_counts(self.n_prompts, self.settings.bootstrap_resamples, self.settings.seed)
