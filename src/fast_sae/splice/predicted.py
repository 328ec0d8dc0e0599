"""What predicting each token of some sequences costs, by a model's logits.

Memory: the log-probabilities of 256 positions at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fast_sae.splice.causal_lm import Batch

_POSITIONS = 256
"""Positions whose log-probabilities are held at once."""


@dataclass(frozen=True)
class Predicted:
    """The tokens of a batch that are predicted, sequence behind sequence: each but the first of its sequence."""

    source: Int64[Tensor, "token 2"]
    """Row and position of the token before, where the prediction sits."""
    target: Int64[Tensor, " token"]
    """The token's id."""

    @classmethod
    def of(cls, batch: Batch) -> "Predicted":
        """Find them: a real token behind a real one."""
        follows = batch.real[:, :-1] & batch.real[:, 1:]
        return cls(follows.nonzero(), batch.token_ids[:, 1:][follows])

    def cross_entropy(self, logits: Float[Tensor, "batch position vocabulary"]) -> Float[Tensor, " token"]:
        """Return −log p(target) of each token, in nats."""
        targets = self.target.split(_POSITIONS)
        parts = zip(self._log_probabilities(logits), targets, strict=True)
        return torch.cat([-log_p.gather(1, target[:, None])[:, 0] for log_p, target in parts])

    def divergence(
        self, clean: Float[Tensor, "batch position vocabulary"], other: Float[Tensor, "batch position vocabulary"]
    ) -> Float[Tensor, " token"]:
        """Return KL(p ‖ q) = Σ p (log p − log q) of each token, in nats: p by the clean logits, q by the others."""
        parts = zip(self._log_probabilities(clean), self._log_probabilities(other), strict=True)
        return torch.cat([(log_p.exp() * (log_p - log_q)).sum(1) for log_p, log_q in parts])

    def _log_probabilities(
        self, logits: Float[Tensor, "batch position vocabulary"]
    ) -> Iterator[Float[Tensor, "token vocabulary"]]:
        """Normalise in float32, or in float64 where the model has it, some tokens at a time."""
        wide = torch.promote_types(logits.dtype, torch.float32)
        for part in self.source.split(_POSITIONS):
            row, position = part.unbind(1)
            yield logits[row, position].to(wide).log_softmax(-1)
