"""What is predicted: labels, each against the rest, or a number; of the examples whose latents are pooled."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from jaxtyping import Float64, Int64

from fast_sae.chat.examples import Example
from fast_sae.chat.splits import Split
from fast_sae.errors import ArtifactError, ParamsError
from fast_sae.features.store import FeatureStore
from fast_sae.features.tables import STAGE
from fast_sae.hypotheses.settings import HypothesesSettings


@dataclass(frozen=True)
class Held:
    """The examples of a split that have a label and pooled latents."""

    split: Split
    index: Int64[np.ndarray, " example"]
    """Their places within the split."""
    examples: Sequence[Example]
    latents: sp.csr_array
    """(example, M); 0 where a latent does not fire."""

    @property
    def labels(self) -> list[str]:
        """The label of each."""
        return [str(example.label) for example in self.examples]

    @property
    def pairs(self) -> Iterable[tuple[Example, int]]:
        """Each example with its place within the split."""
        return zip(self.examples, self.index.tolist(), strict=True)

    def draw(self, n: int, seed: int) -> Int64[np.ndarray, " drawn"]:
        """Draw up to n of them; rising."""
        drawn = np.random.default_rng(seed).permutation(len(self.examples))[:n]
        return np.sort(drawn)


@dataclass(frozen=True)
class Targets:
    """What is predicted of each example of validation and of test."""

    names: Sequence[str]
    is_label: bool
    validation: Float64[np.ndarray, "validation_example target"]
    """1 or 0 of a label: an example has it or another one."""
    test: Float64[np.ndarray, "test_example target"]


def hold(store: FeatureStore, split: Split, examples: Sequence[Example]) -> Held:
    """Put the pooled latents of a split beside its labelled examples.

    Args:
        store: data/features.
        split: validation or test.
        examples: All of the split, as data/prepared holds them.

    Raises:
        ArtifactError: if the latents are those of other examples.
    """
    pooled = store.pooled_examples(split)
    index = pooled["example"].to_numpy().astype(np.int64)
    labels = [None if pd.isna(label) else label for label in pooled["label"]]
    if store.count("examples", split) != len(examples) or labels != [examples[i].label for i in index]:
        raise ArtifactError(
            f"{store.folder} was made of other examples than data/prepared holds; run: dvc repro {STAGE}"
        )
    labelled = np.flatnonzero([examples[i].label is not None for i in index])
    return Held(split, index[labelled], [examples[i] for i in index[labelled]], store.pooled(split)[labelled])


def read_targets(validation: Held, test: Held, settings: HypothesesSettings) -> Targets:
    """Read what is predicted off the labels.

    Raises:
        ParamsError: if there are no labels to predict, a listed one is missing, or a number is none.
    """
    for held in (validation, test):
        if not held.examples:
            raise ParamsError(
                f"params.yaml: hypotheses.enabled is true, but no example of {held.split} has a label; set "
                "data.label_field, or hypotheses.enabled: false"
            )
    if settings.target == "number":
        return Targets(["number"], False, *(_numbers(held)[:, None] for held in (validation, test)))
    names = _label_names(validation, test, settings.labels)
    found = (np.array([[label == name for name in names] for label in held.labels]) for held in (validation, test))
    return Targets(names, True, *(has.astype(np.float64) for has in found))


def no_targets(validation: Held, test: Held) -> Targets:
    """Return targets that are none."""
    return Targets([], True, np.empty((len(validation.examples), 0)), np.empty((len(test.examples), 0)))


def _label_names(validation: Held, test: Held, wanted: Sequence[str] | None) -> list[str]:
    of_splits = {*validation.labels}, {*test.labels}
    both = sorted(of_splits[0] & of_splits[1])
    for name in wanted or ():
        if name not in both:
            raise ParamsError(
                f"params.yaml: hypotheses.labels names {name!r}, which validation and test do not both hold; they hold "
                f"{', '.join(both[:5])}{' and more' if both[5:] else ''}"
            )
    names = sorted({*(wanted if wanted is not None else both)})
    if not names or min(map(len, of_splits)) < 2:
        raise ParamsError(
            "params.yaml: hypotheses.target is label, but validation and test do not hold two labels each to tell "
            "apart; set hypotheses.target: number, or hypotheses.enabled: false"
        )
    return names


def _numbers(held: Held) -> Float64[np.ndarray, " example"]:
    values = np.array([_number(label) for label in held.labels])
    if len(wrong := np.flatnonzero(~np.isfinite(values))):
        raise ParamsError(
            f"params.yaml: hypotheses.target is number, but {held.split} has the label {held.labels[wrong[0]]!r}; set "
            "hypotheses.target: label, or data.label_field to a field of finite numbers"
        )
    if len({*values.tolist()}) < 2:
        raise ParamsError(
            f"params.yaml: hypotheses.target is number, but every label of {held.split} is {held.labels[0]}; there is "
            "nothing to predict"
        )
    return values


def _number(label: str) -> float:
    try:
        return float(label)
    except ValueError:
        return math.nan
