"""The learning rate over the steps of a run: warm-up, a main course, and a last decline."""

import math
from typing import Literal

from fast_sae.errors import ParamsError

Course = Literal["constant", "cosine", "linear"]


class LearningRate:
    """lr(step) = warm-up · main course · decline.

    The warm-up rises linearly from lr / warmup to lr; the main course stays at lr, or falls to `end` along half a
    cosine or a line; the decline, over the last `decay` steps, falls linearly to 0. FAST (arXiv:2506.07691) trains as
    SAELens does: 16,000 steps of warm-up, a cosine from 7e-5 to 7e-6, a decline over the last 64,000 of 320,000 steps.
    """

    def __init__(self, lr: float, course: Course, *, end: float | None, warmup: int, decay: int, total: int) -> None:
        """Lay out a run.

        Args:
            lr: Highest learning rate.
            course: What the main part does.
            end: Where it ends, for cosine and linear; ignored for constant.
            warmup: Steps of the warm-up.
            decay: Steps of the decline.
            total: Steps in all.

        Raises:
            ParamsError: if warm-up and decline leave no step between them.
        """
        if warmup + decay and warmup + decay >= total:
            raise ParamsError(
                f"params.yaml: train.lr_warmup_steps + train.lr_decay_steps is {warmup + decay}, and the run has "
                f"{total} steps; lower them or raise train.epochs"
            )
        self._lr, self._course = lr, course
        self._end = lr if end is None or course == "constant" else end
        self._warmup, self._decay, self._total = warmup, decay, total

    def at(self, step: int) -> float:
        """Return the learning rate of the step with this number, counted from 0.

        >>> rate = LearningRate(1.0, "linear", end=0.5, warmup=2, decay=2, total=8)
        >>> [rate.at(step) for step in range(8)]
        [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.25]
        """
        main = self._total - self._decay - self._warmup
        passed = min(max(step - self._warmup, 0) / main, 1.0)
        share = (1 + math.cos(math.pi * passed)) / 2 if self._course == "cosine" else 1 - passed
        rise = min(1.0, (step + 1) / self._warmup) if self._warmup else 1.0
        fall = min(1.0, (self._total - step) / self._decay) if self._decay else 1.0
        return rise * fall * (self._end + (self._lr - self._end) * share)
