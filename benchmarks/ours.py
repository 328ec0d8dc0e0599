"""This repository's training loop, driven as `train_sae` drives it: rows from the store on disk, step by step."""

import torch

from benchmarks.clock import Clock
from benchmarks.rows import changed
from benchmarks.task import Reconstruct, Task
from fast_sae.params import load_params, parse_section
from fast_sae.sae.build import build_sae
from fast_sae.sae.settings import SAESettings
from fast_sae.training import loop
from fast_sae.training.settings import TrainSettings


def train(task: Task, clock: Clock) -> Reconstruct:
    """Train by the settings of params.yaml, but in float32, without rounded gradients, at a rate that suits M."""
    params, setting = load_params(), task.setting
    shape = {"architecture": "topk", "M": setting.M, "K": setting.K, "matryoshka": setting.matryoshka}
    sae_settings = parse_section(changed(params, "sae", shape), "sae", SAESettings)
    how = {"batch_size": setting.batch, "seed": task.seed, "dtype": "float32", "gradient_bits": None, "epochs": 1}
    by_rule = 2e-4 * (2**14 / setting.M) ** 0.5  # as dictionary_learning's TopKTrainer has it
    how["lr"] = max(by_rule, parse_section(params, "train", TrainSettings).lr)
    settings = parse_section(changed(params, "train", how), "train", TrainSettings)
    rows = task.batches("train")
    b_dec, _ = loop._start(rows, settings)
    sae = build_sae(setting.d_in, sae_settings).to(task.device, torch.float32)
    sae.initialise(b_dec, torch.Generator().manual_seed(task.seed), tied=settings.init_encoder == "tied")
    run = loop._Run(sae, settings, rows, task.batches("validation"))
    with run.descent.alone():
        clock.start()
        for x in task.each_batch():
            run._step(x)
        clock.stop()
    return sae.eval()
