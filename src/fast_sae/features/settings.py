"""The `features` section of params.yaml."""

from typing import Annotated

from pydantic import Field

from fast_sae.artifacts import Json
from fast_sae.params import Settings

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


class FeaturesSettings(Settings):
    """What is kept of each latent. Memory: M · (top + sampled windows) · window_tokens · 4 bytes, for each split."""

    window_tokens: Positive
    """Length of the windows that examples are cut into: what is shown, labelled and judged."""
    top_windows: Positive
    """Windows kept of each latent in which it is strongest."""
    sampled_windows: Annotated[int, Field(ge=10)]
    """Windows kept of each latent, drawn at random among those in which it fires."""
    silent_windows: Positive
    """Windows kept of each latent, drawn at random among those in which it does not fire."""
    pooled_examples: Positive
    """Examples of each split whose latents are pooled, drawn at random, at most: for labels and hypotheses."""
    listed_tokens: Count
    """Tokens listed by lift."""
    min_token_count: Positive
    """Firings on a token for it to be listed."""
    logit_tokens: Count
    """Tokens listed that a latent promotes, and as many that it suppresses. 0: no language model is loaded, which an
    encoder, without an LM head, needs."""
    neighbours: Count
    """Nearest latents listed, by decoder and by co-firing each."""
    cofiring_rows: Positive
    """Tokens of validation, drawn at random, on which co-firing is counted."""
    listed_labels: Count
    """Labels listed of each latent, the best first."""
    seed: Annotated[int, Field(ge=0)]
    """Draws windows and tokens."""


def features_record(sae_record: Json, features: FeaturesSettings) -> Json:
    """Return what decides data/features, as its manifest holds it.

    Args:
        sae_record: The `training_record` of the SAE.
        features: The `features` section.
    """
    return {**sae_record, "features": features.model_dump(mode="json")}
