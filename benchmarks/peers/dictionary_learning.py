"""dictionary_learning 0.1.0: its `TopKTrainer.update`, as `trainSAE` calls it, on slices of rows in memory."""

from contextlib import nullcontext

import torch
from dictionary_learning.trainers.top_k import TopKTrainer, geometric_median

from benchmarks.clock import Clock
from benchmarks.task import Reconstruct, Task


def train(task: Task, clock: Clock) -> Reconstruct:
    """Train with its defaults, but without warm-up: its 1,000 steps are more than the run has.

    Step 0 would take the geometric median of its batch; that is done before the clock starts. On a GPU under bfloat16
    autocast, as `trainSAE` offers ("a significant speedup with minimal change in performance"); it has none on a CPU.
    """
    setting, rows = task.setting, task.rows()
    trainer = TopKTrainer(
        steps=task.steps + 1,
        activation_dim=setting.d_in,
        dict_size=setting.M,
        k=setting.K,
        layer=0,
        lm_name="none",
        warmup_steps=0,
        seed=task.seed,
        device=str(task.device),
    )
    trainer.ae.b_dec.data = geometric_median(rows[: setting.batch])
    autocast = torch.autocast("cuda", torch.bfloat16) if task.device.type == "cuda" else nullcontext()
    clock.start()
    for step, x in enumerate(task.slices(rows), start=1):
        with autocast:
            trainer.update(step, x)
    clock.stop()
    return trainer.ae
