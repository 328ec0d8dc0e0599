"""The `data` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fast_sae.params import Settings


class DataSettings(Settings):
    """Which examples there are, and how they are split."""

    path: str
    """The data file: .jsonl, .json, .csv, .tsv or .parquet."""
    text_field: str | None
    """Field with a bare text; an example without it must carry `messages` or `conversations`. Null: chats only."""
    label_field: str | None
    """Field with a label, for stratified splits and label metrics. Null: no labels."""
    id_field: str | None
    """Field that names an example; examples without it are named by their line. Null: all by their line."""
    on_bad_line: Literal["fail", "skip"]
    """What to do with a line that cannot be used: end with all of them named, or go on without them."""
    dedup_ngram: Annotated[int, Field(ge=0)]
    """Drop an example that shares a word n-gram of this length with an earlier one; FAST takes 20; 0: keep all."""
    max_examples: Annotated[int, Field(gt=0)] | None
    """Use a random part of the data, of this many examples, in the labels' proportions. Null: all."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    """Share of the examples that stops training and calibrates thresholds."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    """Share of the examples that only evaluation sees."""
    seed: Annotated[int, Field(ge=0)]
    """Seed of the split and of the choice under `max_examples`."""

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> "DataSettings":
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction + test_fraction must be less than 1")
        return self
