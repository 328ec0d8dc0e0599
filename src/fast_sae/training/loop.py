"""The training loop: HypotheSAEs' recipe by default, with the weights of the best epoch kept.

It knows an architecture only by `loss`, `keeps_largest`, `before_step`, `after_step`, `finalise`, `aim` and
`distance_from_target`, and never asks which one it has.
Train fits; validation stops and calibrates; nothing else is read.

Cost of one step: four dense products of batch · d_in · M multiplications (encode, decode, and their gradients); one,
where few latents of a row are active and known to be (`sparse_gradients`).
"""

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from fast_sae.activations.source import ActivationSource
from fast_sae.errors import ArtifactError, ParamsError
from fast_sae.progress import progress_bar, say
from fast_sae.runtime import RuntimeSettings, torch_threads
from fast_sae.sae.base import Loss, SparseAutoencoder, Step
from fast_sae.sae.build import build_sae
from fast_sae.sae.functional import ReconstructionLoss, normalized_mse, summed_squared_error
from fast_sae.sae.settings import SAESettings
from fast_sae.training.adam import SharedAdam, TorchAdam
from fast_sae.training.batches import RowBatches
from fast_sae.training.centre import CENTRES, unit_scale
from fast_sae.training.dead_latents import DeadLatentCounter
from fast_sae.training.gradients import gradients_of
from fast_sae.training.history import History
from fast_sae.training.resampling import resample
from fast_sae.training.settings import TrainSettings
from fast_sae.training.sparse_gradients import is_sparse
from fast_sae.training.validation import Validation, validate
from fast_sae.training.workers import Workers

_LOSSES: Mapping[str, ReconstructionLoss] = {"nmse": normalized_mse, "sse": summed_squared_error}
"""The values of train.loss."""
_ENCODERS: Mapping[str, torch.dtype | None] = {"full": None, "bfloat16": torch.bfloat16}
"""The values of train.encode_in."""


@dataclass(frozen=True)
class Trained:
    """The outcome of a run."""

    sae: SparseAutoencoder
    """With the weights of the best epoch, calibrated; it takes raw activations."""
    history: History
    metrics: dict[str, float | int]


def train_sae(
    sae_settings: SAESettings,
    settings: TrainSettings,
    train: ActivationSource,
    validation: ActivationSource,
    runtime: RuntimeSettings,
) -> Trained:
    """Fit an SAE to the rows of `train` that `settings.kinds` names; stop and calibrate on those of `validation`."""
    dtype, device, kinds = getattr(torch, settings.dtype), runtime.torch_device(), settings.kind_numbers
    rows = _some(RowBatches(train, kinds, settings.batch_size, dtype, device), settings, "train")
    at_once = runtime.rows_at_once(max(train.d_in, sae_settings.M))
    held_out = _some(RowBatches(validation, kinds, at_once, dtype, device), settings, "validation")
    b_dec, scale = _start(rows, settings)
    sae = build_sae(train.d_in, sae_settings).to(device, dtype)
    generator = torch.Generator().manual_seed(settings.seed)
    sae.initialise(b_dec, generator, tied=settings.init_encoder == "tied")
    return _Run(sae, settings, replace(rows, scale=scale), replace(held_out, scale=scale)).fit()


