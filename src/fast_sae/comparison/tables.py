"""The numbers of every run, a row each."""

from collections.abc import Sequence

import pandas as pd

from fast_sae.comparison.collect import Result
from fast_sae.comparison.measures import L0, MEASURES, VARYING_L0


def run_table(results: Sequence[Result]) -> pd.DataFrame:
    """Return a row per run: what it is, the name of its experiment, its L0 and every measure of a single run."""
    possible = [VARYING_L0, *(measure.key for measure in MEASURES)]
    columns = [key for key in possible if any(key in result.metrics for result in results)]
    return pd.DataFrame(
        {
            "model": result.run.model,
            "packing": result.run.packing,
            "architecture": result.run.architecture,
            "seed": result.run.seed,
            "experiment": result.run.name,
            "target_l0": result.target_l0,
            L0: result.metrics[L0],
            "l0_from_target": result.metrics[L0] / result.target_l0 - 1,
            **{key: result.metrics.get(key) for key in columns},
        }
        for result in results
    )
