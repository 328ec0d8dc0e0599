"""What steering by a latent did, as the page shows it: its curve, and what was written of a few prompts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fast_sae.artifacts import Json
from fast_sae.page.cells import short
from fast_sae.rows import read_rows, reading

_PROMPTS = 2
"""Prompts whose continuations are shown of each latent: the first ones of those that are scored."""
_NO_CURVE: Json = {"label": None, "doses": []}
"""Of a latent that is steered for no label."""


def read_steered(folder: Path) -> Mapping[int, Json]:
    """Return `steering` of the contract, by latent; nothing where steering is switched off.

    Args:
        folder: data/steering.

    Raises:
        ArtifactError: if a file is missing or damaged.
    """
    curves, generations = folder / "latents.csv", folder / "generations.jsonl"
    with reading(curves, "steer_features"):
        found = _curves(read_rows(curves))
    with reading(generations, "steer_features"):
        lines = filter(None, generations.read_text(encoding="utf-8").split("\n"))
        samples = _samples([one for one in map(json.loads, lines) if one["part"] == "scoring"])
    return {latent: {**found.get(latent, _NO_CURVE), "samples": shown} for latent, shown in samples.items()}


def _curves(rows: Sequence[Mapping[str, str]]) -> Mapping[int, Json]:
    """Return `label` and `doses` by latent; of a latent that is steered for several labels, those of the first."""
    found: dict[int, Json] = {}
    for latent, label in dict.fromkeys((row["latent"], row["label"]) for row in rows):
        own = [row for row in rows if (row["latent"], row["label"], row["direction"]) == (latent, label, "latent")]
        doses = [[short(row[name]) for name in ("alpha", "rate", "rate_low", "rate_high")] for row in own]
        found.setdefault(int(latent), {"label": label, "doses": doses})
    return found


def _samples(scored: Sequence[Mapping[str, object]]) -> Mapping[int, list[list[object]]]:
    """Return `samples` by latent, ordered by prompt, then by dose."""
    prompts = [*dict.fromkeys(one["prompt"] for one in scored)][:_PROMPTS]
    shown = sorted(
        (one for one in scored if one["prompt"] in prompts),
        key=lambda one: (prompts.index(one["prompt"]), one["alpha"]),
    )
    steered = sorted({str(one["direction"]) for one in shown if one["role"] == "latent"})
    return {
        int(direction.removeprefix("latent ")): [
            [one["prompt"], short(one["alpha"]), one["continuation"], one["recognised"]]
            for one in shown
            if one["role"] == "none" or one["direction"] == direction
        ]
        for direction in steered
    }
