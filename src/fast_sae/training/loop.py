"""The training loop: HypotheSAEs' recipe, with the weights of the best epoch kept.

It knows an architecture only by `loss`, `before_step`, `after_step` and `finalise`, and never asks which one it has.
Train fits; validation stops and calibrates; nothing else is read.

Cost of one step: four dense products of batch · d_in · M multiplications (encode, decode, and their gradients).
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from fast_sae.activations.source import ActivationSource
from fast_sae.errors import ArtifactError
from fast_sae.progress import progress_bar
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.base import Batches, Loss, SparseAutoencoder, Step
from fast_sae.sae.build import build_sae
from fast_sae.sae.settings import SAESettings
from fast_sae.training.batches import RowBatches
from fast_sae.training.dead_latents import DeadLatentCounter
from fast_sae.training.history import History
from fast_sae.training.settings import TrainSettings


@dataclass(frozen=True)
class Trained:
    """The outcome of a run."""

    sae: SparseAutoencoder
    """With the weights of the best epoch, calibrated."""
    history: History
    metrics: dict[str, float | int]


@dataclass(frozen=True)
class Validation:
    """How an SAE does on validation data, by the rule of inference."""

    loss: float
    """Mean over the prefixes of the normalised MSE: ratio of sums over all rows."""
    l0: float
    """Mean number of active latents per row."""


def train_sae(
    sae_settings: SAESettings,
    settings: TrainSettings,
    train: ActivationSource,
    validation: ActivationSource,
    runtime: RuntimeSettings,
) -> Trained:
    """Fit an SAE to the rows of `train` that `settings.kinds` names; stop and calibrate on those of `validation`."""
    dtype, device = getattr(torch, settings.dtype), runtime.torch_device()
    rows = RowBatches(train, settings.kind_numbers, settings.batch_size, dtype, device)
    held_out = RowBatches(validation, settings.kind_numbers, runtime.sae_batch_rows, dtype, device)
    _require_rows(rows, settings, "train")
    _require_rows(held_out, settings, "validation")
    sae = build_sae(train.d_in, sae_settings).to(device, dtype)
    sae.initialise(_median(rows, settings), torch.Generator().manual_seed(settings.seed))
    return _Run(sae, settings, rows, held_out).fit()


class _Run:
    """The state of one training run."""

    def __init__(
        self, sae: SparseAutoencoder, settings: TrainSettings, rows: RowBatches, validation: RowBatches
    ) -> None:
        self.sae, self.settings, self.rows, self.validation = sae, settings, rows, validation
        self.optimiser = torch.optim.Adam(sae.parameters(), lr=settings.lr)
        self.dead = DeadLatentCounter(sae.settings.M, settings.dead_after_steps, sae.b_dec.device)
        self.history = History(settings.log_every)
        self.steps = 0

    def fit(self) -> Trained:
        best, best_weights, metrics = float("inf"), self.sae.state_dict(), {}
        epoch = best_epoch = 0
        with progress_bar("train", "step", self.settings.epochs * len(self.rows)) as progress:
            while epoch < self.settings.epochs and epoch - best_epoch < self.settings.patience:
                self._epoch(epoch, progress)
                epoch += 1
                self.sae.finalise(self.validation)
                found = validate(self.sae, self.validation)
                self.history.add_point("validation_loss", self.steps, _finite(found.loss, epoch))
                if found.loss < best:
                    best, best_epoch, best_weights = found.loss, epoch, copy.deepcopy(self.sae.state_dict())
                    metrics = {"validation_loss": found.loss, "validation_l0": found.l0, **self._counts()}
                progress.set_postfix(epoch=epoch, best=best_epoch, validation_loss=f"{found.loss:.4f}", refresh=False)
        self.sae.load_state_dict(best_weights)
        metrics |= {"epochs": epoch, "best_epoch": best_epoch, "steps": self.steps}
        return Trained(self.sae.eval(), self.history, metrics)

    def _epoch(self, epoch: int, progress: tqdm) -> None:
        for x in self.rows.shuffled(self.settings.seed, epoch):
            self._step(x)
            progress.update()

    def _step(self, x: Tensor) -> None:
        loss = take_step(
            self.sae,
            x,
            Step(self.steps, self.dead),
            self.optimiser,
            clip=self.settings.clip,
            gradient_bits=self.settings.gradient_bits,
        )
        self.steps += 1
        dead = self.dead.dead.double().mean()
        self.history.add(self.steps, {"loss": loss.total.detach(), "l0": loss.l0, "dead_fraction": dead})

    def _counts(self) -> dict[str, float | int]:
        return {
            "dead_fraction": float(self.dead.dead.double().mean()),
            "dead_window_rows": self.settings.dead_after_steps * self.settings.batch_size,
        }


def take_step(
    sae: SparseAutoencoder,
    x: Float[Tensor, "batch d_in"],
    step: Step,
    optimiser: torch.optim.Optimizer,
    *,
    clip: float,
    gradient_bits: int | None,
) -> Loss:
    """Take one training step: gradient, projection, clip, optimiser, unit norms, in HypotheSAEs' order.

    Differs from HypotheSAEs: where `gradient_bits` is given, gradients are rounded behind the clip.
    """
    loss = sae.loss(x, step)
    optimiser.zero_grad()
    loss.total.backward()
    sae.before_step()
    torch.nn.utils.clip_grad_norm_(sae.parameters(), clip)
    if gradient_bits is not None:
        sae.round_gradients(gradient_bits)
    optimiser.step()
    sae.after_step()
    return loss


def _require_rows(rows: RowBatches, settings: TrainSettings, split: str) -> None:
    if rows.rows == 0:
        raise ArtifactError(f"the {split} activations hold no row of train.kinds {list(settings.kinds)}; add kinds")


def _median(rows: RowBatches, settings: TrainSettings) -> Tensor:
    """Coordinate-wise median of at most `init_rows` rows, as HypotheSAEs takes it of all rows."""
    sample = rows.sample(settings.init_rows, settings.seed)
    return torch.from_numpy(np.median(sample.double().cpu().numpy(), axis=0))


def _finite(loss: float, epoch: int) -> float:
    if not np.isfinite(loss):
        raise ArtifactError(
            f"the validation loss of epoch {epoch} is {loss}: either train.lr is too high, or all activations are equal"
        )
    return loss


@torch.no_grad()
def validate(sae: SparseAutoencoder, rows: Batches) -> Validation:
    """Measure an SAE by the rule of inference; it advances no counter."""
    errors = torch.zeros(len(sae.settings.prefixes), dtype=torch.float64)
    total = torch.zeros(sae.d_in, dtype=torch.float64)
    squares, active = 0.0, 0
    for x in rows:
        latents = sae.encode(x)
        for i, reconstruction in enumerate(sae.reconstructions(latents)):
            errors[i] += (reconstruction - x).double().square().sum().cpu()
        centred = (x - sae.b_dec).double()  # near the mean, so that the sum of squares loses no digits
        total += centred.sum(0).cpu()
        squares += float(centred.square().sum())
        active += int((latents > 0).sum())
    variance = squares - float(total.square().sum()) / rows.rows
    return Validation(float(errors.mean()) / variance, active / rows.rows)
