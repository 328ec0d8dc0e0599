"""Which latents fire on which tokens: the model's pass, the SAE's encoding, and what is above 0.

The examples go through the model as extraction sends them, in the same shards, batches and rounding, and through the
SAE as evaluation sends them. So the latents are those of the stored activations, to the digit.

Cost: one pass of the blocks up to the SAE's layer and one encoding per token. Memory: the model, one shard of
activations with what fires on it, and one portion of `runtime.sae_batch_rows` latents.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64, UInt8
from transformers import PreTrainedTokenizerBase

from fast_sae.activations.live.batches import cut_portions
from fast_sae.activations.live.extractor import Extractor
from fast_sae.activations.live.hub import resolve_commit
from fast_sae.activations.live.model import load_model
from fast_sae.activations.shard_writer import row_facts
from fast_sae.annotation.incoming import Incoming
from fast_sae.annotation.origin import Origin
from fast_sae.errors import ArtifactError, UserError
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.base import SparseAutoencoder


@dataclass(frozen=True)
class Annotated:
    """Some whole examples, and what fires on their tokens."""

    incoming: Sequence[Incoming]
    example: Int32[np.ndarray, " row"]
    """Of each token: the index of its example in `incoming`."""
    position: Int32[np.ndarray, " row"]
    token_id: Int32[np.ndarray, " row"]
    kind: UInt8[np.ndarray, " row"]
    row: Int64[np.ndarray, " active"]
    """Of each latent above 0: the token it fires on, rising."""
    latent: Int64[np.ndarray, " active"]
    """Rising within a token."""
    activation: Float[np.ndarray, " active"]
    """In the type the SAE was trained in."""


@dataclass(frozen=True)
class Annotator:
    """A language model and an SAE that reads it."""

    sae: SparseAutoencoder
    """In the type and on the device to compute with."""
    extractor: Extractor
    batch_rows: int
    """Rows encoded at once."""
    latents: Collection[int] | None = None
    """The latents to look at; None for all."""

    def __post_init__(self) -> None:
        """Refuse an SAE that does not fit the model, and latents that it does not have."""
        model, sae = self.extractor.model, self.sae
        if sae.settings.layer not in model.layers:
            raise ArtifactError(f"the SAE reads layer {sae.settings.layer}, and the model gives {list(model.layers)}")
        if sae.d_in != model.d_in:
            raise ArtifactError(f"the SAE reads activations of width {sae.d_in}, and the model gives {model.d_in}")
        require_latents(sae, self.latents)

    @classmethod
    def open(
        cls,
        origin: Origin,
        tokenizer: PreTrainedTokenizerBase,
        runtime: RuntimeSettings,
        latents: Collection[int] | None = None,
    ) -> "Annotator":
        """Load the language model that the SAE was trained on."""
        device = runtime.torch_device()
        model = load_model(origin.model, resolve_commit(origin.model), origin.extract.layers, device)
        extractor = Extractor.of(model, origin.extract, runtime)
        return cls(origin.sae.to(device), extractor, runtime.sae_batch_rows, latents)

    def annotate(
        self, incoming: Iterable[Incoming], done: Callable[[int], object] = lambda tokens: None
    ) -> Iterator[Annotated]:
        """Annotate examples as they come, a shard of whole examples at a time, in order.

        Args:
            incoming: The examples; no more of them is read than the next shard needs.
            done: Told the number of tokens of each batch when the model has read it.
        """
        shard_rows = self.extractor.settings.shard_rows
        for shard in cut_portions(incoming, lambda one: len(one.rendered.token_ids), shard_rows):
            rendered = [one.rendered for one in shard]
            activations = self.extractor.compute([one.token_ids for one in rendered], done)[self.sae.settings.layer]
            row, latent, activation = self._active(activations)
            yield Annotated(
                shard, **row_facts(rendered, range(len(shard))), row=row, latent=latent, activation=activation
            )

    @torch.no_grad()
    def _active(self, activations: Float[np.ndarray, "row d_in"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return row, latent and activation of every latent above 0."""
        found: list[tuple[np.ndarray, ...]] = []
        for at in range(0, len(activations), self.batch_rows):
            x = torch.from_numpy(activations[at : at + self.batch_rows]).to(self.sae.b_dec)
            latents = self.sae.encode(x)
            row, latent = (latents > 0).nonzero(as_tuple=True)
            values = latents[row, latent]
            found.append(((row + at).cpu().numpy(), latent.cpu().numpy(), values.cpu().numpy()))
        row, latent, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        wanted = np.isin(latent, list(self.latents)) if self.latents is not None else slice(None)
        return row[wanted], latent[wanted], values[wanted]


def require_latents(sae: SparseAutoencoder, latents: Collection[int] | None) -> None:
    """Refuse latents that an SAE does not have."""
    if missing := sorted({*(latents or ())} - {*range(sae.settings.M)}):
        raise UserError(f"latent {missing[0]} does not exist: the SAE has 0 to {sae.settings.M - 1}")
