"""What models/tiny-instruct is trained on, and what is kept from it."""

from collections.abc import Sequence
from typing import Any

from cognitive_actions.compose import Example, Pair, compose, held_out_pairs, load_banks

Params = dict[str, Any]
"""The `texts` section of the recipe's params.yaml."""


def kept_back(params: Params) -> list[Pair]:
    """Return the (action, domain) pairs that no training text has."""
    return held_out_pairs(params["n_held_out_pairs"], seed=params["seed"])


def training_texts(params: Params) -> list[Example]:
    """Compose the training texts, without the pairs that are kept back."""
    kept = set(kept_back(params))
    pairs = [pair for pair in load_banks().pairs if pair not in kept]
    return compose(params["n_texts"], seed=params["seed"], pairs=pairs)


def held_out_texts(params: Params) -> Sequence[Example]:
    """Compose texts of the pairs that are kept back."""
    return compose(params["n_held_out_texts"], seed=params["seed"] + 1, pairs=kept_back(params))
