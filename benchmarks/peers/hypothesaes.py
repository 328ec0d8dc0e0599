"""HypotheSAEs 2.0.1 by its own `fit`: its DataLoader over a tensor in memory, its defaults, one epoch."""

import torch
from hypothesaes.sae import SparseAutoencoder

from benchmarks.clock import Clock
from benchmarks.task import Reconstruct, Task


def train(task: Task, clock: Clock) -> Reconstruct:
    """Train on as many rows as the run has, once each; `fit` draws their order itself.

    The clock starts behind `initialize_weights_`, which `fit` calls first: the median of all rows is left out.
    """
    setting, rows = task.setting, task.rows().cpu()  # fit sends each batch to the device, and all rows for the median
    torch.manual_seed(task.seed)
    prefixes = list(setting.matryoshka) if setting.matryoshka else None
    sae = SparseAutoencoder(setting.d_in, setting.M, setting.K, prefix_lengths=prefixes, device=str(task.device))
    initialise = sae.initialize_weights_

    def initialise_then_start(sample: torch.Tensor) -> None:
        initialise(sample)
        clock.start()

    sae.initialize_weights_ = initialise_then_start
    sae.fit(rows, batch_size=setting.batch, n_epochs=1, show_progress=False)
    clock.stop()
    return lambda x: sae.eval()(x)[0]
