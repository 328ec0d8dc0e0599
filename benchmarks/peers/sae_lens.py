"""SAELens 6.54.12: its `SAETrainer.fit` on an iterator over slices of rows in memory."""

import torch
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer

from benchmarks.clock import Clock
from benchmarks.task import Reconstruct, Task


def train(task: Task, clock: Clock) -> Reconstruct:
    """Train with its defaults, without a logger; on a GPU under its bfloat16 autocast."""
    setting, rows, gpu = task.setting, task.rows(), task.device.type == "cuda"
    torch.manual_seed(task.seed)  # the trainer takes no seed
    sae = TopKTrainingSAE(
        TopKTrainingSAEConfig(d_in=setting.d_in, d_sae=setting.M, k=setting.K, device=str(task.device))
    )
    config = SAETrainerConfig(
        total_training_samples=len(rows),
        train_batch_size_samples=setting.batch,
        device=str(task.device),
        lr_end=SAETrainerConfig.lr / 10,  # as its runner fills it; a constant schedule does not read it
        autocast=gpu,
        logger=LoggingConfig(log_to_wandb=False),
    )
    trainer = SAETrainer(config, sae, task.slices(rows))
    clock.start()
    trainer.fit()
    clock.stop()
    return sae.eval()
