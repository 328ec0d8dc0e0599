"""The `train` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fast_sae.activations.settings import ExtractSettings, ModelSettings, activation_record
from fast_sae.artifacts import Json
from fast_sae.chat.kinds import KIND_NAMES, Kind
from fast_sae.params import Settings
from fast_sae.sae.settings import SAESettings
from fast_sae.training.schedule import LearningRate


class TrainSettings(Settings):
    """How an SAE is fitted; the defaults in params.yaml are those of HypotheSAEs."""

    kinds: tuple[str, ...]
    """Kinds of tokens trained on: begin_of_text, scaffold, role_name, content, end_of_turn."""
    source: Literal["stored", "live"]
    """Train from the activations on disk, or compute those of train in each epoch."""
    buffer_tokens: Annotated[int, Field(gt=0)]
    """Rows in the buffer that mixes live activations: FAST's, Li et al. 2025 (arXiv:2506.07691)."""
    batch_size: Annotated[int, Field(gt=0)]
    """Rows in one step."""
    loss: Literal["nmse", "sse"]
    """What the error of a reconstruction is: the batch's squared error over its variance (HypotheSAEs), or the squared
    error summed over dimensions (FAST, SAELens), for which the λ of papers are meant."""
    normalise_input: Literal["none", "rms"]
    """Scale the rows so that their root mean squared distance from the mean is 1; the saved weights take raw rows."""
    init_b_dec: Literal["median", "geometric_median", "mean", "zero"]
    """Where the decoder bias starts: in the middle of the data as HypotheSAEs or as FAST takes it, or elsewhere."""
    init_encoder: Literal["tied", "kaiming"]
    """Start the encoder as the decoder's transpose, or draw it by itself."""
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Adam's learning rate, the highest of the run."""
    schedule: Literal["constant", "cosine", "linear"]
    """What the learning rate does between warm-up and decline."""
    lr_end: Annotated[float, Field(ge=0)] | None
    """Where cosine and linear end; null under constant."""
    lr_warmup_steps: Annotated[int, Field(ge=0)]
    """Steps over which the learning rate rises from nearly 0."""
    lr_decay_steps: Annotated[int, Field(ge=0)]
    """Last steps, over which it falls to 0."""
    epochs: Annotated[int, Field(gt=0)]
    """Passes over the training rows, at most."""
    patience: Annotated[int, Field(gt=0)]
    """Epochs without a better validation loss after which training ends; the best weights are kept. Where L0 is
    steered, only epochs at that L0 count."""
    clip: Annotated[float, Field(gt=0)]
    """Largest norm of the gradient."""
    gradient_bits: Annotated[int, Field(ge=4, le=52)] | None
    """Bits kept of a gradient, so that float64 runs on other processors do not part. Null: all."""
    dead_after_steps: Annotated[int, Field(gt=0)]
    """A latent is dead after this many steps without firing."""
    resample_every: Annotated[int, Field(gt=0)] | None
    """Steps between two resamplings of the dead latents (beside or instead of aux-K). Null: never."""
    init_rows: Annotated[int, Field(gt=0)]
    """Rows from which the start of the decoder bias, the scale, and resampled directions are taken."""
    dtype: Literal["float64", "float32"]
    """What training computes in; weights are saved in float32."""
    encode_in: Literal["full", "bfloat16"]
    """What a training step's dense product with W_enc is computed in: `dtype` (full), or bfloat16, which processors
    with units for it multiply many times faster. Which latents are kept is then decided in bfloat16; their values and
    all else stay in `dtype`. Of use to an architecture that keeps the K largest, and refused to others."""
    log_every: Annotated[int, Field(gt=0)]
    """Steps between two points of the training curves; a point is the mean over them."""
    seed: Annotated[int, Field(ge=0)]
    """Seed of the initial weights and of the order of the rows."""

    @model_validator(mode="after")
    def _knows_its_kinds(self) -> "TrainSettings":
        unknown = set(self.kinds) - set(KIND_NAMES)
        if not self.kinds or unknown:
            found = sorted(unknown) if self.kinds else "none"
            raise ValueError(f"train.kinds must name some of {', '.join(KIND_NAMES)}, found {found}")
        return self

    @model_validator(mode="after")
    def _ends_where_it_falls(self) -> "TrainSettings":
        if (self.lr_end is None) != (self.schedule == "constant"):
            wanted = "null" if self.schedule == "constant" else "a number"
            raise ValueError(f"train.lr_end must be {wanted} under train.schedule={self.schedule}, found {self.lr_end}")
        if self.lr_end == 0 and self.lr_decay_steps:
            raise ValueError(
                "train.lr_end is 0, from where nothing is left for train.lr_decay_steps to fall; set one of them"
            )
        if self.lr_end is not None and self.lr_end > self.lr:
            raise ValueError(f"train.lr_end must not exceed train.lr={self.lr}, found {self.lr_end}")
        return self

    def learning_rate(self, steps: int) -> LearningRate:
        """Lay the learning rate out over so many steps."""
        return LearningRate(
            self.lr,
            self.schedule,
            end=self.lr_end,
            warmup=self.lr_warmup_steps,
            decay=self.lr_decay_steps,
            total=steps,
        )

    @property
    def kind_numbers(self) -> tuple[int, ...]:
        """The kinds as the activation store numbers them."""
        return tuple(Kind[name.upper()] for name in self.kinds)


def training_record(model: ModelSettings, extract: ExtractSettings, sae: SAESettings, train: TrainSettings) -> Json:
    """Return what decides a trained SAE, as its manifest holds it."""
    own = {"sae": sae.model_dump(mode="json"), "train": train.model_dump(mode="json")}
    return {**activation_record(model, extract), **own}
