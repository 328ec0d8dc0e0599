"""The `steer` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.params import Settings

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Prompts = Annotated[tuple[Annotated[str, Field(pattern=r"\S")], ...], Field(min_length=1)]


class SteerSettings(Settings):
    """Which latents are steered, how far, on what, and beside what."""

    enabled: bool
    """Whether any is: false for an encoder, which writes nothing."""
    candidate_labels: Count
    """Labels whose best latent is tried on `choosing_prompts`: those that a latent tells best on validation."""
    label_latents: Count
    """Labels kept of them: those that steering raised most there. They are scored on `prompts`."""
    special_latents: Count
    """Latents steered for their mean maximum activation on special tokens."""
    special_kinds: tuple[Literal[KIND_NAMES], ...]  # pyright: ignore[reportInvalidTypeForm]
    """Which tokens those are, by kind."""
    special_tokens: tuple[str, ...]
    """Which of these kinds, by their text; empty: all."""
    listed: tuple[Count, ...]
    """Further latents to be steered, by number."""
    choosing_prompts: Prompts
    """Prompts on which labels and doses are chosen."""
    prompts: Prompts
    """Prompts on which everything is scored."""
    alphas: tuple[Annotated[float, Field(gt=0)], ...]
    """Doses, as the length of what is added (FAST, Li et al. 2025, arXiv 2506.07691, Eq. 8: 15 to 200)."""
    norm_alphas: tuple[Annotated[float, Field(gt=0)], ...]
    """Further doses, in units of the mean norm of the residual stream in that layer."""
    random_controls: Positive
    """Random directions of the same length."""
    latent_controls: Positive
    """Other living latents of the same length, drawn at random."""
    max_new_tokens: Positive
    """Tokens of a continuation, at most."""
    ngram: Positive
    """Tokens of the n-grams whose repetition is counted."""
    max_repetition: Annotated[float, Field(ge=0, le=1)]
    """A continuation that repeats a larger share of its n-grams shows no label, whatever words it repeats."""
    chats: Positive
    """Validation chats that give the residual norm and the special latents; at most."""
    test_chats: Positive
    """Test chats whose perplexity under the steered model is measured; at most."""
    margin: Annotated[float, Field(ge=0, lt=1)]
    """By how much a latent must raise its label's rate above each control to be said to raise it."""
    bootstrap_resamples: Positive
    """Draws of prompts behind each interval."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Share of the draws that an interval holds."""
    seed: Count
    """Draws the controls, the chats and the resamples."""

    @model_validator(mode="after")
    def _check(self) -> "SteerSettings":
        if not self.alphas and not self.norm_alphas:
            raise ValueError("steer.alphas and steer.norm_alphas are both empty; a dose is needed")
        if self.label_latents > self.candidate_labels:
            raise ValueError(
                f"steer.label_latents is {self.label_latents}, and steer.candidate_labels, from which they are chosen, "
                f"{self.candidate_labels}"
            )
        if both := sorted({*self.prompts} & {*self.choosing_prompts}):
            raise ValueError(f"steer.prompts and steer.choosing_prompts share {both[0]!r}; what chooses must not score")
        return self
