"""The `interpret` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fast_sae.artifacts import Json
from fast_sae.backends.settings import BackendSettings


class InterpretSettings(BackendSettings):
    """Which latents are named, how names are scored, and by whom."""

    latents: Literal["prevalent", "random", "label", "listed"]
    """Those that fire in most examples, any that live, the best of each label, or those in `listed`."""
    n_latents: Annotated[int, Field(gt=0)]
    """Latents named, at most."""
    max_window_rate: Annotated[float, Field(gt=0, le=1)]
    """Latents that fire in a larger share of the windows of validation are named only where they are listed: what is
    true of every text tells none from another."""
    listed: tuple[Annotated[int, Field(ge=0)], ...]
    """Their numbers, for `latents: listed`."""
    candidates: Annotated[int, Field(gt=0)]
    """Names tried for each latent, of which validation chooses one."""
    scored_per_decile: Annotated[int, Field(gt=0)]
    """Windows judged for each latent in each tenth of those in which it fires."""
    scored_silent: Annotated[int, Field(gt=0)]
    """Windows judged for each latent in which it is silent."""
    bootstrap_resamples: Annotated[int, Field(gt=0)]
    """Resamples behind each interval."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Share of the resamples that an interval holds."""

    @model_validator(mode="after")
    def _lists_latents(self) -> "InterpretSettings":
        if (self.latents == "listed") != bool(self.listed):
            wanted = "names no latent" if self.latents == "listed" else f"is not read under latents={self.latents}"
            raise ValueError(f"interpret.listed {wanted}, found {list(self.listed)}")
        return self


def interpret_record(features: Json, interpret: InterpretSettings) -> Json:
    """Return what decides data/interpretations, as its manifest holds it.

    Args:
        features: The `features_record` of data/features.
        interpret: The `interpret` section.
    """
    return {**features, "interpret": interpret.model_dump(mode="json")}
