"""The scores of each latent: of the name chosen for it, and of the two baselines on the same windows."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fast_sae.backends.base import Answer, Unanswered
from fast_sae.features.windows import Shown
from fast_sae.interpretation.judgements import WHO, Judgements
from fast_sae.interpretation.material import Fuzzed, Material
from fast_sae.interpretation.scores import DETECTION, FUZZING, detection_scores, fuzzing_scores

BASELINES = ("other", "constant")
"""Another latent's name, and the answer yes to everything."""
SAMPLE = "sample_"
"""Before a figure: of the windows as they were drawn, each counting once."""
SCORES = (*DETECTION, *(SAMPLE + name for name in DETECTION), *(f"fuzzing_{name}" for name in FUZZING))
"""Figures of a latent's name; those of detection are estimates for all windows of test, unless they say otherwise."""


def score_table(materials: Mapping[int, Material], judgements: Judgements) -> pd.DataFrame:
    """Return the scores, a row per latent and whose name was judged, `constant` for the answer yes; NaN for no score.

    The index is (latent, who).
    """
    rows = []
    for latent, one in materials.items():
        for who in WHO:
            detection, fuzzing = judgements.detection[who].get(latent), judgements.fuzzing[who].get(latent)
            rows.append(_scores(latent, who, one, detection, fuzzing))
        yes = [True] * len(one.judged), [True] * len(one.fuzzed)
        rows.append(_scores(latent, "constant", one, *yes))
    table = pd.DataFrame(rows, columns=["latent", "who", *SCORES]).set_index(["latent", "who"])
    return table.astype(np.float64)


def _scores(
    latent: int,
    who: str,
    material: Material,
    detection: Answer[Sequence[bool]] | None,
    fuzzing: Answer[Sequence[bool]] | None,
) -> dict[str, object]:
    found: dict[str, object] = {"latent": latent, "who": who}
    if detection is not None and not isinstance(detection, Unanswered):
        found |= _detected(material.judged, detection)
    if fuzzing is not None and not isinstance(fuzzing, Unanswered):
        found |= _fuzzed(material.fuzzed, fuzzing)
    return found


def _detected(judged: Sequence[Shown], answer: Sequence[bool]) -> dict[str, float | None]:
    fires, said = np.array([one.fires for one in judged], bool), np.array(answer, bool)
    activation, weight = (
        np.array(side, np.float64) for side in zip(*((one.activation, one.weight) for one in judged), strict=True)
    )
    sample = detection_scores(fires, said, activation, np.ones(len(judged)))
    return {
        **detection_scores(fires, said, activation, weight),
        **{SAMPLE + name: value for name, value in sample.items()},
    }


def _fuzzed(fuzzed: Sequence[Fuzzed], answer: Sequence[bool]) -> dict[str, float | None]:
    return fuzzing_scores(np.array([one.active for one in fuzzed], bool), np.array(answer, bool))
