"""The memory of a step over few active latents, kept from step to step: fresh pages cost more than the arithmetic."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64, Int16, Int32, Int64
from torch import Tensor, nn

from fast_sae.sae.base import SparseAutoencoder
from fast_sae.training.terms import Term

_TILE = 2**22
"""Pre-activations that one thread encodes at once, 16 MB in float32: each product packs the whole encoder anew, which
64 rows of 8,192 latents do not outweigh, and 512 do."""


@dataclass(frozen=True)
class Places:
    """What a code holds at some places of each row."""

    values: Float[np.ndarray, "batch k"]
    index: Int32[np.ndarray, "batch k"]
    layers: Int16[np.ndarray, "batch k"]
    slopes: Float[np.ndarray, "batch k"]


@dataclass(frozen=True)
class Code:
    """The latents of some rows, and what the loss says of them; the index M stands for no latent.

    Views are made once: in a small step, making them would take as long as what is done with them.
    """

    centred: Float[np.ndarray, "batch d_in"]
    """What the encoder reads."""
    values: Float[np.ndarray, "batch place"]
    index: Int32[np.ndarray, "batch place"]
    layers: Int16[np.ndarray, "batch place"]
    """Which of the row's errors a latent adds to."""
    slopes: Float[np.ndarray, "batch place"]
    """Half the derivative of the squared errors by each value."""
    errors: Float[np.ndarray, "batch layer d_in"]
    _rows: dict[tuple[int, int], "Code"] = field(default_factory=dict, init=False, repr=False)
    _at: dict[tuple[int, int], Places] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.centred)

    def rows(self, first: int, last: int) -> "Code":
        """View some of the rows."""
        if (first, last) not in self._rows:
            arrays = (self.centred, self.values, self.index, self.layers, self.slopes, self.errors)
            self._rows[first, last] = Code(*(array[first:last] for array in arrays))
        return self._rows[first, last]

    def at(self, places: slice) -> Places:
        """View some of the places of each row."""
        ends = places.start, places.stop
        if ends not in self._at:
            arrays = (self.values, self.index, self.layers, self.slopes)
            self._at[ends] = Places(*(array[:, places] for array in arrays))
        return self._at[ends]

    @cached_property
    def tensor(self) -> Float[Tensor, "batch d_in"]:
        """`centred` as torch takes it."""
        return torch.from_numpy(self.centred)


class Space:
    """The arrays of a step on the CPU."""

    def __init__(self, sae: SparseAutoencoder, last: Term, threads: int) -> None:
        """Make what hangs on no batch, and give the parameters gradients to keep.

        Args:
            sae: In training.
            last: The last term of its loss.
            threads: Who share the work.
        """
        M = sae.settings.M
        self._places, self._layers, self._d_in = last.places.stop, last.layers.stop, sae.d_in
        self.W_dec, self.b_dec = sae.W_dec.detach().numpy(), sae.b_dec.detach().numpy()
        self.W_encT, self.b_enc = sae.W_enc.detach().T.numpy(), sae.b_enc.detach().numpy()
        self.dtype = self.W_dec.dtype
        self.gradients: dict[str, Float[np.ndarray, ...]] = {
            name: _with_gradient(parameter, transposed=name == "W_enc") for name, parameter in sae.named_parameters()
        }
        """As they lie in memory: W_enc's by latent."""
        self.names = np.arange(M, dtype=np.int32)
        self.starts: Int64[np.ndarray, " latent"] = np.empty(M + 2, np.int64)
        """Where each latent's entries start; that of no latent among them, and the end."""
        self.squares: Float64[np.ndarray, " latent"] = np.empty(M)
        """Of each latent's gradients."""
        self.scales: Float[np.ndarray, " layer"] = np.zeros(self._layers, self.dtype)
        """What errors and slopes of a layer are multiplied by."""
        self.tile: Float[Tensor, "thread number"] = torch.empty(threads, max(_TILE, M), dtype=sae.W_dec.dtype)
        self.found = np.empty((threads, M), self.dtype)
        self.where = np.empty((threads, M), np.int32)
        self._code, self._entries = self._make(0), np.empty(0, np.int64)
        self._pre: dict[tuple[int, int], tuple[Tensor, np.ndarray]] = {}

    def code(self, batch: int) -> Code:
        """Return arrays for so many rows; new ones only for more than ever before."""
        if batch > len(self._code):
            self._code, self._entries = self._make(batch), np.empty(batch * self._places, np.int64)
        return self._code if batch == len(self._code) else self._code.rows(0, batch)

    def pre_activations(
        self, worker: int, rows: int, latents: int
    ) -> tuple[Float[Tensor, "row latent"], Float[np.ndarray, "row latent"]]:
        """Return a worker's room for pre-activations, at most a tile, as torch and as numpy take it."""
        asked = worker, rows
        if latents == len(self.names) and asked in self._pre:
            return self._pre[asked]
        pre = self.tile[worker, : rows * latents].view(rows, latents)
        found = pre, pre.numpy()
        if latents == len(self.names):  # of dead latents there are now so many and now so many
            self._pre[asked] = found
        return found

    def entries(self, batch: int) -> Int64[np.ndarray, " entry"]:
        """Return room for the places of so many rows, sorted by latent."""
        return self._entries[: batch * self._places]

    def _make(self, batch: int) -> Code:
        places = (batch, self._places)
        return Code(
            centred=np.empty((batch, self._d_in), self.dtype),
            values=np.empty(places, self.dtype),
            index=np.empty(places, np.int32),
            layers=np.empty(places, np.int16),
            slopes=np.empty(places, self.dtype),
            errors=np.empty((batch, self._layers, self._d_in), self.dtype),
        )


def _with_gradient(parameter: nn.Parameter, *, transposed: bool) -> Float[np.ndarray, "..."]:
    """Give a parameter a gradient that stays where it is, and view it."""
    parameter.grad = torch.zeros_like(parameter)
    return (parameter.grad.T if transposed else parameter.grad).numpy()
