"""The `in_model` section of params.yaml."""

from typing import Annotated

from pydantic import Field

from fast_sae.params import Settings


class InModelSettings(Settings):
    """How the SAE is tried within the language model."""

    enabled: bool
    """Whether it is tried at all: false for an encoder, which predicts no next token."""
    examples: Annotated[int, Field(gt=0)] | None
    """Test examples measured, drawn at random; as many of validation give the mean activation. Null: all."""
    ce_floor: Annotated[float, Field(ge=0)]
    """Nats per token by which ablation must raise the cross-entropy for `ce_recovered` to be told; its interval is
    told where ablation does so in every resample."""
    bootstrap_resamples: Annotated[int, Field(gt=0)]
    """Draws of whole examples behind each interval."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Share of the draws that an interval holds."""
    seed: Annotated[int, Field(ge=0)]
    """Seed of the examples and of the bootstrap."""
