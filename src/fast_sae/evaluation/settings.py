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
    """Labelled examples drawn from a split for the label metrics, at most; memory is 4 bytes times this times
    sae.M + 3 d_in, with 8 bytes for what is a mean while it is summed up."""
    bootstrap_resamples: Annotated[int, Field(gt=0)]
    """Resamples of the test examples behind each interval; memory is 8 bytes times this times d_in for each cell
    (`evaluation.cells`) that occurs, up to 4 per kind of token, and for two more while a population is measured."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Share of the resamples that an interval holds."""
    seed: Annotated[int, Field(ge=0)]
    """Draws the resamples, the label examples and the probe's folds."""
