"""The names of the splits; apart, so that how they are drawn changes no stage that only reads them."""

from typing import Literal, get_args

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
