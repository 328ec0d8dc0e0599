"""The `model` and `extract` sections of params.yaml."""

import datetime
import json
from itertools import pairwise
from typing import Annotated, Literal, cast

from pydantic import Field, field_validator, model_validator

from fast_sae.artifacts import Json
from fast_sae.chat.splits import Split
from fast_sae.params import Settings

STAGE = "extract_activations"


class ModelSettings(Settings):
    """The language model whose activations are read."""

    name: str
    """Folder of a local model, or the id of one on the Hugging Face hub."""
    files: str
    """What DVC watches: the folder of a local model (the same as `name`), or models/HUB_MODEL for one on the hub."""
    revision: str | None
    """Branch, tag or commit on the hub; null for a local model."""
    dtype: Literal["float64", "float32", "bfloat16", "float16"]
    """What the model computes in; never chosen for you."""

    @model_validator(mode="after")
    def _is_local_or_on_the_hub(self) -> "ModelSettings":
        if self.files not in (HUB_MODEL, self.name):
            raise ValueError(
                f"model.files is {self.files!r}; set it to {self.name!r} for a local model, or to {HUB_MODEL} "
                "for one on the hub"
            )
        if self.is_local and self.revision is not None:
            raise ValueError("model.revision must be null for a local model")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the model is a folder on this machine."""
        return self.files != HUB_MODEL


HUB_MODEL = "models/HUB_MODEL"
"""A file that stands in DVC's list of dependencies where a hub model has no folder here."""


class ExtractSettings(Settings):
    """Which activations are kept, and how."""

    layers: tuple[Annotated[int, Field(ge=0)], ...]
    """Indices into the model's `hidden_states`: 0 is the embedding, n the output of the n-th block; the last of most
    decoders is taken after the final norm."""
    template: Literal["chat", "none"]
    """Render each example by the tokenizer's chat template, or feed bare texts as they are."""
    template_kwargs: dict[str, str | int | float | bool | None]
    """Further variables for the chat template, such as date_string."""
    template_date: str
    """The day, YYYY-MM-DD, that a template is told which asks for today's date."""
    max_length: Annotated[int, Field(gt=0)]
    """Tokens kept of one example; what is cut off is counted."""
    packing: Literal["fast", "block"]
    """How train is fed: each example alone (FAST), or concatenated and cut into blocks (the baseline that FAST is
    compared with). Validation and test are always fed as whole examples alone."""
    block_size: Annotated[int, Field(gt=0)]
    """Tokens in one block under packing block."""
    store: tuple[Split, ...]
    """Splits whose activations are kept on disk; of the others the tokens are, and `source: live` computes the rest."""
    shard_rows: Annotated[int, Field(gt=0)]
    """Rows in one shard file, about: a shard ends with the example that fills it."""
    dtype: Literal["float16", "float32"]
    """What activations are stored in."""

    def block_of(self, split: str) -> int | None:
        """Return the tokens in one block of a split; None where each example is fed alone."""
        return self.block_size if self.packing == "block" and split == "train" else None

    @field_validator("store")
    @classmethod
    def _is_named_once(cls, value: tuple[Split, ...]) -> tuple[Split, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"store must name each split once, found {list(value)}")
        return value

    @field_validator("template_date")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        try:
            if datetime.date.fromisoformat(value).isoformat() == value:
                return value
        except ValueError:
            pass
        raise ValueError(f"template_date must be a day as YYYY-MM-DD, found {value!r}")

    @field_validator("layers")
    @classmethod
    def _rise(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or any(b <= a for a, b in pairwise(value)):
            raise ValueError(f"layers must be a rising list of layer numbers, found {list(value)}")
        return value


def activation_record(model: ModelSettings, extract: ExtractSettings) -> Json:
    """Return what decides the activations of one layer, as their manifest holds it.

    Other layers do not, nor which splits are kept on disk, nor the size of blocks where there are none.
    """
    left_out = {"layers", "store", *(() if extract.packing == "block" else ("block_size",))}
    return {"model": model.model_dump(mode="json"), "extract": extract.model_dump(mode="json", exclude=left_out)}


def read_record(record: Json, layer: int) -> tuple[ModelSettings, ExtractSettings]:
    """Return the settings by which one layer of other texts is read as that of a record was: each text alone.

    Raises:
        KeyError, TypeError, ValidationError: if `record` is not one of `activation_record`.
    """
    made = cast(Json, record["extract"])
    alone = {"layers": [layer], "packing": "fast", "block_size": 1, "store": []}
    return (
        ModelSettings.model_validate_json(json.dumps(record["model"])),
        ExtractSettings.model_validate_json(json.dumps({**made, **alone})),
    )
