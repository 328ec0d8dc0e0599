"""sparsify 1.3.3: its `SparseCoder` in the steps of its `Trainer`, on slices of rows in memory.

`Trainer` takes nothing but a language model and tokens, so its step is written out here: decoder norms, forward,
backward, gradient projection, its default optimiser (schedule-free signum), count of what fired.
"""

import torch
from schedulefree import ScheduleFreeWrapper
from sparsify import SparseCoder, SparseCoderConfig, sparse_coder
from sparsify.sign_sgd import SignSGD
from sparsify.utils import eager_decode

from benchmarks.clock import Clock
from benchmarks.task import Reconstruct, Task


def train(task: Task, clock: Clock) -> Reconstruct:
    """Train with its defaults; its bias starts, before the clock, at the mean of the first batch."""
    setting, rows = task.setting, task.rows()
    torch.manual_seed(task.seed)
    torch.set_float32_matmul_precision("high")  # as `Trainer.fit` does
    if task.device.type == "cpu":
        sparse_coder.decoder_impl = eager_decode  # where Triton is installed it would be called on a CPU too
    sae = SparseCoder(setting.d_in, SparseCoderConfig(num_latents=setting.M, k=setting.K), device=task.device)
    sae.b_dec.data = rows[: setting.batch].mean(0)
    lr = 5e-3 / (setting.M / 2**14) ** 0.5
    optimiser = ScheduleFreeWrapper(SignSGD([{"params": sae.parameters(), "lr": lr}]), momentum=0.95)
    optimiser.train()
    since_fired = torch.zeros(setting.M, dtype=torch.long, device=task.device)
    clock.start()
    for x in task.slices(rows):
        sae.set_decoder_norm_to_unit_norm()
        fired = torch.zeros(setting.M, dtype=torch.bool, device=task.device)
        out = sae(x)
        fired[out.latent_indices.flatten()] = True
        float(out.fvu.detach())
        out.fvu.backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()
        since_fired += len(x)
        since_fired[fired] = 0
    clock.stop()
    optimiser.eval()  # the averaged weights, as `Trainer` saves them
    sae.set_decoder_norm_to_unit_norm()  # averages are shorter; without this its FVU is 0.68 on S1, with it 0.38
    return lambda x: sae(x).sae_out
