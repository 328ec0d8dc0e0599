"""A held-out split as evaluation and features read it: its rows, and the label of each of its examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fast_sae.activations.opening import Activations, require_same_examples
from fast_sae.activations.source import ActivationSource
from fast_sae.chat.prepared import read_prepared
from fast_sae.chat.splits import Split


@dataclass(frozen=True)
class Held:
    """One held-out split."""

    split: Split
    source: ActivationSource
    labels: Sequence[str | None]
    """The label of each example."""


def open_held(activations: Activations, prepared: Path, split: Split) -> Held:
    """Open a split beside the labels of its examples.

    Args:
        activations: What is opened.
        prepared: data/prepared.
        split: validation or test.

    Raises:
        ArtifactError: if the activations cannot be read, or are of other examples.
    """
    source = activations.open(split)
    require_same_examples(source.provenance, prepared, split)
    return Held(split, source, [example.label for example in read_prepared(prepared, split)])
