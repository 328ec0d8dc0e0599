"""One pass of an SAE over held-out activations, and all that is counted on the way.

Cost: one encode and one decode per row, no gradients. Memory: one batch, the pooled latents of the examples that the
label metrics use, and a few numbers per example.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fast_sae.activations.source import ActivationSource, Rows
from fast_sae.evaluation.labels import PooledLatents
from fast_sae.evaluation.reconstruction import ReconstructionSums, cell_of
from fast_sae.evaluation.settings import EvaluateSettings
from fast_sae.progress import progress_bar
from fast_sae.sae.base import SparseAutoencoder


@dataclass(frozen=True)
class Held:
    """One held-out split."""

    name: str
    source: ActivationSource
    labels: Sequence[str | None]
    """The label of each example."""


@dataclass(frozen=True)
class Measured:
    """What one pass over a split gives."""

    sums: ReconstructionSums
    fired: Int64[np.ndarray, " M"]
    """Rows of the trained kinds on which each latent fired."""
    pooled: Float[np.ndarray, "example M"]
    """Latents pooled over each example's rows of the trained kinds."""


@dataclass(frozen=True)
class Evaluator:
    """An SAE and how to evaluate it."""

    sae: SparseAutoencoder
    """In the type and on the device to compute with."""
    settings: EvaluateSettings
    kinds: tuple[int, ...]
    """Kinds of tokens that it was trained on: the population of the headline metrics."""
    batch_rows: int

    @torch.no_grad()
    def measure(self, held: Held) -> Measured:
        """Go once over a split and keep the sums."""
        sae, prefixes = self.sae, self.sae.settings.prefixes
        sums = ReconstructionSums(len(held.labels), sae.d_in, len(prefixes))
        fired = torch.zeros(sae.settings.M, dtype=torch.int64, device=sae.b_dec.device)
        pooled = PooledLatents(
            len(held.labels), sae.settings.M, self.settings.label_pooling, self.settings.label_examples
        )
        with progress_bar(f"evaluate on {held.name}", "row", len(held.source.kind)) as progress:
            for rows in held.source.chunks(self.batch_rows):
                x = self._tensor(rows)
                latents = sae.encode(x)
                errors = [(r - x).double().square().sum(1).cpu().numpy() for r in sae.reconstructions(latents)]
                cell = cell_of(rows.kind, rows.position < held.source.provenance.shared_prefix)
                active = latents > 0
                sums.add(
                    rows.example,
                    cell,
                    np.stack(errors),
                    (x - sae.b_dec).cpu().numpy(),
                    active.sum(1).cpu().numpy(),
                )
                trained = np.isin(rows.kind, self.kinds)
                fired += active[torch.from_numpy(trained).to(active.device)].sum(0)
                pooled.add(rows.example[trained], latents.cpu().numpy()[trained])
                progress.update(len(rows))
        return Measured(sums, fired.cpu().numpy(), pooled.result())

    def _tensor(self, rows: Rows) -> Float[Tensor, "row d_in"]:
        return torch.from_numpy(np.array(rows.activations)).to(self.sae.b_dec)
