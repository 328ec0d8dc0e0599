"""The gradients of Top-K's loss in closed form on a GPU: `sparse_gradients`' equations, one dense product, Triton.

A step waits for the GPU once, where the auxiliary term has dead latents to count. Pre-activations are encoded some rows
at a time, so that they never lie there for a whole batch. In float32 the product follows torch's setting for it
(`torch.set_float32_matmul_precision`).

Tested in Triton's interpreter, on a CPU. Nothing here has run on a GPU: the tests that need one are skipped without.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor

from fast_sae.sae.base import Loss, SparseAutoencoder, Step
from fast_sae.training.kernels import triton_codes as codes
from fast_sae.training.sums import Sums
from fast_sae.training.terms import Term, Terms

Encoder = tuple[Float[Tensor, "d_in latent"], Float[Tensor, " latent"]]
"""W_enc and b_enc of all latents or of some."""

_TILE = 2**27
"""Pre-activations that are encoded at once: 512 MiB in float32."""


@dataclass(frozen=True)
class _Code:
    """The latents of some rows, and what the loss says of them; the index M stands for no latent."""

    centred: Float[Tensor, "batch d_in"]
    """What the encoder reads."""
    values: Float[Tensor, "batch place"]
    index: Int32[Tensor, "batch place"]
    layers: Int32[Tensor, "batch place"]
    """Which of the row's errors a latent adds to."""
    slopes: Float[Tensor, "batch place"]
    """Half the derivative of the squared errors by each value."""
    errors: Float[Tensor, "batch layer d_in"]


