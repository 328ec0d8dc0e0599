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
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor

from fast_sae.sae.base import Loss, SparseAutoencoder, Step
from fast_sae.training.kernels import codes
from fast_sae.training.kernels.selection import select
from fast_sae.training.space import Code, Space
from fast_sae.training.sums import Sums
from fast_sae.training.terms import Term, Terms
from fast_sae.training.workers import Workers

Encoder = tuple[Float[Tensor, "d_in latent"], Float[Tensor, " latent"]]
"""W_enc and b_enc of all latents or of some."""

_SMALL = 2**21
"""Weights of an encoder that stays in the cache from one product to the next."""
_ROWS, _ROWS_OF_LARGE = 256, 512
"""Rows that a worker encodes and reconstructs at once: whoever is done takes the next. Each product packs the encoder
anew, which more rows outweigh where it comes from memory."""
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
        self.norm: float | None = None
        self._rough = [torch.empty_like(tensor, dtype=encoder_dtype) for tensor in self._exact] if encoder_dtype else []

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "batch d_in"], step: Step) -> Loss:
        """Leave in `.grad` of every parameter the gradient of the loss, W_dec's without what is along its rows."""
        code, terms, encoder = self._space.code(len(x)), self._terms, self._encoder_of_step()
        found = self._encode(x, code, encoder)
        fired, used = self._fired(code), terms.of_x[-1].places.stop
        denominator = step.reconstruction_loss.denominator(len(x), found.sums.deviations)
        reconstruction = self._weigh(terms.main, float(found.sums.squares.sum()), denominator)
        total = reconstruction
        if terms.multi:
            total += self._weigh(terms.multi, found.multi, denominator)
        if terms.aux and len(dead := np.flatnonzero(step.dead.after(fired).numpy())):
            total += self._revive(terms.aux, code, step, dead.astype(np.int32), encoder)
            used = terms.aux.places.stop
        self._add_up(code, used, found.errors)
        l0 = found.sums.active / len(x)
        return Loss(self._scalar(total), self._scalar(reconstruction), self._scalar(l0), fired, None, None)

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
            lambda worker, first, last: self._encode_rows(worker, rows[first:last], code.rows(first, last), encoder),
            self._row_cuts(len(x)),
        )
        return reduce(operator.add, found)

    def _encode_rows(self, worker: int, x: Float[np.ndarray, "row d_in"], code: Code, encoder: Encoder) -> "_Encoded":
        space, sae, terms = self._space, self._sae, self._terms
        mean = np.empty(sae.d_in)
        deviations = codes.centre(x, space.b_dec, code.centred, mean)
        if not sae.settings.subtract_b_dec:
            code.centred[:] = x
        self._select(worker, code, terms.of_x, encoder, space.names)
        errors = np.empty((len(terms.of_x), sae.d_in), space.dtype)
        squares, active = zip(
            *(self._reconstruct(*of_term, code, space.b_dec, x) for of_term in zip(terms.of_x, errors, strict=True)),
            strict=True,
        )
        sums = Sums(len(x), squares[0], mean, deviations, active[0])
        return _Encoded(sums, float(squares[-1].sum()), errors)

    def _select(
        self, worker: int, code: Code, terms: list[Term], encoder: Encoder, names: Int[np.ndarray, " latent"]
    ) -> None:
        """Encode rows tile by tile by W_enc and b_enc of some latents; keep each row's largest for each term."""
        W_enc, b_enc = encoder
        space, n, M = self._space, len(names), self._sae.settings.M
        rows = 1 << max(0, (space.tile.shape[1] // n).bit_length() - 1)  # few different numbers: views of each are kept
        for at in range(0, len(code), rows):
            tile = code.rows(at, min(at + rows, len(code)))
            pre, pre_rows = space.pre_activations(worker, len(tile), n)
            if W_enc.dtype == pre.dtype:
                torch.addmm(b_enc, tile.tensor, W_enc, out=pre)
            else:
                pre.copy_(torch.addmm(b_enc, tile.tensor.to(W_enc.dtype), W_enc))
            for term in terms:
                here = tile.at(slice(term.place, min(term.places.stop, term.place + n)))
                select(pre_rows, names, M, here.values, here.index, space.found[worker], space.where[worker])
                if W_enc.dtype != pre.dtype:
                    codes.encode(tile.centred, space.W_encT, space.b_enc, M, here.values, here.index)

    def _reconstruct(
        self,
        term: Term,
        total: Float[np.ndarray, " d_in"],
        code: Code,
        bias: Float[np.ndarray, " d_in"],
        target: Float[np.ndarray, "row d_in"],
    ) -> tuple[Float[np.ndarray, " prefix"], int]:
        """Fill a term's errors, their sum, layers and slopes; return squared errors by prefix, and active latents."""
        here = code.at(term.places)
        return codes.reconstruct(
            *(here.values, here.index, term.sizes, self._space.W_dec, bias, target),
            *(term.layer, code.errors, here.layers, here.slopes, total),
        )

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

    def _revive(self, term: Term, code: Code, step: Step, dead: Int32[np.ndarray, " dead"], encoder: Encoder) -> float:
        """Add the auxiliary term: the largest dead latents reconstruct what the living ones left over."""
        code.index[:, term.places] = self._sae.settings.M
        code.layers[:, term.places] = term.layer
        of_dead = (encoder[0].T[dead].T, encoder[1][dead])
        error = -code.errors[:, self._terms.main.layers.stop - 1]
        nothing = np.zeros_like(self._space.b_dec)

        def revive(worker: int, first: int, last: int) -> np.float64:
            rows = code.rows(first, last)
            self._select(worker, rows, [term], of_dead, dead)
            return self._reconstruct(term, np.empty_like(nothing), rows, nothing, error[first:last])[0].sum()

        squares = float(sum(self._workers.share(revive, self._row_cuts(len(error)))))
        deviations = float(np.square(error - error.mean(0)).sum())
        return self._weigh(term, squares, step.reconstruction_loss.denominator(len(error), deviations))

    def _add_up(self, code: Code, used: int, errors: Float[np.ndarray, "term d_in"]) -> None:
        """Add up the gradients of all parameters.

        Args:
            code: Of the batch.
            used: How many places of a row hold latents.
            errors: Of each term that begins at b_dec, the sum over rows.
        """
        space = self._space
        batch, places = code.index.shape
        entries = space.entries(batch)
        codes.by_latent(code.index[:, :used], places, space.starts, entries)
        values, layers, slopes = (array.reshape(-1) for array in (code.values, code.layers, code.slopes))
        of_latents = tuple(space.gradients[name] for name in ("W_dec", "W_enc", "b_enc"))
        through_encoder = self._workers.share(
            lambda _, first, last: codes.gradients(
                *(first, last, space.starts, entries, places, values, layers, slopes, space.scales),
                *(code.centred, code.errors, space.W_dec, space.W_encT, space.squares, of_latents),
            ),
            self._even_cuts(),
        )
        with np.errstate(invalid="ignore"):  # the scale of rows that are all equal is infinite; validation tells
            b_dec = sum(space.scales[term.layer] * error for term, error in zip(self._terms.of_x, errors, strict=True))
        if self._sae.settings.subtract_b_dec:
            b_dec -= sum(through_encoder)
        space.gradients["b_dec"][:] = b_dec
        self.norm = math.sqrt(space.squares.sum() + np.square(b_dec, dtype=np.float64).sum())

    def _scalar(self, value: float) -> Float[Tensor, ""]:
        return torch.from_numpy(np.array(value, self._space.dtype))

    def _row_cuts(self, rows: int) -> list[int]:
        """Cut rows into parts that workers take one after another."""
        small = self._sae.d_in * self._sae.settings.M <= _SMALL
        return self._workers.cuts(rows, _ROWS if small else _ROWS_OF_LARGE)

    def _even_cuts(self) -> list[int]:
        """Cut the latents so that parts have as many entries, two for each worker: whoever is done takes the next."""
        starts, M, parts = self._space.starts, self._sae.settings.M, 2 * self._workers.threads
        wanted = [starts[M] * i // parts for i in range(1, parts)]
        return [0, *np.searchsorted(starts[:M], wanted).tolist(), M]


@dataclass(frozen=True)
class _Encoded:
    """What encoding and reconstructing some rows gives, beside the code."""

    sums: Sums
    multi: float
    """Squared errors of the multi-K reconstruction; means nothing if there is none."""
    errors: Float[np.ndarray, "term d_in"]
    """Of each term that begins at b_dec, the sum over rows of its first layer."""

    def __add__(self, other: "_Encoded") -> "_Encoded":
        return _Encoded(self.sums + other.sums, self.multi + other.multi, self.errors + other.errors)
