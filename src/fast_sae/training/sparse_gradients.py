"""The gradients of Top-K's loss in closed form: one dense product, and the rest in proportion to K.

Equations, for x̂ = b_dec + Σ_j f_j W_dec[j] over the active latents j, z = x − b_dec, e = x̂ − x, and a loss Σ‖e‖² / D
whose D hangs on the data alone:

    ∂/∂f_j = 2 e · W_dec[j] / D          ∂/∂W_dec[j] = Σ f_j · 2 e / D        ∂/∂b_dec = Σ 2 e / D − W_enc ∂/∂b_enc
    ∂/∂W_enc[:, j] = Σ ∂/∂f_j · z        ∂/∂b_enc[j] = Σ ∂/∂f_j

summed over the rows in which j is active. `SparseAutoencoder.loss` with autograd is the same in plain words, and what
this is tested against.

Cost of a row: 2 · d_in · M operations for the encoder, which a matrix product does at the processor's full speed, and
about 10 · d_in · K in memory's. Where latents are dead, those are encoded once more, for the auxiliary term. Memory:
a few thousand rows' pre-activations, and (prefixes + terms) copies of the batch.
"""

import math
import operator
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fast_sae.sae.base import Loss, SparseAutoencoder, Step
from fast_sae.training.kernels import codes
from fast_sae.training.space import Code, Space
from fast_sae.training.sums import Sums
from fast_sae.training.terms import Term, Terms
from fast_sae.training.workers import Workers

Encoder = tuple[Float[Tensor, "d_in latent"], Float[Tensor, " latent"]]
"""W_enc and b_enc of all latents or of some."""

_MEASURED = 1024
"""Rows that are reconstructed at once where no gradient is wanted."""


def is_sparse(sae: SparseAutoencoder) -> bool:
    """Whether the closed form holds for an SAE, where it lies."""
    return sae.keeps_largest is not None and sae.b_dec.device.type == "cpu"


