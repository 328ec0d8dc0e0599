"""Parts of the data, in the labels' proportions: some of it, and train, validation and test, by example."""

from collections.abc import Sequence

import numpy as np

from fast_sae.chat.examples import Example
from fast_sae.chat.settings import DataSettings
from fast_sae.chat.splits import SPLITS, Split
from fast_sae.errors import DataError


def choose_examples(examples: Sequence[Example], settings: DataSettings) -> list[Example]:
    """Draw `max_examples` examples, stratified by label as the splits are; the order of the data is kept."""
    if settings.max_examples is None or settings.max_examples >= len(examples):
        return list(examples)
    row = _shuffled_by_label(examples, np.random.default_rng(settings.seed))
    chosen = row[_every(len(row), settings.max_examples / len(row))]
    return [examples[i] for i in sorted(chosen)]


def split_examples(examples: Sequence[Example], settings: DataSettings) -> dict[Split, list[Example]]:
    """Assign each example to one split, stratified by label; the order of the data is kept within each.

    The examples are put in a row, label by label and shuffled within a label; every 1/fraction-th one is taken. So
    each label's share in validation and test is within one example of its fraction, and the totals are exact.
    """
    row = _shuffled_by_label(examples, np.random.default_rng(settings.seed))
    test = _every(len(row), settings.test_fraction)
    rest = np.flatnonzero(~test)
    validation = np.zeros(len(row), bool)
    validation[rest] = _every(len(rest), settings.validation_fraction / (1 - settings.test_fraction))
    parts = {"train": row[~test & ~validation], "validation": row[validation], "test": row[test]}
    for name, part in parts.items():
        if len(part) == 0:
            raise DataError(f"{len(examples)} examples leave none for {name}; add data or raise its fraction")
    return {name: [examples[i] for i in sorted(parts[name])] for name in SPLITS}


def _shuffled_by_label(examples: Sequence[Example], generator: np.random.Generator) -> np.ndarray:
    shuffled = generator.permutation(len(examples))
    numbers = {label: n for n, label in enumerate(sorted({example.label or "" for example in examples}))}
    labels = [numbers[examples[i].label or ""] for i in shuffled]
    return shuffled[np.argsort(labels, kind="stable")]


def _every(n: int, fraction: float) -> np.ndarray:
    """Mark round(n * fraction) of n places, evenly spread.

    >>> _every(5, 0.4).astype(int)
    array([0, 1, 0, 1, 0])
    """
    steps = np.floor(np.arange(n + 1) * fraction + 0.5).astype(np.int64)
    return np.diff(steps) > 0
