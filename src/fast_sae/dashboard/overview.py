"""The block `overview`: the run, its figures, and a row per latent. payload.py says what stands where."""

from typing import cast

import numpy as np

from fast_sae.artifacts import Json
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.dashboard.layout import lay_out
from fast_sae.dashboard.material import SPLIT, Material
from fast_sae.dashboard.settings import DashboardSettings
from fast_sae.features.tables import read_features_table
from fast_sae.page.cells import flat, short, shorts

_COUNTED = ("examples", "windows", "tokens")


def overview(material: Material, settings: DashboardSettings, chunks: Json) -> Json:
    """Return the block.

    Args:
        material: What the stages have found.
        settings: The `dashboard` section.
        chunks: `chunks` of the contract.
    """
    figures = material.figures
    return {
        "run": _run(material),
        "settings": sorted([key, _text(value)] for key, value in flat(material.store.manifest.settings)),
        "metrics": figures.metrics,
        "curves": figures.curves,
        "density": figures.density,
        "kinds": [*KIND_NAMES],
        "labels": [*material.label_numbers],
        "split": SPLIT,
        "latents": _latents(material, settings),
        "chunks": chunks,
    }


def _run(material: Material) -> Json:
    made = cast(dict[str, dict[str, object]], material.store.manifest.settings)
    return {
        "model": made["model"]["name"],
        "revision": made["model"]["revision"],
        **{key: made["sae"][key] for key in ("layer", "architecture", "M", "K")},
        "d_in": material.W_dec.shape[1],
        "alive": len(material.latents),
        "sae": material.store.manifest.facts["sae_sha256"],
        SPLIT: {what: material.store.count(what, SPLIT) for what in _COUNTED},
    }


def _latents(material: Material, settings: DashboardSettings) -> Json:
    table, names = material.latents, material.names
    numbers = table.index.tolist()
    first = read_features_table(material.store.folder, "tokens", rank=1)
    tokens = dict(zip(first["latent"].to_pylist(), first["token"].to_pylist(), strict=True))
    called = [names.headline(latent) for latent in numbers]
    directions = material.W_dec[numbers].astype(np.float64)
    places = lay_out(directions, settings.map_neighbours, settings.map_steps, settings.seed)
    return {
        "latent": numbers,
        "name": [name for name, _ in called],
        "named": [how for _, how in called],
        "rating": [names.score(latent, "rating") for latent in numbers],
        "score": [names.score(latent, "balanced_accuracy") for latent in numbers],
        "fuzzing": [names.score(latent, "fuzzing_balanced_accuracy") for latent in numbers],
        "density": shorts(table[f"{SPLIT}_density"]),
        "label": [material.label_number(label) for label in table["best_label"]],
        "auroc": shorts(table[f"{SPLIT}_auroc"]),
        "token": [tokens.get(latent) for latent in numbers],
        "max": shorts(table["max_activation"]),
        "x": [short(x) for x in places[:, 0]],
        "y": [short(y) for y in places[:, 1]],
    }


def _text(value: object) -> str:
    """Write a setting as params.yaml does."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
