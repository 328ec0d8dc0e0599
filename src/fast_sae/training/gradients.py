"""The gradients of the training loss by autograd, and the choice between that and a closed form."""

from importlib.util import find_spec
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from fast_sae.errors import ParamsError
from fast_sae.sae.base import Loss, SparseAutoencoder, Step
from fast_sae.training.sparse_gradients import SparseGradients
from fast_sae.training.sums import Sums, measure
from fast_sae.training.workers import Workers


@runtime_checkable
class Gradients(Protocol):
    """What differentiates a training loss."""

    norm: float | None
    """Of all gradients of the last call together; None where nobody has summed it."""

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
        self.norm: float | None = None

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


def gradients_of(
    sae: SparseAutoencoder, workers: Workers | None, encoder_dtype: torch.dtype | None = None
) -> Gradients:
    """Choose the fastest way there is for an SAE where it lies.

    Args:
        sae: In training.
        workers: Who share the work where `is_sparse` holds.
        encoder_dtype: What the encoder's dense product is computed in; None: in the SAE's own type.

    Raises:
        ParamsError: if no way has another type for the encoder alone.
    """
    if workers:
        return SparseGradients(sae, workers, encoder_dtype)
    if sae.keeps_largest is not None and sae.b_dec.device.type == "cuda" and find_spec("triton"):
        from fast_sae.training.gpu_gradients import GpuGradients  # Triton comes with torch's CUDA build alone

        return GpuGradients(sae, encoder_dtype)
    if encoder_dtype is not None:
        raise ParamsError(
            "params.yaml: train.encode_in: bfloat16 needs an architecture that keeps the K largest and, on a GPU, "
            "the package triton; install it, or set train.encode_in: full"
        )
    return DenseGradients(sae)
