"""The `evaluate` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from fast_sae.params import Settings


class EvaluateSettings(Settings):
    """What evaluation computes beyond the fixed metrics."""

    source: Literal["stored", "live"]
    """Read validation and test from disk, or compute those of them that extract.store does not hold."""
    label_pooling: Literal["max", "mean"]
    """How the latents of an example's tokens become one value per latent, for the label metrics."""
    label_examples: Annotated[int, Field(gt=0)]
    """Examples of a split used for the label metrics, at most; memory is 4 bytes times this times sae.M."""
