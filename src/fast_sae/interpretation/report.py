"""The figures of interpretation: a few headline metrics, and tables of every latent's scores and of their means.

The definition of each figure stands in docs/interpretation.md.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from scipy.stats import binomtest

from fast_sae.artifacts import write_metrics, write_table
from fast_sae.backends.base import Rating
from fast_sae.backends.naming import Named
from fast_sae.evaluation.figures import Figures, with_bounds
from fast_sae.features.store import FeatureStore
from fast_sae.interpretation.judgements import WHO, Judgements
from fast_sae.interpretation.material import Material
from fast_sae.interpretation.scored import BASELINES, SCORES, score_table
from fast_sae.interpretation.scores import mean_over_latents
from fast_sae.interpretation.settings import InterpretSettings
from fast_sae.interpretation.tables import (
    interpretation_table,
    judgement_table,
    status_of,
    write_interpretations,
    write_judgements,
)
from fast_sae.statistics import Interval, resample_counts

_CLEAR = 4
"""The least rating of FAST's headline, the share of latents rated 4 or 5."""
_STATUSES = ("explained", "no_pattern", "refused", "invalid", "failed")


@dataclass(frozen=True)
class InterpretReport:
    """What was named, and how well."""

    store: FeatureStore
    settings: InterpretSettings
    materials: Mapping[int, Material]
    named: Mapping[int, Named]
    judgements: Judgements

    def metrics(self) -> Figures:
        """Return the headline metrics, intervals as `_low` and `_high`; None where nothing has a value."""
        counted = Counter(status_of(one) for one in self.named.values())
        return {
            "n_latents": len(self.named),
            **{f"n_{status}": counted[status] for status in _STATUSES},
            "unanswered_share": self._unanswered_share(),
            **self._mean("f1", "f1", "chosen"),
            **self._mean("f1_over_other", "f1", "chosen", "other"),
            **self._mean("f1_over_constant", "f1", "chosen", "constant"),
            **self._mean("balanced_accuracy", "balanced_accuracy", "chosen"),
            **self._mean("fuzzing_balanced_accuracy", "fuzzing_balanced_accuracy", "chosen"),
            **self._mean("fuzzing_over_other", "fuzzing_balanced_accuracy", "chosen", "other"),
            **self._rated(),
        }

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by name: every latent's scores, and each score's mean, also over each baseline."""
        compared = [*((who, None) for who in (*WHO, "constant")), *(("chosen", baseline) for baseline in BASELINES)]
        means = [
            {
                "figure": score,
                "who": who if over is None else f"{who} - {over}",
                **self._mean("mean", score, who, over),
                "latents": int(np.isfinite(self._values(score, who, over)).sum()),
            }
            for score in SCORES
            for who, over in compared
        ]
        return {"detection": self._scores.reset_index(), "means": pd.DataFrame(means)}

    def warning(self) -> str | None:
        """Say in one line of how many latents detection can tell nothing; None if there are none."""
        everywhere = sum(all(one.fires for one in material.judged) for material in self.materials.values())
        if not everywhere:
            return None
        return (
            f"{everywhere} of {len(self.named)} latents fire in every judged window of test: no F1 of theirs exceeds "
            "that of the answer yes, and balanced accuracy is undefined; look at fuzzing, or set interpret.latents"
        )

    def write(self, interpretations: Path, metrics: Path, tables: Path) -> None:
        """Write the names and judgements, the metrics as JSON, and each table as CSV."""
        table = interpretation_table(self.store, self.materials, self.named, self.judgements, self._scores)
        write_interpretations(interpretations / "interpretations.csv", table)
        write_judgements(interpretations / "judgements.parquet", judgement_table(self.materials, self.judgements))
        write_metrics(metrics, "interpret", self.metrics())
        for name, found in self.tables().items():
            write_table(tables / f"{name}.csv", found)

    @cached_property
    def _scores(self) -> pd.DataFrame:
        return score_table(self.materials, self.judgements)

    @cached_property
    def _counts(self) -> UInt8[np.ndarray, "sample latent"]:
        """How often each resample holds each latent: the same for every figure, so that differences are paired."""
        return resample_counts(len(self.named), self.settings.bootstrap_resamples, self.settings.seed)

    def _values(self, score: str, who: str, over: str | None) -> np.ndarray:
        values = self._scores[score].xs(who, level="who")
        return (values if over is None else values - self._scores[score].xs(over, level="who")).to_numpy()

    def _mean(self, name: str, score: str, who: str, over: str | None = None) -> Figures:
        return mean_over_latents(name, self._values(score, who, over), self._counts, self.settings.confidence)

    def _unanswered_share(self) -> float | None:
        """Share of the judgements asked for, of candidates too, that were not had."""
        asked = list(self.judgements.asked(self.materials))
        n_asked = sum(n for n, _ in asked) + sum(one.asked for one in self.named.values())
        missing = sum(n for n, had in asked if not had) + sum(one.unanswered for one in self.named.values())
        return missing / n_asked if n_asked else None

    def _rated(self) -> Figures:
        """Return how many latents were rated, and the share rated 4 or 5 with Wilson's interval (1927)."""
        scores = [rating.score for rating in self.judgements.ratings.values() if isinstance(rating, Rating)]
        if not scores:
            return {"n_rated": 0, **with_bounds("rated_4_share", None, None)}
        clear = sum(score >= _CLEAR for score in scores)
        low, high = binomtest(clear, len(scores)).proportion_ci(self.settings.confidence, method="wilson")
        share = with_bounds("rated_4_share", clear / len(scores), Interval(float(low), float(high)))
        return {"n_rated": len(scores), **share}
