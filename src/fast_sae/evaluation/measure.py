"""One pass of an SAE over a held-out split, and all that is counted on the way.

Validation says what is usual and chooses what tells a label; test is scored. Cost: one encode and, on test, one decode
per row, no gradients. Memory: one batch, what was pooled of the examples that the label metrics use, a byte per test
example and resample (`statistics.resample_counts`), and the sums of every bootstrap resample.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from fast_sae.activations.held import Held
from fast_sae.activations.source import Rows
from fast_sae.evaluation.cells import cell_of
from fast_sae.evaluation.firing import FiringCounts
from fast_sae.evaluation.pooling import Features, Pools, sampled_examples
from fast_sae.evaluation.reconstruction import ReconstructionSums
from fast_sae.evaluation.settings import EvaluateSettings
from fast_sae.evaluation.sinks import USUAL_ROWS, GiantCounts, Norms, Scale
from fast_sae.progress import progress_bar
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.statistics import resample_counts


@dataclass(frozen=True)
class Measured:
    """What one pass over test gives."""

    sums: ReconstructionSums
    firing: FiringCounts
    giant: GiantCounts
    features: Features
    counts: UInt8[np.ndarray, "sample example"]
    """How often each resample holds each example."""


@dataclass(frozen=True)
class _Batch:
    """Some rows, and what is computed of them."""

    rows: Rows
    x: Float[Tensor, "row d_in"]
    trained: Bool[np.ndarray, " row"]
    """Whether a row's kind is one that the SAE was trained on."""
    norm: Float[np.ndarray, " row"]
    """‖x‖."""
    deviation: Float[np.ndarray, " row"]
    """‖x − b_dec‖²."""

    def pool(self, pools: Pools, latents: Float[Tensor, "row M"]) -> None:
        trained = torch.from_numpy(self.trained).to(self.x.device)
        pools.add(self.rows.example[self.trained], self.x[trained], latents[trained])


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
    def look_at(self, validation: Held) -> tuple[Scale, Features]:
        """Find out what is usual, and pool what chooses: each labelled example's rows of the trained kinds.

        Without labels, nothing is encoded.
        """
        norms, pools = Norms(), self._pools(validation)
        every = -(-len(validation.source.kind) // USUAL_ROWS)
        for batch in self._batches(validation):
            norms.add(batch.norm[batch.trained][::every], batch.deviation[batch.trained][::every])
            if len(pools.labels):
                batch.pool(pools, self.sae.encode(batch.x))
        return norms.scale(), pools.result()

    @torch.no_grad()
    def measure(self, test: Held, scale: Scale) -> Measured:
        """Go once over test and keep the sums."""
        sae, settings = self.sae, self.settings
        counts = resample_counts(len(test.labels), settings.bootstrap_resamples, settings.seed)
        sums = ReconstructionSums(counts, sae.b_dec.double().cpu().numpy(), len(sae.settings.prefixes))
        firing, giant, pools = FiringCounts(sae.settings.M), GiantCounts(scale.median_norm), self._pools(test)
        for batch in self._batches(test):
            rows, x, latents = batch.rows, batch.x, sae.encode(batch.x)
            errors = [(r - x).double().square_().sum(1).cpu().numpy() for r in sae.reconstructions(latents)]
            shared = rows.position < test.source.provenance.shared_prefix
            cell = cell_of(rows.kind, shared, scale.outliers(batch.deviation))
            active = firing.add(cell, latents > 0)
            sums.add(rows.example, cell, np.stack(errors), (x - sae.b_dec).cpu().numpy(), active)
            giant.add(cell, batch.norm)
            batch.pool(pools, latents)
        return Measured(sums, firing, giant, pools.result(), counts)

    def _batches(self, held: Held) -> Iterator[_Batch]:
        with progress_bar(f"evaluate on {held.split}", "row", len(held.source.kind)) as progress:
            for rows in held.source.chunks(self.batch_rows):
                x = torch.from_numpy(np.array(rows.activations)).to(self.sae.b_dec)
                norm = x.double().norm(dim=1).cpu().numpy()
                deviation = (x - self.sae.b_dec).double().square_().sum(1).cpu().numpy()
                yield _Batch(rows, x, np.isin(rows.kind, self.kinds), norm, deviation)
                progress.update(len(rows))

    def labels(self, held: Held) -> set[str]:
        """Return the labels that the pooled examples of a split have."""
        examples = sampled_examples(held.labels, self.settings.label_examples, self.settings.seed)
        return {str(held.labels[i]) for i in examples}

    def _pools(self, held: Held) -> Pools:
        return Pools(held.labels, self.sae.settings.M, self.sae.d_in, self.settings)
