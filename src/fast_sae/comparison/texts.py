"""The strongest texts of latents as a page shows them: each token once, each text once, activations where it fires."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from fast_sae.comparison.behaviour import Behaviour
from fast_sae.features.tables import read_features_table

WINDOWS = 3
"""Texts shown of a latent."""
Block = list[object]


@dataclass(frozen=True)
class Texts:
    """Texts by number, for two runs that may show the same ones."""

    tokens: dict[str, int] = field(default_factory=dict)
    numbers: dict[tuple[object, ...], int] = field(default_factory=dict)

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
            windows.append([numbers[row["window"]], _firing(row["activations"])])
        return found

    def block(self) -> dict[str, Block]:
        """Return all texts seen: [[example, first position, label or null, [number of a token, ...], kinds], ...]."""
        texts = [[example, first, label, [*ids], kinds] for example, first, label, kinds, *ids in self.numbers]
        return {"tokens": [*self.tokens], "texts": [*texts]}

    def _add(self, behaviour: Behaviour, windows: Sequence[int]) -> dict[int, int]:
        table = read_features_table(behaviour.store.folder, "texts")
        return {window: self._number(table.slice(window, 1).to_pylist()[0]) for window in sorted({*windows})}

    def _number(self, row: dict) -> int:
        ids = [self.tokens.setdefault(token, len(self.tokens)) for token in row["tokens"]]
        kinds = "".join(map(str, row["kinds"]))
        return self.numbers.setdefault((row["example"], row["start"], row["label"], kinds, *ids), len(self.numbers))


def _firing(activations: Sequence[float]) -> list[int | float]:
    return [part for at, value in enumerate(activations) if value > 0 for part in (at, float(f"{value:.4g}"))]