class _Run:
    """The state of one training run."""

    def __init__(
        self, sae: SparseAutoencoder, settings: TrainSettings, rows: RowBatches, validation: RowBatches
    ) -> None:
        self.sae, self.settings, self.rows, self.validation = sae, settings, rows, validation
        self.descent = Descent(
            sae,
            clip=settings.clip,
            gradient_bits=settings.gradient_bits,
            encoder_dtype=_ENCODERS[settings.encode_in],
        )
        total = settings.epochs * len(rows)
        self.rate = settings.learning_rate(total)
        if sae.fixed_coefficient and sae.distance_from_target(0.0, total):
            raise ParamsError(
                f"params.yaml: warmup_steps of sae.{sae.settings.architecture} is not below the {total} steps of the "
                "run; lower it or raise train.epochs"
            )
        dead_after, device = settings.dead_after_steps, sae.b_dec.device
        self.dead = DeadLatentCounter(sae.settings.M, dead_after, device)
        self.silent = self.dead  # those to revive, and those to report, which a restart does not make alive
        if settings.resample_every:
            self.silent = DeadLatentCounter(sae.settings.M, dead_after, device)
        self.history = History(settings.log_every)
        self.steps = 0
        self.resampled = 0

    def fit(self) -> Trained:
        best, best_weights, metrics = (float("inf"), float("inf")), self.sae.state_dict(), {}
        epoch = waited = 0
        total = self.settings.epochs * len(self.rows)
        with self.descent.alone(), progress_bar("train", "step", total) as progress:
            while epoch < self.settings.epochs and waited < self.settings.patience:
                self._epoch(epoch, progress)
                epoch += 1
                self.sae.finalise(self.validation)
                found = validate(self.descent.gradients, self.validation)
                self.history.add_point("validation_loss", self.steps, _finite(found.loss, epoch))
                self.sae.aim(found.l0)
                reached = (self.sae.distance_from_target(found.l0, self.steps), self._objective(found))
                if reached < best:
                    best, waited, best_weights = reached, 0, {}  # gone before the next copy is made
                    best_weights = copy.deepcopy(self.sae.state_dict())
                    metrics = self._metrics(found) | {"best_epoch": epoch}
                elif reached[0] == 0:  # an SAE that is not as sparse as asked for yet says nothing of one that is
                    waited += 1
                progress.set_postfix(
                    epoch=epoch, best=metrics["best_epoch"], validation_loss=f"{found.loss:.4f}", refresh=False
                )
        self.sae.load_state_dict(best_weights)
        self.sae.take_raw_rows(self.rows.scale)
        if best[0] > 0:
            say(_off_target(metrics["validation_l0"], self.sae.settings.K))
        metrics |= {"epochs": epoch, "steps": self.steps}
        return Trained(self.sae.eval(), self.history, metrics)

    def _epoch(self, epoch: int, progress: tqdm) -> None:
        for x in self.rows.shuffled(self.settings.seed, epoch):
            self._step(x)
            progress.update()

    def _step(self, x: Tensor) -> None:
        step = Step(self.steps, self.dead, _LOSSES[self.settings.loss])
        loss = self.descent.take_step(x, step, self.rate.at(self.steps))
        self.dead.observe(loss.fired)
        if self.silent is not self.dead:
            self.silent.observe(loss.fired)
        self.steps += 1
        self._resample()
        self._record(loss)

    def _resample(self) -> None:
        if not (every := self.settings.resample_every) or self.steps % every:
            return
        left = self.settings.epochs * len(self.rows) - self.steps
        if left < self.settings.dead_after_steps or not bool(self.dead.dead.any()):
            return
        seed = self.settings.seed + self.steps
        x = self.rows.sample(self.settings.init_rows, seed)
        generator = torch.Generator().manual_seed(seed)
        restarted = resample(self.sae, self.dead.dead, x, self.descent.optimiser, generator)
        self.dead.forgive(restarted)
        self.resampled += int(restarted.sum())

    def _record(self, loss: Loss) -> None:
        values = {"loss": loss.total.detach(), "l0": loss.l0, "dead_fraction": self.silent.dead_fraction}
        if loss.coefficient is not None:
            values["sparsity_coefficient"] = loss.coefficient
        self.history.add(self.steps, values)

    def _objective(self, found: Validation) -> float:
        """Return what weights are chosen by: the validation loss, with the penalty where its λ is fixed."""
        unit = 1.0 if self.settings.loss == "nmse" else found.variance
        return found.loss * unit + self.sae.fixed_coefficient * found.penalty

    def _metrics(self, found: Validation) -> dict[str, float | int]:
        resampled = {"resampled_latents": self.resampled} if self.settings.resample_every else {}
        return {
            "validation_loss": found.loss,
            "validation_l0": found.l0,
            "dead_fraction": float(self.silent.dead_fraction),
            "dead_window_rows": self.settings.dead_after_steps * self.settings.batch_size,
            **resampled,
        }


class Descent:
    """What takes an SAE a step further down: gradient, projection, clip, Adam, unit norms, in HypotheSAEs' order.

    Differs from HypotheSAEs: where `gradient_bits` is given, gradients are rounded behind the clip.
    """

    def __init__(
        self,
        sae: SparseAutoencoder,
        *,
        clip: float,
        gradient_bits: int | None,
        encoder_dtype: torch.dtype | None = None,
    ) -> None:
        """Start with no momentum.

        Args:
            sae: With the weights to start from, where it shall be trained.
            clip: Largest norm of the gradient.
            gradient_bits: Bits kept of each gradient; None: all.
            encoder_dtype: What the encoder's dense product is computed in; None: in the SAE's own type.
        """
        self.sae = sae
        self._workers = Workers() if is_sparse(sae) else None
        how = {"clip": clip, "gradient_bits": gradient_bits}
        self.gradients = gradients_of(sae, self._workers, encoder_dtype)
        self.optimiser = SharedAdam(sae, **how, workers=self._workers) if self._workers else TorchAdam(sae, **how)

    def alone(self) -> AbstractContextManager[None]:
        """Keep torch's own threads out of the way of the workers, if there are any.

        Steps are slow without, and their last bits a matter of timing.
        """
        return torch_threads(1) if self._workers else nullcontext()

    def take_step(self, x: Float[Tensor, "batch d_in"], step: Step, lr: float) -> Loss:
        """Take one step on a batch, at a learning rate."""
        loss = self.gradients(x, step)
        self.optimiser.step(lr, self.gradients.norm)
        self.sae.after_step(loss, lr)
        return loss


def _start(rows: RowBatches, settings: TrainSettings) -> tuple[Float[Tensor, " d_in"], float]:
    """Return the first decoder bias, in scaled rows, and the scale; the sample stays in the type it is stored in."""
    sample = torch.from_numpy(rows.source.sample(rows.kinds, settings.init_rows, seed=settings.seed)).to(rows.device)
    scale = unit_scale(sample) if settings.normalise_input == "rms" else 1.0
    return CENTRES[settings.init_b_dec](sample) * scale, scale


def _some(rows: RowBatches, settings: TrainSettings, split: str) -> RowBatches:
    """Refuse a split without a row to read."""
    if rows.rows == 0:
        raise ArtifactError(f"the {split} activations hold no row of train.kinds {list(settings.kinds)}; add kinds")
    return rows


def _off_target(l0: float, wanted: int) -> str:
    return (
        f"L0 on validation is {l0:.3g}, not the sae.K={wanted} that λ was to bring about: train longer (train.epochs); "
        "if L0 hardly moves (jumprelu), set train.normalise_input: rms, and a wider bandwidth"
    )


def _finite(loss: float, epoch: int) -> float:
    if not np.isfinite(loss):
        raise ArtifactError(
            f"the validation loss of epoch {epoch} is {loss}: either train.lr is too high, or all activations are equal"
        )
    return loss