class SparseGradients:
    """The gradients of an SAE on the CPU that keeps the K largest pre-activations of each row."""

    def __init__(self, sae: SparseAutoencoder, workers: Workers, encoder_dtype: torch.dtype | None = None) -> None:
        """Share the work on an SAE among workers.

        Args:
            sae: In training.
            workers: Who share the work.
            encoder_dtype: What a step's encoder multiplies in; which latents are kept is then decided in it, and their
                values are computed anew in the SAE's own. None: that.
        """
        self._sae, self._workers, self._terms = sae, workers, Terms.of(sae)
        self._space = Space(sae, self._terms.last, workers.threads)
        self._exact = (sae.W_enc.detach(), sae.b_enc.detach())
        self._rough = [torch.empty_like(tensor, dtype=encoder_dtype) for tensor in self._exact] if encoder_dtype else []

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "batch d_in"], step: Step) -> Loss:
        """Leave in `.grad` of every parameter the gradient of the loss, W_dec's without what is along its rows."""
        code, terms, encoder = self._space.code(len(x)), self._terms, self._encoder_of_step()
        found = self._encode(x, code, encoder)
        fired = self._fired(code)
        denominator = step.reconstruction_loss.denominator(len(x), found.sums.deviations)
        reconstruction = self._weigh(terms.main, float(found.sums.squares.sum()), denominator)
        total = reconstruction
        if terms.multi:
            total += self._weigh(terms.multi, found.multi, denominator)
        if terms.aux:
            total += self._revive(terms.aux, code, step, step.dead.after(fired), encoder)
        self._add_up(code, found.errors)
        l0 = found.sums.active / len(x)
        return Loss(x.new_tensor(total), x.new_tensor(reconstruction), x.new_tensor(l0), fired, None, None)

    @torch.no_grad()
    def measure(self, x: Float[Tensor, "batch d_in"]) -> Sums:
        """Reconstruct rows; inference follows the rule of training."""
        parts = (self._encode(part, self._space.code(len(part)), self._exact).sums for part in x.split(_MEASURED))
        return reduce(operator.add, parts)

    def _encoder_of_step(self) -> Encoder:
        """Return W_enc and b_enc in what a step multiplies in."""
        if not self._rough:
            return self._exact
        W_enc, b_enc = (rough.copy_(exact) for rough, exact in zip(self._rough, self._exact, strict=True))
        return W_enc, b_enc

    def _encode(self, x: Float[Tensor, "batch d_in"], code: Code, encoder: Encoder) -> "_Encoded":
        """Fill the places of the terms that reconstruct x."""
        rows = x.numpy()
        found = self._workers.share(
            lambda part, first, last: self._encode_rows(part, rows[first:last], code.rows(first, last), encoder),
            self._workers.cuts(len(x)),
        )
        return reduce(operator.add, found)

    def _encode_rows(self, part: int, x: Float[np.ndarray, "row d_in"], code: Code, encoder: Encoder) -> "_Encoded":
        space, sae, terms = self._space, self._sae, self._terms
        mean = np.empty(sae.d_in)
        deviations = codes.centre(x, space.b_dec, code.centred, mean)
        if not sae.settings.subtract_b_dec:
            code.centred[:] = x
        self._select(part, code, terms.of_x, encoder, space.names)
        squares, errors = zip(*(self._reconstruct(term, code, space.b_dec, x) for term in terms.of_x), strict=True)
        active = int((code.index[:, terms.main.places] < sae.settings.M).sum())
        sums = Sums(len(x), squares[0], mean, deviations, active)
        return _Encoded(sums, float(squares[-1].sum()), np.stack(errors))

    def _select(
        self, part: int, code: Code, terms: list[Term], encoder: Encoder, names: Int[np.ndarray, " latent"]
    ) -> None:
        """Encode rows tile by tile by W_enc and b_enc of some latents; keep each row's largest for each term."""
        W_enc, b_enc = encoder
        space, n, M = self._space, len(names), self._sae.settings.M
        rows = max(1, space.tile.shape[1] // n)
        for at in range(0, len(code.centred), rows):
            tile = code.rows(at, at + rows)
            pre = space.tile[part, : len(tile.centred) * n].view(-1, n)
            centred = torch.from_numpy(tile.centred)
            if W_enc.dtype == pre.dtype:
                torch.addmm(b_enc, centred, W_enc, out=pre)
            else:
                pre.copy_(torch.addmm(b_enc, centred.to(W_enc.dtype), W_enc))
            for term in terms:
                kept = slice(term.places.start, min(term.places.stop, term.places.start + n))
                values, index = tile.values[:, kept], tile.index[:, kept]
                codes.select(pre.numpy(), names, M, values, index, space.found[part], space.where[part])
                if W_enc.dtype != pre.dtype:
                    codes.encode(tile.centred, space.W_encT, space.b_enc, M, values, index)

    def _reconstruct(
        self, term: Term, code: Code, bias: Float[np.ndarray, " d_in"], target: Float[np.ndarray, "row d_in"]
    ) -> tuple[Float[np.ndarray, " prefix"], Float[np.ndarray, " d_in"]]:
        """Fill a term's errors, layers and slopes; return the squared errors of each prefix, and the errors' sum."""
        values, index, layers, slopes = (
            array[:, term.places] for array in (code.values, code.index, code.layers, code.slopes)
        )
        prefixes, total = np.array(term.prefixes), np.empty_like(bias)
        squares = codes.reconstruct(
            values, index, prefixes, self._space.W_dec, bias, target, term.layer, code.errors, layers, slopes, total
        )
        return squares, total

    def _fired(self, code: Code) -> Bool[Tensor, " M"]:
        """Return which latents are active in some row."""
        fired = np.zeros(self._sae.settings.M + 1, bool)
        codes.mark(code.index[:, self._terms.main.places], fired)
        return torch.from_numpy(fired[:-1])

    def _weigh(self, term: Term, squares: float, denominator: float | int) -> float:
        """Set what a term's errors are multiplied by in the gradients, and return what it adds to the loss."""
        unit = term.weight / (len(term.prefixes) * denominator) if denominator else math.inf  # rows that are all equal
        self._space.scales[term.layers] = 2 * unit
        return squares * unit

    def _revive(self, term: Term, code: Code, step: Step, dead: Bool[Tensor, " M"], encoder: Encoder) -> float:
        """Add the auxiliary term: the largest dead latents reconstruct what the living ones left over."""
        code.index[:, term.places] = self._sae.settings.M
        code.layers[:, term.places] = term.layer
        names = dead.nonzero().squeeze(1)
        if len(names) == 0:
            return 0.0
        of_dead = (encoder[0].T[names].T, encoder[1][names])
        error = -code.errors[:, self._terms.main.layers.stop - 1]
        nothing = np.zeros_like(self._space.b_dec)

        def revive(part: int, first: int, last: int) -> float:
            rows = code.rows(first, last)
            self._select(part, rows, [term], of_dead, names.int().numpy())
            return float(self._reconstruct(term, rows, nothing, error[first:last])[0].sum())

        squares = sum(self._workers.share(revive, self._workers.cuts(len(error))))
        deviations = float(np.square(error - error.mean(0)).sum())
        return self._weigh(term, squares, step.reconstruction_loss.denominator(len(error), deviations))

    def _add_up(self, code: Code, errors: Float[np.ndarray, "term d_in"]) -> None:
        """Add up the gradients of all parameters from the code, and the sums over its rows of the terms' errors."""
        space, sae = self._space, self._sae
        batch, places = code.index.shape
        entries = space.entries(batch)
        codes.by_latent(code.index.reshape(-1), space.starts, entries)
        values, layers, slopes = (array.reshape(-1) for array in (code.values, code.layers, code.slopes))
        W_dec, W_encT, b_enc = (_gradient(p) for p in (sae.W_dec, sae.W_enc, sae.b_enc))

        def add_up(part: int, first: int, last: int) -> Float[Tensor, " d_in"]:
            codes.gradients(
                *(first, last, space.starts, entries, places, values, layers, slopes, space.scales),
                *(code.centred, code.errors, space.W_dec, (W_dec, W_encT, b_enc)),
            )
            return sae.W_enc.detach()[:, first:last] @ torch.from_numpy(b_enc[first:last])

        through_encoder = self._workers.share(add_up, self._even_cuts())
        scales = space.scales[[term.layer for term in self._terms.of_x]]
        assert sae.b_dec.grad is not None
        sae.b_dec.grad.copy_(torch.from_numpy(scales) @ torch.from_numpy(errors))
        if sae.settings.subtract_b_dec:
            sae.b_dec.grad -= sum(through_encoder, torch.zeros(()))

    def _even_cuts(self) -> list[int]:
        """Cut the latents so that each worker has as many entries."""
        starts, M = self._space.starts, self._sae.settings.M
        wanted = [starts[M] * i // self._workers.threads for i in range(1, self._workers.threads)]
        return [0, *np.searchsorted(starts[:M], wanted).tolist(), M]


@dataclass(frozen=True)
class _Encoded:
    """What encoding and reconstructing some rows gives, beside the code."""

    sums: Sums
    multi: float
    """Squared errors of the multi-K reconstruction; of the last prefix if there is none."""
    errors: Float[np.ndarray, "term d_in"]
    """Of each term that begins at b_dec, the sum over rows of its first layer."""

    def __add__(self, other: "_Encoded") -> "_Encoded":
        return _Encoded(self.sums + other.sums, self.multi + other.multi, self.errors + other.errors)


def _gradient(parameter: Tensor) -> Float[np.ndarray, "..."]:
    """View a gradient; W_enc's as it lies in memory, by latent."""
    assert parameter.grad is not None
    return (parameter.grad if parameter.grad.is_contiguous() else parameter.grad.T).numpy()
