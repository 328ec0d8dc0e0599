"""Sums over predicted tokens from which cross-entropies and KL follow as ratios of whole sums.

Tokens fall into cells by what is predicted: the role and the kind of the target. All sums are float64, kept by example
(for the bootstrap), and those of two parts of a data set add up.
"""

import numpy as np
from jaxtyping import Bool, Float, Integer

from fast_sae.chat.kinds import Kind
from fast_sae.chat.roles import Role

N_CELLS = len(Role) * len(Kind)
QUANTITIES = ("ce_clean", "ce_sae", "ce_zero", "ce_mean", "kl")
"""What is summed, in nats: cross-entropy of the model as it is, with the SAE's reconstruction, zeros and the mean
spliced in, and KL(clean ‖ SAE)."""


def cell_of(role: Integer[np.ndarray, " token"], kind: Integer[np.ndarray, " token"]) -> Integer[np.ndarray, " token"]:
    """Number the cell of each target."""
    return len(Kind) * role.astype(np.int64) + kind


def cells_of_role(role: int) -> Bool[np.ndarray, " cell"]:
    """Mark the cells of one role."""
    return np.arange(N_CELLS) // len(Kind) == role


def cells_of_kind(kind: int) -> Bool[np.ndarray, " cell"]:
    """Mark the cells of one kind."""
    return np.arange(N_CELLS) % len(Kind) == kind


class PredictionSums:
    """Predicted tokens and sums of nats, by example and cell."""

    def __init__(self, n_examples: int) -> None:
        """Start from nothing."""
        self.tokens = np.zeros((n_examples, N_CELLS), np.int64)
        self.nats = np.zeros((len(QUANTITIES), n_examples, N_CELLS))

    def add(
        self,
        example: Integer[np.ndarray, " token"],
        cell: Integer[np.ndarray, " token"],
        nats: Float[np.ndarray, "quantity token"],
    ) -> None:
        """Take some predicted tokens.

        Args:
            example: Index of the example each stands in.
            cell: The cell of each.
            nats: Its `QUANTITIES`.
        """
        np.add.at(self.tokens, (example, cell), 1)
        for sums, values in zip(self.nats, nats, strict=True):
            np.add.at(sums, (example, cell), values)

    def merge(self, other: "PredictionSums") -> None:
        """Add the sums over other tokens of the same examples."""
        self.tokens += other.tokens
        self.nats += other.nats
