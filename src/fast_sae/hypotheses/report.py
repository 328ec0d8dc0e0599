"""What became of the hypotheses: tests of each, joint models of each target, and the tables that hold them.

The definition of each figure stands in docs/hypotheses.md.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from fast_sae.artifacts import write_metrics
from fast_sae.evaluation.figures import Figures, with_bounds
from fast_sae.hypotheses.annotations import UNANSWERED
from fast_sae.hypotheses.hypothesis import Annotated, Hypothesis
from fast_sae.hypotheses.joint import Joint, score_jointly
from fast_sae.hypotheses.settings import HypothesesSettings
from fast_sae.hypotheses.significance import Tested, corrected, permuted_share, score_hypothesis
from fast_sae.hypotheses.tables import Outcome, annotation_table, hypothesis_table, joint_table, write_tables
from fast_sae.hypotheses.targets import Targets
from fast_sae.statistics import percentile_interval, resample_counts


@dataclass(frozen=True)
class HypothesesReport:
    """Hypotheses, and what test says of them."""

    settings: HypothesesSettings
    targets: Targets
    hypotheses: Sequence[Hypothesis]
    validation: Annotated
    test: Annotated

    @cached_property
    def tested(self) -> list[Tested | None]:
        """The test of each hypothesis; None of one that has no name."""
        found = []
        for one in self.hypotheses:
            found.append(
                score_hypothesis(
                    self.test.of([one.latent])[:, 0],
                    self._test_targets[:, one.target],
                    self._counts,
                    is_label=self.targets.is_label,
                    confidence=self.settings.confidence,
                )
                if one.status == "named"
                else None
            )
        return found

    @cached_property
    def p_corrected(self) -> list[float | None]:
        """The p-value of each hypothesis, corrected for all tests of the run; None where there was none."""
        p = [one.p if one else None for one in self.tested]
        made = [i for i, one in enumerate(p) if one is not None]
        raised = corrected(np.array([p[i] for i in made], np.float64), self.settings.correction)
        return [float(raised[made.index(i)]) if i in made else None for i in range(len(p))]

    @cached_property
    def significant(self) -> list[bool]:
        """Whether each corrected p-value is at most alpha."""
        return [p is not None and p <= self.settings.alpha for p in self.p_corrected]

    @cached_property
    def confirmed(self) -> list[bool]:
        """Whether each is significant and points the way that validation said."""
        return [
            significant and tested is not None and (tested.separation or 0) * one.score > 0
            for significant, tested, one in zip(self.significant, self.tested, self.hypotheses, strict=True)
        ]

    @cached_property
    def joint(self) -> dict[str, list[Joint | None]]:
        """The joint models of each target: of its hypotheses, and of the latents that they name."""
        every = [self._joint(target) for target in range(len(self.targets.names))]
        return {by: [models[by] for models in every] for by in ("hypotheses", "latents")}

    def metrics(self) -> Figures:
        """Return the headline metrics; None where nothing has a value."""
        named = {one.latent: one.status for one in self.hypotheses}
        measure = "auroc" if self.targets.is_label else "r2"
        return {
            "targets": len(self.targets.names),
            "hypotheses": len(self.hypotheses),
            "latents": len(named),
            "latents_named": Counter(named.values())["named"],
            "unanswered_share": float((self.test.has == UNANSWERED).mean()) if self.test.has.size else None,
            "tested": sum(p is not None for p in self.p_corrected),
            "significant": sum(self.significant),
            "confirmed": sum(self.confirmed),
            "permuted_share": self._permuted_share(),
            **self._mean(f"joint_{measure}", "hypotheses"),
            **self._mean(f"latents_{measure}", "latents"),
        }

    def summary(self) -> str:
        """Say in one line what came out."""
        found = self.metrics()
        return (
            f"{found['hypotheses']} hypotheses of {found['latents']} latents, {found['latents_named']} of them named; "
            f"{found['tested']} tested, {found['confirmed']} confirmed"
        )

    def write(self, folder: Path, metrics: Path, plots: Path) -> None:
        """Write the tables and the metrics."""
        write_metrics(metrics, "hypotheses", self.metrics())
        outcomes = [
            Outcome(*one)
            for one in zip(
                self.hypotheses, self.tested, self.p_corrected, self.significant, self.confirmed, strict=True
            )
        ]
        write_tables(
            folder,
            plots,
            hypothesis_table(self.targets.names, outcomes),
            annotation_table([self.validation, self.test]),
            joint_table(self.targets.names, self.joint, self.settings.confidence),
        )

    @cached_property
    def _counts(self) -> UInt8[np.ndarray, "sample text"]:
        return resample_counts(len(self.test.rows), self.settings.bootstrap_resamples, self.settings.seed)

    @cached_property
    def _test_targets(self) -> Float[np.ndarray, "text target"]:
        return self.targets.test[self.test.rows]

    def _permuted_share(self) -> float | None:
        tested = [one for one in self.hypotheses if one.status == "named"]
        return permuted_share(
            self.test.of([one.latent for one in tested]),
            self._test_targets[:, [one.target for one in tested]],
            is_label=self.targets.is_label,
            alpha=self.settings.alpha,
            permutations=self.settings.permutations,
            seed=self.settings.seed,
        )

    def _joint(self, target: int) -> dict[str, Joint | None]:
        """Fit on validation and score on test; both models on the texts whose annotations all have an answer.

        A name of which nothing is known on a split is left out of both. A latent in which no pattern was found says
        nothing in words, the same of every text; left out, it would hide what was lost in words.
        """
        of_target = [one for one in self.hypotheses if one.target == target]
        latents = [one.latent for one in of_target if self.validation.knows(one.latent) and self.test.knows(one.latent)]
        nameless = [one.latent for one in of_target if one.status == "no_pattern"]
        y = self.targets.validation[self.validation.rows, target], self._test_targets[:, target]
        fitted, scored = (side.whole(latents) for side in (self.validation, self.test))

        def score(read: Callable[[Annotated], Float[np.ndarray, "text column"]]) -> Joint | None:
            return score_jointly(
                (read(self.validation)[fitted], y[0][fitted]),
                (read(self.test)[scored], y[1][scored]),
                self._counts[:, scored],
                is_label=self.targets.is_label,
            )

        return {
            "hypotheses": score(lambda side: np.pad(side.of(latents).astype(np.float64), ((0, 0), (0, len(nameless))))),
            "latents": score(lambda side: side.activations([*latents, *nameless])),
        }

    def _mean(self, name: str, by: str) -> Figures:
        """Return the mean over the targets that have a value, and its interval; targets without a model count not."""
        models = [one.test for one in self.joint[by] if one is not None]
        if not models:
            return with_bounds(name, None, None)
        values = np.stack(models)
        known = ~np.isnan(values)
        with np.errstate(invalid="ignore"):
            means = np.where(known, values, 0).sum(0) / known.sum(0)
        return with_bounds(name, float(means[0]), percentile_interval(means[1:], self.settings.confidence))