class GpuGradients:
    """The gradients of an SAE on a GPU that keeps the K largest pre-activations of each row."""

    def __init__(self, sae: SparseAutoencoder, encoder_dtype: torch.dtype | None = None) -> None:
        """Give the parameters gradients to keep.

        Args:
            sae: In training.
            encoder_dtype: What a step's encoder multiplies in; None: the SAE's own. See `SparseGradients`.
        """
        self._sae, self._terms = sae, Terms.of(sae)
        self.norm: float | None = None  # asking for it would wait for the GPU
        self._encoder_dtype = encoder_dtype or sae.W_enc.dtype
        for parameter in sae.parameters():
            parameter.grad = torch.zeros_like(parameter)
        device = sae.b_dec.device
        self._names = torch.arange(sae.settings.M + 1, dtype=torch.int32, device=device)
        terms = [*self._terms.of_x, *([self._terms.aux] if self._terms.aux else [])]
        self._prefixes = {t.layer: torch.tensor(t.prefixes, dtype=torch.int32, device=device) for t in terms}
        self._scales = sae.W_dec.new_zeros(self._terms.last.layers.stop)

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "batch d_in"], step: Step) -> Loss:
        """Leave in `.grad` of every parameter the gradient of the loss, W_dec's without what is along its rows."""
        terms, code = self._terms, self._code(x)
        encoder = (self._sae.W_enc.to(self._encoder_dtype), self._sae.b_enc.to(self._encoder_dtype))
        main, *multi = self._encode(code, x, encoder)
        for term in terms.of_x:
            self._differentiate(term, code)
        fired = self._fired(code)
        denominator = step.reconstruction_loss.denominator(len(x), _deviations(x))
        total = reconstruction = self._weigh(terms.main, main, denominator)
        if terms.multi:
            total = total + self._weigh(terms.multi, multi[0], denominator)
        if terms.aux:
            total = total + self._revive(terms.aux, code, step, step.dead.after(fired), encoder)
        self._add_up(code)
        l0 = self._active(code) / len(x)
        return Loss(total.to(x.dtype), reconstruction.to(x.dtype), l0.to(x.dtype), fired, None, None)

    @torch.no_grad()
    def measure(self, x: Float[Tensor, "batch d_in"]) -> Sums:
        """Reconstruct rows; inference follows the rule of training."""
        code = self._code(x)
        main, *_ = self._encode(code, x, (self._sae.W_enc.detach(), self._sae.b_enc.detach()))
        mean = x.mean(0, dtype=torch.float64).cpu().numpy()
        return Sums(len(x), np.array(main.tolist()), mean, float(_deviations(x)), int(self._active(code)))

    def _code(self, x: Float[Tensor, "batch d_in"]) -> _Code:
        last, sae = self._terms.last, self._sae
        places = (len(x), last.places.stop)
        return _Code(
            centred=x - sae.b_dec if sae.settings.subtract_b_dec else x.contiguous(),
            values=x.new_zeros(places),
            index=self._names.new_full(places, sae.settings.M),
            layers=self._names.new_zeros(places),
            slopes=x.new_zeros(places),
            errors=x.new_empty(len(x), last.layers.stop, sae.d_in),
        )

    def _encode(self, code: _Code, x: Float[Tensor, "batch d_in"], encoder: Encoder) -> list[Float[Tensor, " prefix"]]:
        """Fill the places of x's terms; return the squared errors of each, from each prefix."""
        self._select(code, self._terms.of_x, encoder, self._names[:-1])
        return [self._decode(term, code, self._sae.b_dec, x) for term in self._terms.of_x]

    def _select(self, code: _Code, terms: list[Term], encoder: Encoder, names: Int32[Tensor, " latent"]) -> None:
        """Encode rows tile by tile by W_enc and b_enc of some latents; keep each row's largest for each term."""
        (W_enc, b_enc), sae, n = encoder, self._sae, len(names)
        kept = [slice(term.place, term.place + min(term.k, n)) for term in terms]
        rows = max(1, _TILE // n)
        for first in range(0, len(code.centred), rows):
            tile = slice(first, first + rows)
            pre = torch.addmm(b_enc, code.centred[tile].to(W_enc.dtype), W_enc)
            for places in kept:
                codes.select(pre, names, sae.settings.M, code.values[tile, places], code.index[tile, places])
        if W_enc.dtype != code.values.dtype:
            for places in kept:
                codes.encode(code.centred, sae.W_enc.T, sae.b_enc, code.values[:, places], code.index[:, places])

    def _decode(
        self, term: Term, code: _Code, bias: Float[Tensor, " d_in"], target: Float[Tensor, "batch d_in"]
    ) -> Float[Tensor, " prefix"]:
        """Fill a term's errors; return the squares of those from each prefix."""
        values, index, errors = code.values[:, term.places], code.index[:, term.places], code.errors[:, term.layers]
        prefixes = self._prefixes[term.layer]
        squares = codes.decode(values, index, prefixes, self._sae.W_dec, bias, target.contiguous(), errors)
        return squares.sum(0, dtype=torch.float64)

    def _differentiate(self, term: Term, code: _Code) -> None:
        """Fill a term's layers and slopes; add up its errors."""
        index, layers, slopes = (array[:, term.places] for array in (code.index, code.layers, code.slopes))
        errors, prefixes = code.errors[:, term.layers], self._prefixes[term.layer]
        codes.differentiate(index, prefixes, self._sae.W_dec, term.layer, errors, layers, slopes)

    def _active(self, code: _Code) -> Tensor:
        return (code.index[:, self._terms.main.places] < self._sae.settings.M).sum()

    def _fired(self, code: _Code) -> Bool[Tensor, " M"]:
        """Return which latents are active in some row."""
        fired = torch.zeros_like(self._names, dtype=torch.bool)
        return fired.index_fill_(0, code.index[:, self._terms.main.places].reshape(-1).long(), True)[:-1]

    def _weigh(self, term: Term, squares: Float[Tensor, " prefix"], denominator: Tensor | int) -> Float[Tensor, ""]:
        """Set what a term's errors are multiplied by in the gradients, and return what it adds to the loss."""
        unit = term.weight / (len(term.prefixes) * denominator)
        self._scales[term.layers] = 2 * unit
        return squares.sum() * unit

    def _revive(
        self, term: Term, code: _Code, step: Step, dead: Bool[Tensor, " M"], encoder: Encoder
    ) -> Float[Tensor, ""]:
        """Add the auxiliary term: the largest dead latents reconstruct what the living ones left over."""
        names = self._names[:-1][dead]  # the wait for the GPU: how many are they?
        if len(names) == 0:
            return self._scales.new_zeros(())
        self._select(code, [term], (encoder[0].T[names].T, encoder[1][names]), names)
        error = -code.errors[:, self._terms.main.layers.stop - 1]
        squares = self._decode(term, code, torch.zeros_like(self._sae.b_dec), error)
        self._differentiate(term, code)
        return self._weigh(term, squares, step.reconstruction_loss.denominator(len(error), _deviations(error)))

    def _add_up(self, code: _Code) -> None:
        """Add up the gradients of all parameters from the code."""
        sae = self._sae
        latents, entries = code.index.reshape(-1).sort(stable=True)
        starts = torch.searchsorted(latents, self._names)
        W_dec, W_enc, b_enc, b_dec = (_gradient(p) for p in (sae.W_dec, sae.W_enc, sae.b_enc, sae.b_dec))
        codes.gradients(
            *(starts, entries, code.values, code.layers, code.slopes, self._scales),
            *(code.centred, code.errors, sae.W_dec, (W_dec, W_enc.T, b_enc)),
        )
        b_dec.copy_(-(sae.W_enc @ b_enc) if sae.settings.subtract_b_dec else torch.zeros_like(b_dec))
        for term in self._terms.of_x:
            b_dec += self._scales[term.layer] * code.errors[:, term.layer].sum(0)


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _deviations(rows: Float[Tensor, "batch d_in"]) -> Float[Tensor, ""]:
    """Return the squared deviations of rows from their mean, in float64."""
    return (rows - rows.mean(0)).square_().sum(dtype=torch.float64)
