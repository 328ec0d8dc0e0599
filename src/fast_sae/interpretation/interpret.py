"""Interpretation, whole: choose latents, name them on validation, have the names judged on test."""

from fast_sae.backends.base import Backend
from fast_sae.backends.naming import find_names
from fast_sae.features.store import FeatureStore
from fast_sae.interpretation.judgements import judge_names
from fast_sae.interpretation.latents import choose_latents
from fast_sae.interpretation.material import gather
from fast_sae.interpretation.report import InterpretReport
from fast_sae.interpretation.settings import InterpretSettings


def interpret(store: FeatureStore, settings: InterpretSettings, backend: Backend) -> InterpretReport:
    """Name the latents that the settings choose, and score the names.

    Args:
        store: data/features.
        settings: The `interpret` section.
        backend: Names and judges.

    Raises:
        ParamsError: if the settings choose a latent that cannot be named.
    """
    materials = {latent: gather(store, latent, settings) for latent in choose_latents(store, settings)}
    named = find_names(backend, list(materials.values()), settings.candidates)
    judgements = judge_names(backend, materials, named, settings.seed)
    return InterpretReport(store, settings, materials, named, judgements)
