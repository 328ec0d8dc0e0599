"""What has been said of each latent: its name, how well that was scored, and the hypotheses that it stands in."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fast_sae.artifacts import Json
from fast_sae.page.cells import short
from fast_sae.rows import read_rows, reading

_SCORES = (
    *("balanced_accuracy", "precision", "recall", "f1", "correlation"),
    *("fuzzing_balanced_accuracy", "other_f1", "constant_f1", "other_fuzzing_balanced_accuracy"),
)
"""Columns of interpretations.csv that the page shows of a name."""


@dataclass(frozen=True)
class Names:
    """By the number of the latent."""

    interpreted: Mapping[int, Json] = field(default_factory=dict)
    """`name` of the contract: of the latents that interpret_sae asked about."""
    hypotheses: Mapping[int, list[list[object]]] = field(default_factory=dict)
    """`hypotheses` of the contract."""

    def headline(self, latent: int) -> tuple[str | None, str | None]:
        """Return what the table calls a latent, and where that comes from; a hypothesis' name if there is no other."""
        about = self.interpreted.get(latent)
        if about and about["status"] == "explained":
            return str(about["text"]), "explained"
        for _, text, *_ in self.hypotheses.get(latent, ()):
            return str(text), "hypothesis"
        return None, str(about["status"]) if about else None

    def score(self, latent: int, what: str) -> object:
        """Return `rating` or one of the scores; None where there is none."""
        about = self.interpreted.get(latent, {})
        return about.get("rating") if what == "rating" else dict(about.get("scores", {})).get(what)  # pyright: ignore[reportCallIssue, reportArgumentType]


def read_names(interpretations: Path, hypotheses: Path) -> Names:
    """Read interpretations.csv and hypotheses.csv.

    Raises:
        ArtifactError: if one is missing or damaged.
    """
    with reading(interpretations, "interpret_sae"):
        interpreted = {int(row["neuron_idx"]): _interpreted(row) for row in read_rows(interpretations)}
    found = defaultdict(list)
    with reading(hypotheses, "generate_hypotheses"):
        for row in read_rows(hypotheses):
            if row["status"] == "named":
                about = row["confirmed"] == "True", short(row["auroc"]), short(row["p_corrected"])
                found[int(row["latent"])].append([row["target"], row["interpretation"], *about])
    return Names(interpreted, dict(found))


def _interpreted(row: Mapping[str, str]) -> Json:
    return {
        "text": row["interpretation"],
        **{what: row[what] for what in ("reason", "status", "rating_reason")},
        "rating": short(row["rating"]),
        "scores": {name: short(row[name]) for name in _SCORES},
    }
