"""All that data/features knows of one latent, a table at a time."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from fast_sae.chat.splits import Split
from fast_sae.errors import UserError
from fast_sae.features.card import Card, html_card, text_card
from fast_sae.features.store import FeatureStore
from fast_sae.features.tables import read_features_table
from fast_sae.features.windows import Shown

_EXAMPLES = 5
"""Examples on a card."""


@dataclass(frozen=True, repr=False)
class Feature:
    """One living latent; printed, or as the last line of a notebook's cell, it shows what it does.

    The tables are those of docs/features.md, without the columns `latent` and `rank`.
    """

    store: FeatureStore
    latent: int
    name: str | None = None
    """What it is called; None if it has no name."""
    score: float | None = None
    """Balanced accuracy of the name on test windows, 0.5 is chance; None if it has not been scored."""

    def __post_init__(self) -> None:
        """Refuse a latent of which nothing is known."""
        if self.latent not in range(self.store.M):
            raise UserError(f"latent {self.latent} does not exist: the SAE has 0 to {self.store.M - 1}")
        if self.latent not in self.store.latents.index:
            raise UserError(f"latent {self.latent} is dead: it fires on no token of validation and test")

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """The latent's row of the table `latents`: rates, quantiles, shares by kind of token, best label."""
        return self.store.latents.loc[self.latent].to_dict()

    @property
    def label(self) -> str | None:
        """The label that it tells best, chosen on validation; None without labels."""
        return self.numbers["best_label"] if isinstance(self.numbers["best_label"], str) else None

    @property
    def auroc(self) -> float:
        """AUROC of `label` on test, by the largest activation in each text; NaN without labels."""
        return float(self.numbers["test_auroc"])

    @property
    def density(self) -> float:
        """The share of test tokens (of the trained kinds) on which it fires."""
        return float(self.numbers["test_density"])

    @property
    def histogram(self) -> pd.DataFrame:
        """Tokens of validation by activation: `low`, `high`, `tokens`."""
        return self._table("histograms")

    @property
    def tokens(self) -> pd.DataFrame:
        """Tokens that it fires on oftener than on others, the highest `lift` first."""
        return self._table("tokens")

    @property
    def labels(self) -> pd.DataFrame:
        """Labels that it tells best, with AUROC on both splits."""
        return self._table("labels")

    def logits(self, direction: str) -> pd.DataFrame:
        """Tokens that its direction has `promoted` or `suppressed`; empty without an LM head."""
        return self._table("logit_lens", direction=direction)

    def neighbours(self, by: str = "decoder") -> pd.DataFrame:
        """Nearest latents by `decoder` (cosine) or `cofiring` (Jaccard)."""
        return self._table("neighbours", by=by)

    def top(self, split: Split = "test") -> list[Shown]:
        """Windows in which it is strongest, with the activation of each token."""
        return self.store.windows(self.latent, split, "top")

    def _table(self, name: str, **wanted: str) -> pd.DataFrame:
        found = read_features_table(self.store.folder, name, latent=self.latent, **wanted).to_pandas()
        return found.drop(columns=["latent", "rank", *wanted], errors="ignore").reset_index(drop=True)

    @cached_property
    def _card(self) -> Card:
        numbers = self.numbers
        return Card(
            title=f"latent {self.latent}",
            name=self.name,
            facts=tuple(self._facts()),
            largest=float(numbers["max_activation"]),
            histogram=self.histogram,
            examples=tuple(self.top()[:_EXAMPLES]),
        )

    def _facts(self) -> list[tuple[str, str]]:
        """Return what a card lists: what it is, and what it says."""
        numbers = self.numbers
        fires = f"{self.density:.2%} of tokens, {numbers['test_example_rate']:.1%} of texts (test)"
        tokens = [f"{token} ×{lift:.1f}" for token, lift in self.tokens[["token", "lift"]].head(6).to_numpy()]
        lens = {way: self.logits(way)["token"].head(6).to_list() for way in ("promoted", "suppressed")}
        near = [f"{n:.0f} ({cosine:.2f})" for n, cosine in self.neighbours().head(5).to_numpy()]
        facts = {
            "score": "" if self.score is None else f"{self.score:.3f} (balanced accuracy of the name)",
            "label": "" if self.label is None else f"{self.label}, AUROC {self.auroc:.3f} (test)",
            "fires on": fires,
            "tokens": ",".join(tokens),
            "promotes": ",".join(lens["promoted"]),
            "suppresses": ",".join(lens["suppressed"]),
            "neighbours": ", ".join(near),
        }
        return [(what, told) for what, told in facts.items() if told]

    def __repr__(self) -> str:
        """Return a block of text."""
        return text_card(self._card)

    def _repr_html_(self) -> str:
        return html_card(self._card)
