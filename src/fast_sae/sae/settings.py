"""The `sae` section of params.yaml: what every architecture has, and a sub-section for what only one has."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from fast_sae.errors import ParamsError
from fast_sae.params import PARAMS, Section, Settings

ARCHITECTURES = sorted(path.stem for path in (Path(__file__).parent / "architectures").glob("[a-z]*.py"))
"""Names of the files in architectures/; each is a value of `sae.architecture` and a sub-section of `sae`."""


class SAESettings(Settings):
    """The shape of a sparse autoencoder and the terms of its loss."""

    layer: Annotated[int, Field(ge=0)]
    """The layer whose activations it reads, one of `extract.layers`."""
    architecture: str
    """Name of a file in src/fast_sae/sae/architectures."""
    M: Annotated[int, Field(gt=0)]
    """Latents in all."""
    K: Annotated[int, Field(gt=0)]
    """Latents active per token: at most (topk), on average (batchtopk), or as the L0 that λ is steered to."""
    matryoshka: tuple[Annotated[int, Field(gt=0)], ...] | None
    """Nested dictionary sizes, rising, the last one M; the loss is the mean over them. Null: M alone."""
    aux_k: Annotated[int, Field(ge=0)] | None
    """Dead latents that reconstruct what is left over, to revive them. Null: 2K; 0: none."""
    aux_coef: Annotated[float, Field(ge=0)]
    """Weight of that term."""
    multi_k: Annotated[int, Field(gt=0)] | None
    """Latents of an additional, less sparse reconstruction; HypotheSAEs suggests 4K. Null: none."""
    multi_coef: Annotated[float, Field(ge=0)]
    """Weight of that term."""
    subtract_b_dec: bool
    """Whether the encoder reads x − b_dec, as HypotheSAEs has it, or x, as FAST (arXiv:2506.07691) has it."""
    options: dict[str, object]
    """The sub-section named as the architecture, which parses it itself."""

    @classmethod
    def arrange(cls, section: Section) -> Section:
        """Move the chosen architecture's sub-section to `options`; leave out those of the others."""
        chosen = section.get("architecture")
        common = {key: value for key, value in section.items() if key not in ARCHITECTURES}
        options = section.get(chosen) if isinstance(chosen, str) and chosen in ARCHITECTURES else None
        if "options" in common:
            raise ParamsError(f"{PARAMS}: sae.options is not a parameter")
        if options is not None and not isinstance(options, Mapping):
            raise ParamsError(f"{PARAMS}: sae.{chosen} must be a mapping, found {options!r}")
        return common | {"options": options or {}}

    @model_validator(mode="after")
    def _fits_together(self) -> "SAESettings":
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"sae.architecture must be one of {', '.join(ARCHITECTURES)}, found {self.architecture!r}")
        if self.K > self.M:
            raise ValueError(f"sae.K must not exceed sae.M={self.M}, found {self.K}")
        if self.multi_k is not None and self.multi_k > self.M:
            raise ValueError(f"sae.multi_k must not exceed sae.M={self.M}, found {self.multi_k}")
        if self.aux_k is not None and self.aux_k > self.M:
            raise ValueError(f"sae.aux_k must not exceed sae.M={self.M}, found {self.aux_k}")
        prefixes = self.prefixes
        if any(b <= a for a, b in pairwise(prefixes)) or prefixes[-1:] != (self.M,):
            raise ValueError(f"sae.matryoshka must rise and end with sae.M={self.M}, found {list(prefixes)}")
        return self

    @property
    def prefixes(self) -> tuple[int, ...]:
        """The nested sizes; (M,) if there are none."""
        return (self.M,) if self.matryoshka is None else self.matryoshka

    @property
    def n_aux(self) -> int:
        """Dead latents in the auxiliary term."""
        return min(2 * self.K, self.M) if self.aux_k is None else self.aux_k
