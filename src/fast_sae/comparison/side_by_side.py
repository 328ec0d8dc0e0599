"""Two runs' metrics and parameters, side by side."""

from collections.abc import Mapping

import pandas as pd

_BOUNDS = ("_low", "_high")


def metric_table(a: Mapping[str, float], b: Mapping[str, float]) -> pd.DataFrame:
    """Return a row per metric of either run: its values, their intervals, b − a, and whether the intervals overlap.

    What a run does not have is missing. Whether two intervals overlap is no test of the difference (Schenker &
    Gentleman 2001, The American Statistician 55(3)): the two runs may be scored on the same texts, and are then paired.

    Args:
        a: Metrics of one run by name; an interval stands beside its metric as `…_low` and `…_high`.
        b: Those of the other.
    """
    names = [name for name in dict.fromkeys([*sorted(a), *sorted(b)]) if not _is_bound(name, a, b)]
    rows = [{"metric": name, **_side("a", name, a), **_side("b", name, b)} for name in sorted(names)]
    columns = ["metric", "a", "a_low", "a_high", "b", "b_low", "b_high"]
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], float))
    table["difference"] = table["b"] - table["a"]
    overlap = (table["a_low"] <= table["b_high"]) & (table["b_low"] <= table["a_high"])
    known = table[["a_low", "a_high", "b_low", "b_high"]].notna().all(axis=1)
    table["intervals_overlap"] = overlap.astype(object).where(known, None)
    return table


def differing_params(a: Mapping[str, str], b: Mapping[str, str]) -> list[tuple[str, str | None, str | None]]:
    """Return each parameter, by flat key, whose value differs; None where a run does not have it.

    >>> differing_params({"sae.K": "8", "sae.M": "512"}, {"sae.K": "16", "sae.M": "512", "new": "1"})
    [('new', None, '1'), ('sae.K', '8', '16')]
    """
    return [(key, a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)]


def _is_bound(name: str, *runs: Mapping[str, float]) -> bool:
    of = [name.removesuffix(bound) for bound in _BOUNDS if name.endswith(bound)]
    return any(base in run for base in of for run in runs)


def _side(side: str, name: str, metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {side: metrics.get(name), **{f"{side}{bound}": metrics.get(f"{name}{bound}") for bound in _BOUNDS}}
