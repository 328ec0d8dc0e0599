"""The stateless mathematics that the architectures share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def top_k(pre: Float[Tensor, "batch M"], k: int) -> Float[Tensor, "batch M"]:
    """Keep the k largest pre-activations of each row, where they are positive.

    >>> top_k(torch.tensor([[3.0, 1.0, 2.0, -1.0]]), k=2)
    tensor([[3., 0., 2., 0.]])
    """
    values, index = pre.topk(k, dim=-1, sorted=False)
    return torch.zeros_like(pre).scatter(-1, index, values.relu())


def batch_top_k(pre: Float[Tensor, "batch M"], k: int) -> Float[Tensor, "batch M"]:
    """Keep the k * batch largest pre-activations of the whole batch, where they are positive.

    >>> batch_top_k(torch.tensor([[3.0, 1.0], [0.5, -1.0]]), k=1)
    tensor([[3., 1.],
            [0., 0.]])
    """
    return top_k(pre.reshape(1, -1), k * len(pre)).view_as(pre)


@dataclass(frozen=True)
class ReconstructionLoss:
    """Squared error of a prediction over what it is compared with: the target's deviations, or its rows.

    >>> prediction, target = torch.tensor([[0.0], [0.0]]), torch.tensor([[1.0], [3.0]])
    >>> normalized_mse(prediction, target), summed_squared_error(prediction, target)
    (tensor(5.), tensor(5.))
    """

    over_deviations: bool

    def __call__(
        self, prediction: Float[Tensor, "batch d_in"], target: Float[Tensor, "batch d_in"]
    ) -> Float[Tensor, ""]:
        """Return Σ ‖prediction − target‖² / denominator."""
        deviations = (target - target.mean(0)).square().sum() if self.over_deviations else target.new_zeros(())
        return (prediction - target).square().sum() / self.denominator(len(target), deviations)

    def denominator(self, rows: int, deviations: Number) -> Number | int:
        """Return what the sum of squared errors is divided by.

        Args:
            rows: Rows of the target.
            deviations: Σ ‖target − mean(target)‖².
        """
        return deviations if self.over_deviations else rows


normalized_mse = ReconstructionLoss(over_deviations=True)
"""Sum of squared errors over the sum of squared deviations of the target from its batch mean.

Equation: Σ ‖prediction − target‖² / Σ ‖target − mean(target)‖², as HypotheSAEs trains with (its `_normalized_mse`). A
training loss: the metrics take their mean over the whole set.
"""
summed_squared_error = ReconstructionLoss(over_deviations=False)
"""Mean over the batch of the squared error summed over dimensions: E‖prediction − target‖².

The loss that the λ of an L1 or L0 penalty is published for (FAST, arXiv:2506.07691; SAELens).
"""


def prefix_reconstructions(
    latents: Float[Tensor, "batch M"],
    W_dec: Float[Tensor, "M d_in"],
    b_dec: Float[Tensor, " d_in"],
    prefixes: Sequence[int],
) -> Iterator[Float[Tensor, "batch d_in"]]:
    """Reconstruct from the first m latents for each m in `prefixes`, at the cost of one reconstruction.

    >>> f, W = torch.tensor([[2.0, 3.0]]), torch.eye(2)
    >>> [r.tolist() for r in prefix_reconstructions(f, W, torch.tensor([0.5, 0.5]), (1, 2))]
    [[[2.5, 0.5]], [[2.5, 3.5]]]
    """
    reconstruction, start = b_dec.expand(len(latents), -1), 0
    for end in prefixes:
        reconstruction = reconstruction + latents[:, start:end] @ W_dec[start:end]
        start = end
        yield reconstruction


def aux_k_loss(
    pre: Float[Tensor, "batch M"],
    dead: Bool[Tensor, " M"],
    k: int,
    W_dec: Float[Tensor, "M d_in"],
    error: Float[Tensor, "batch d_in"],
    *,
    loss: ReconstructionLoss = normalized_mse,
) -> Float[Tensor, ""]:
    """Error of the k most active dead latents in reconstructing what the living ones left over.

    Equation: loss(W_dec · top_k(pre over dead latents), error), Gao et al. 2024 (arXiv:2406.04093, appendix A.2), with
    the normalisation of HypotheSAEs. The error is detached, so that only dead latents learn from this term.

    Differs from HypotheSAEs: with no dead latent the term is 0, where theirs adds a constant of about 1 that has no
    gradient and hides the reconstruction in the logged loss.

    Args:
        pre: Pre-activations.
        dead: Which latents are dead.
        k: Dead latents used for one row, at most as many as are dead.
        W_dec: The decoder.
        error: x − x̂, detached.
        loss: What measures it, the same as for the reconstruction itself.
    """
    if not bool(dead.any()):
        return pre.new_zeros(())
    candidates = pre[:, dead]
    latents = top_k(candidates, min(k, candidates.shape[1]))
    return loss(latents @ W_dec[dead], error)


def round_to_bits(x: Float[Tensor, "*shape"], bits: int, dim: int | tuple[int, ...]) -> Float[Tensor, "*shape"]:
    """Round to multiples of 2^(e − bits), where 2^e is the power of two above the largest magnitude along `dim`.

    What differs by less than the grid is made equal, unless it lies on two sides of a boundary: two processors'
    float64, which differ in the last of 53 bits, then give the same bits.

    >>> round_to_bits(torch.tensor([0.9, 0.1, -0.3]), bits=2, dim=0)
    tensor([ 1.0000,  0.0000, -0.2500])
    """
    largest = x.abs().amax(dim, keepdim=True)
    grid = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent - bits)
    return (x / grid).round() * grid


def threshold_for_l0(values: Float[Tensor, " value"], n_wanted: int) -> float:
    """Find the threshold that exactly `n_wanted` of the given positive values exceed.

    It lies midway between the last value kept and the first one dropped; 0 if there are too few values to choose from.

    >>> threshold_for_l0(torch.tensor([1.0, 4.0, 2.0]), n_wanted=2)
    1.5
    """
    if len(values) <= n_wanted:
        return 0.0
    kept = values.topk(n_wanted + 1, sorted=True).values
    return float((kept[-1] + kept[-2]) / 2)
