"""A chunk: all that the page shows of some latents, with the texts of their windows. payload.py says what stands where.

Memory: the texts of data/features once, one chunk, and the windows of 64 latents.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from fast_sae.artifacts import Json
from fast_sae.dashboard.material import SPLIT, Material
from fast_sae.dashboard.settings import DashboardSettings
from fast_sae.features.tables import read_features_table
from fast_sae.features.windows import spread
from fast_sae.page.cells import firing, short, shorts
from fast_sae.page.texts import TextTable

_AT_ONCE = 64
"""Latents whose windows are in memory as Python's lists: those of one row group of data/features."""
_ROUNDING = 0.01
"""Of a quarter octave: edges are rounded to 6 digits."""
_RATES = ("density", "window_rate", "example_rate")
_SHAPE = ("q05", "q25", "q50", "q75", "q95", "max_activation", "mean_activation")


@dataclass(frozen=True)
class Chunks:
    """Makes the chunks one by one."""

    material: Material
    settings: DashboardSettings
    kinds: Sequence[str]
    """Names of the token kinds, by their number."""

    def chunk(self, latents: range) -> Json:
        """Return the chunk of those of the given latents that live."""
        texts = _Texts(self.material)
        found: dict[int, Json] = {}
        for at in range(latents.start, latents.stop, _AT_ONCE):
            found |= self._some(range(at, min(at + _AT_ONCE, latents.stop)), texts)
        return {**texts.table.block(), "latents": found}

    def _some(self, latents: range, texts: "_Texts") -> dict[int, Json]:
        tables = {
            name: self._by_latent(name, latents)
            for name in ("histograms", "tokens", "logit_lens", "neighbours", "labels")
        }
        windows = self._shown(latents)
        living = self.material.latents.index.to_numpy()
        return {
            latent: {
                **self._named(latent),
                **self._firing(latent),
                **_listed(tables, latent),
                "labels": [
                    [self.material.label_number(row["label"]), *shorts([row["validation_auroc"], row["test_auroc"]])]
                    for row in tables["labels"][latent]
                ],
                **_windows(windows[latent], texts),
                "steering": self.material.steered.get(latent),
            }
            for latent in living[(living >= latents.start) & (living < latents.stop)].tolist()
        }

    def _by_latent(self, name: str, latents: range) -> Mapping[int, list[dict]]:
        return _grouped(read_features_table(self.material.store.folder, name, latent=latents))

    def _shown(self, latents: range) -> Mapping[int, list[dict]]:
        """Return the windows that are shown of each latent, in the order in which they are."""
        kept = read_features_table(self.material.store.folder, "windows", latent=latents, split=SPLIT)
        facts = kept.select(["latent", "sample", "rank"]).to_pandas().sort_values("rank", kind="stable")
        shown: list[int] = []
        for (_, sample), group in facts.groupby(["latent", "sample"]):
            ranked = group.index.tolist()
            if sample == "top":
                shown += ranked[: self.settings.top_windows]
            elif sample == "firing":
                shown += spread(ranked, self.settings.sampled_windows)
        return _grouped(kept.take(pa.array(shown, pa.int64())))

    def _named(self, latent: int) -> Json:
        names = self.material.names
        return {"name": names.interpreted.get(latent), "hypotheses": names.hypotheses.get(latent, [])}

    def _firing(self, latent: int) -> Json:
        row: pd.Series = self.material.latents.loc[latent]
        return {
            "rates": {split: shorts(row[f"{split}_{rate}"] for rate in _RATES) for split in ("validation", "test")},
            "quantiles": shorts(row[name] for name in _SHAPE),
            "kinds": shorts(row[kind] for kind in self.kinds),
        }


class _Texts:
    """The windows of one chunk, in the order in which they are first asked for."""

    def __init__(self, material: Material) -> None:
        self._material, self.table = material, TextTable()
        self._numbers: dict[int, int] = {}

    def number(self, window: int) -> int:
        """Return the number that the chunk gives a window, named by its row in the table of texts."""
        if window not in self._numbers:
            row = self._material.texts.slice(window, 1).to_pylist()[0]
            self._numbers[window] = self.table.add(row, self._material.label_number(row["label"]))
        return self._numbers[window]


def _grouped(table: pa.Table) -> Mapping[int, list[dict]]:
    rows: dict[int, list[dict]] = defaultdict(list)
    for row in table.to_pylist():
        rows[row["latent"]].append(row)
    return rows


def _windows(rows: list[dict], texts: _Texts) -> Json:
    top, sampled = ([row for row in rows if row["sample"] == sample] for sample in ("top", "firing"))
    return {
        "top": [[texts.number(row["window"]), firing(row["activations"])] for row in top],
        "sampled": [[texts.number(row["window"]), row["decile"], firing(row["activations"])] for row in sampled],
    }


def _listed(tables: Mapping[str, Mapping[int, list[dict]]], latent: int) -> Json:
    lens, near = tables["logit_lens"][latent], tables["neighbours"][latent]
    return {
        "histogram": _coarse(tables["histograms"][latent]),
        "tokens": [[row["token"], row["fired"], row["count"], short(row["lift"])] for row in tables["tokens"][latent]],
        **{
            direction: [[row["token"], short(row["logit"])] for row in lens if row["direction"] == direction]
            for direction in ("promoted", "suppressed")
        },
        **{
            by: [[row["neighbour"], short(row["similarity"])] for row in near if row["by"] == by]
            for by in ("decoder", "cofiring")
        },
    }


def _coarse(bins: list[dict]) -> list[list[float | int | None]]:
    """Join the bins of each quarter of an octave, four of data/features, which are finer than a chart shows.

    >>> _coarse([{"low": 1.0, "high": 1.04, "tokens": 2}, {"low": 1.04, "high": 1.09, "tokens": 3}])
    [[1, 1.09, 5]]
    """
    quarters: dict[int, list[dict]] = defaultdict(list)
    for one in bins:
        quarters[math.floor(4 * math.log2(one["low"]) + _ROUNDING)].append(one)
    return [
        [short(joined[0]["low"]), short(joined[-1]["high"]), sum(one["tokens"] for one in joined)]
        for joined in quarters.values()
    ]
