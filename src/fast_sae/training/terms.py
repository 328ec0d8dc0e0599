"""The parts of the loss of an SAE that keeps the largest pre-activations, and where a row's code holds each."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int64

from fast_sae.sae.base import SparseAutoencoder


@dataclass(frozen=True)
class Term:
    """A part of the loss: reconstructions from some of the largest latents of each row."""

    k: int
    """Latents of a row, at most."""
    prefixes: tuple[int, ...]
    weight: float
    """What the mean of its losses over the prefixes counts."""
    place: int = 0
    """Its first place in the code of a row."""
    layer: int = 0
    """The first of its layers, one a prefix, among the errors of a row."""

    def after(self, other: "Term") -> "Term":
        """Put this term behind another."""
        return replace(self, place=other.places.stop, layer=other.layers.stop)

    @property
    def places(self) -> slice:
        """Its places in the code of a row."""
        return slice(self.place, self.place + self.k)

    @cached_property
    def sizes(self) -> Int64[np.ndarray, " prefix"]:
        """The prefixes as kernels take them."""
        return np.array(self.prefixes, np.int64)

    @property
    def layers(self) -> slice:
        """Its layers among the errors of a row."""
        return slice(self.layer, self.layer + len(self.prefixes))


@dataclass(frozen=True)
class Terms:
    """The whole loss."""

    main: Term
    multi: Term | None
    """The less sparse reconstruction."""
    aux: Term | None
    """What dead latents make of the error that the living ones leave."""

    @classmethod
    def of(cls, sae: SparseAutoencoder) -> "Terms":
        """Read them off the settings of an SAE that keeps the largest."""
        assert sae.keeps_largest is not None
        settings, M = sae.settings, sae.settings.M
        main = last = Term(sae.keeps_largest, settings.prefixes, 1.0)
        multi = aux = None
        if settings.multi_k and settings.multi_coef:
            multi = last = Term(settings.multi_k, (M,), settings.multi_coef).after(last)
        if settings.n_aux and settings.aux_coef:
            aux = Term(settings.n_aux, (M,), settings.aux_coef).after(last)
        return cls(main, multi, aux)

    @property
    def of_x(self) -> list[Term]:
        """Those that reconstruct x."""
        return [self.main, *([self.multi] if self.multi else [])]

    @property
    def last(self) -> Term:
        """The one behind all others."""
        return self.aux or self.multi or self.main
