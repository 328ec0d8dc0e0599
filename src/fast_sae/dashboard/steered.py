"""What steering by a latent did, as the page shows it: its curve, and what was written of a few prompts."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from fast_sae.artifacts import Json
from fast_sae.dashboard.numbers import short
from fast_sae.errors import ArtifactError

_PROMPTS = 2
"""Prompts whose continuations are shown of each latent: the first ones of those that are scored."""


def read_steered(folder: Path) -> Mapping[int, Json]:
    """Return `steering` of the contract, by latent; nothing where steering is switched off.

    Args:
        folder: data/steering.

    Raises:
        ArtifactError: if a file is missing.
    """
    try:
        curves = pd.read_csv(folder / "latents.csv", keep_default_na=False)
        lines = (folder / "generations.jsonl").read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise ArtifactError(f"{error.filename} does not exist; run: dvc pull, or: dvc repro steer_features") from None
    scored = [one for one in map(json.loads, filter(None, lines)) if one["part"] == "scoring"]
    prompts = [*dict.fromkeys(one["prompt"] for one in scored)][:_PROMPTS]
    shown = [one for one in scored if one["prompt"] in prompts]
    unsteered = [one for one in shown if one["role"] == "none"]
    steered = {one["direction"] for one in shown if one["role"] == "latent"}
    return {
        int(direction.removeprefix("latent ")): {
            **_curve(curves, int(direction.removeprefix("latent "))),
            "samples": _samples([*unsteered, *(one for one in shown if one["direction"] == direction)]),
        }
        for direction in sorted(steered)
    }


def _curve(curves: pd.DataFrame, latent: int) -> Json:
    here = (row for row in curves.to_dict("records") if (row["latent"], row["direction"]) == (latent, "latent"))
    doses = [[short(row[name]) for name in ("alpha", "rate", "rate_low", "rate_high")] for row in here]
    labels = curves["label"][curves["latent"] == latent]
    return {"label": next(iter(labels), None), "doses": doses}


def _samples(shown: list[dict]) -> list[list[object]]:
    """Order the continuations by prompt, then by dose."""
    ordered = sorted(shown, key=lambda one: (one["prompt"], one["alpha"]))
    return [[one["prompt"], short(one["alpha"]), one["continuation"], one["recognised"]] for one in ordered]
