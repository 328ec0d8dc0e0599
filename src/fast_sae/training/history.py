"""The curves of one training run, as small CSV files that DVC plots."""

from collections import defaultdict
from pathlib import Path

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from fast_sae.artifacts import write_table


class History:
    """Points of named curves over training steps; a point is the mean of all values since the last one."""

    def __init__(self, log_every: int) -> None:
        """Keep one point per `log_every` steps."""
        self._log_every = log_every
        self._step = 0
        self._pending: dict[str, list[Float[Tensor, ""]]] = defaultdict(list)
        self._curves: dict[str, list[tuple[int, float]]] = defaultdict(list)

    def add(self, step: int, values: dict[str, Float[Tensor, ""]]) -> None:
        """Take the values of one step, counted from 1; a GPU is waited for only when a point is due."""
        for name, value in values.items():
            self._pending[name].append(value)
        self._step = step
        if step % self._log_every == 0:
            self._flush()

    def add_point(self, name: str, step: int, value: float) -> None:
        """Put one point on a curve as it is."""
        self._curves[name].append((step, value))

    def write(self, folder: Path) -> None:
        """Write `<name>.csv` with columns step and the curve's name; the last point may be of fewer steps."""
        self._flush()
        for name, points in self._curves.items():
            write_table(folder / f"{name}.csv", pd.DataFrame(points, columns=["step", name]))

    def _flush(self) -> None:
        for name, values in self._pending.items():
            mean = sum(float(value) for value in values) / len(values)
            self._curves[name].append((self._step, mean))
        self._pending.clear()
