"""The `hypotheses` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fast_sae.artifacts import Json
from fast_sae.backends.settings import BackendSettings
from fast_sae.params import Settings

Positive = Annotated[int, Field(gt=0)]

SelectBy = Literal["separation", "correlation", "lasso"]
Correction = Literal["holm", "bonferroni", "benjamini_hochberg"]


class HypothesesSettings(Settings):
    """What is predicted from which latents, and how a hypothesis is tested."""

    enabled: bool
    """Whether hypotheses are made at all: false for data without labels."""
    target: Literal["label", "number"]
    """Predict each label against the rest, or the number that the label is."""
    labels: tuple[str, ...] | None
    """Labels that are predicted. Null: all that validation and test both hold."""
    select_by: SelectBy
    """How latents are chosen that go with a target on validation: docs/hypotheses.md."""
    separation_top: Positive
    """Examples in which a latent is strongest whose mean target the separation score compares; HypotheSAEs: 100."""
    n_hypotheses: Positive
    """Latents chosen for each target, at most."""
    candidates: Positive
    """Names tried for each latent, of which validation chooses one."""
    strong_share: Annotated[float, Field(gt=0, lt=1)]
    """Share of the texts of validation, those in which a latent is strongest, that its name is to be true of, and not
    of the others; fewer, if it fires in fewer."""
    choosing_texts: Positive
    """Texts of validation, at most, that choose between names, half of them from the strong ones."""
    validation_examples: Positive
    """Texts of validation annotated, at most, on which the joint models are fitted."""
    test_examples: Positive
    """Texts of test annotated, at most, on which everything is tested."""
    words_per_text: Positive
    """Words of a text that are annotated, the first ones; HypotheSAEs: 256."""
    alpha: Annotated[float, Field(gt=0, lt=1)]
    """A hypothesis is significant if its corrected p-value is at most this."""
    correction: Correction
    """What is held at alpha over all hypotheses of the run: the chance of one false one or more (holm, bonferroni), or
    the share of false ones on average (benjamini_hochberg)."""
    permutations: Positive
    """Times that the targets of test are shuffled, to see how often a hypothesis is significant by chance."""
    bootstrap_resamples: Positive
    """Resamples of the annotated test texts behind each interval."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Share of the resamples that an interval holds."""
    seed: Annotated[int, Field(ge=0)]
    """Draws the texts, the resamples and the shuffles."""

    @model_validator(mode="after")
    def _reads_its_labels(self) -> "HypothesesSettings":
        if self.target == "number" and self.labels is not None:
            raise ValueError("hypotheses.labels is not read under target: number; leave it empty")
        return self


def hypotheses_record(features: Json, backend: BackendSettings, hypotheses: HypothesesSettings) -> Json:
    """Return what decides data/hypotheses, as its manifest holds it.

    Args:
        features: The `features_record` of data/features.
        backend: The keys of `interpret` that are the backend's.
        hypotheses: The `hypotheses` section.
    """
    asked = backend.model_dump(mode="json", include={*BackendSettings.model_fields})
    return {**features, "interpret": asked, "hypotheses": hypotheses.model_dump(mode="json")}
