"""The strongest texts of latents as a page shows them: each token once, each text once, activations where it fires."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from fast_sae.comparison.behaviour import Behaviour
from fast_sae.features.tables import read_features_table
from fast_sae.page.cells import firing
from fast_sae.page.texts import TextTable

WINDOWS = 3
"""Texts shown of a latent."""


@dataclass(frozen=True)
class Texts:
    """Texts by number, for two runs that may show the same ones."""

    table: TextTable = field(default_factory=TextTable)

    def strongest(self, behaviour: Behaviour, latents: Collection[int]) -> dict[str, dict[str, object]]:
        """Return, by latent, its strongest windows of test and its tokens of the highest lift.

        `windows`: [[number of the text, [place, activation, ...]], ...], where places count from 0 in the window.
        """
        kept = read_features_table(behaviour.store.folder, "windows", split="test", sample="top")
        facts = kept.select(["latent", "rank"]).to_pandas().sort_values(["latent", "rank"], kind="stable")
        wanted = facts[facts["latent"].isin(latents) & (facts["rank"] <= WINDOWS)]
        rows = kept.take(wanted.index.to_numpy()).to_pylist()
        numbers = self._add(behaviour, [row["window"] for row in rows])
        found: dict[str, dict[str, object]] = {
            str(latent): {"windows": [], "tokens": behaviour.tokens.get(latent, [])} for latent in sorted(latents)
        }
        for row in rows:
            windows = found[str(row["latent"])]["windows"]
            assert isinstance(windows, list)
            windows.append([numbers[row["window"]], firing(row["activations"])])
        return found

    def _add(self, behaviour: Behaviour, windows: Sequence[int]) -> dict[int, int]:
        texts = read_features_table(behaviour.store.folder, "texts")
        rows = {window: texts.slice(window, 1).to_pylist()[0] for window in sorted({*windows})}
        return {window: self.table.add(row, row["label"]) for window, row in rows.items()}
