"""The gradients of the training loss by autograd, which all architectures can; `sparse_gradients` has a closed form."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from fast_sae.sae.base import Loss, SparseAutoencoder, Step
from fast_sae.training.sums import Sums, measure


@runtime_checkable
class Gradients(Protocol):
    """What differentiates a training loss."""

    def __call__(self, x: Float[Tensor, "batch d_in"], step: Step) -> Loss:
        """Leave in `.grad` of every parameter the gradient of the loss, W_dec's without what is along its rows."""
        ...

    def measure(self, x: Float[Tensor, "batch d_in"]) -> Sums:
        """Reconstruct rows by the rule of inference; no gradient is touched."""
        ...


class DenseGradients:
    """By autograd; the reference."""

    def __init__(self, sae: SparseAutoencoder) -> None:
        """Differentiate the loss of an SAE."""
        self._sae = sae

    def __call__(self, x: Float[Tensor, "batch d_in"], step: Step) -> Loss:
        """Go forward and backward."""
        loss = self._sae.loss(x, step)
        self._sae.zero_grad()
        loss.total.backward()
        self._sae.before_step()
        return loss

    def measure(self, x: Float[Tensor, "batch d_in"]) -> Sums:
        """Encode and decode."""
        return measure(self._sae, x)
