"""Which latents are named, by what validation tells of them."""

import numpy as np
import pandas as pd

from fast_sae.errors import ParamsError
from fast_sae.features.store import FeatureStore
from fast_sae.interpretation.settings import InterpretSettings
from fast_sae.params import PARAMS


def choose_latents(store: FeatureStore, settings: InterpretSettings) -> list[int]:
    """Return the latents to be named, those that fire on validation alone, each once.

    prevalent: those that fire in the largest share of examples, first; random: drawn by the seed, rising; label: for
    each label the latent of the highest AUROC on validation, of those that list the label, the best first; listed: as
    listed. Only listed ones may fire in a larger share of the windows than `max_window_rate`.

    Raises:
        ParamsError: for a listed latent that does not exist, that is dead, or that fires nowhere in validation; if
            there are no labels; if no latent is left.
    """
    living = store.latents[store.latents["validation_window_rate"] > 0]
    if settings.latents == "listed":
        return _listed(store, living, settings)
    able = living[living["validation_window_rate"] <= settings.max_window_rate]
    chosen = _CHOICES[settings.latents](store, able, settings)
    if not chosen:
        raise ParamsError(
            f"{PARAMS}: interpret.latents is {settings.latents}, but no latent fires on validation, in a share of "
            f"{settings.max_window_rate} of its windows at most; raise interpret.max_window_rate"
        )
    return chosen


def _prevalent(_store: FeatureStore, living: pd.DataFrame, settings: InterpretSettings) -> list[int]:
    ordered = living.sort_index().sort_values("validation_example_rate", ascending=False, kind="stable")
    return [int(latent) for latent in ordered.index[: settings.n_latents]]


def _random(_store: FeatureStore, living: pd.DataFrame, settings: InterpretSettings) -> list[int]:
    latents = np.sort(living.index.to_numpy())
    n = min(settings.n_latents, len(latents))
    return sorted(np.random.default_rng(settings.seed).choice(latents, n, replace=False).tolist())


def _of_labels(store: FeatureStore, living: pd.DataFrame, settings: InterpretSettings) -> list[int]:
    labels = store.table("labels")
    if labels.empty:
        raise ParamsError(f"{PARAMS}: interpret.latents is label, but the data have no labels; set it to prevalent")
    rows = zip(labels["validation_auroc"], labels["label"], labels["latent"], strict=True)
    best: dict[str, int] = {}
    for _, label, latent in sorted((-auroc, label, int(latent)) for auroc, label, latent in rows):
        if latent in living.index:
            best.setdefault(label, latent)
    return list(dict.fromkeys(best.values()))[: settings.n_latents]


def _listed(store: FeatureStore, living: pd.DataFrame, settings: InterpretSettings) -> list[int]:
    for latent in settings.listed:
        if latent >= store.M:
            found = f"which does not exist; the SAE has latents 0 to {store.M - 1}"
        elif latent not in store.latents.index:
            found = "which is dead: it fires neither on validation nor on test"
        elif latent not in living.index:
            found = "which fires nowhere in validation, so that nothing could be shown of it"
        else:
            continue
        raise ParamsError(f"{PARAMS}: interpret.listed names latent {latent}, {found}; take it out")
    return list(dict.fromkeys(settings.listed))


_CHOICES = {"prevalent": _prevalent, "random": _random, "label": _of_labels}
