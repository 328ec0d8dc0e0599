"""Where an SAE starts from: the middle of the data as the decoder bias, and the scale that its rows are brought to."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_CHUNK = 8192
"""Rows that are taken to float64 at once: a sample of 65,536 rows of width 4,096 would be 2 GB."""
_COLUMNS = 32
"""Columns likewise, where a column is sorted."""
_ITERATIONS = 100
_TOLERANCE = 1e-9
"""Movement, against the mean distance, at which the geometric median is found."""


def median(x: Float[Tensor, "row d_in"]) -> Float[Tensor, " d_in"]:
    """Coordinate-wise median, with which HypotheSAEs starts.

    >>> median(torch.tensor([[0.0, 9.0], [1.0, 0.0], [5.0, 1.0]]))
    tensor([1., 1.], dtype=torch.float64)
    """
    columns = (part.T.contiguous().double().cpu().numpy() for part in x.split(_COLUMNS, dim=1))
    return torch.from_numpy(np.concatenate([np.median(part, axis=1) for part in columns]))


def mean(x: Float[Tensor, "row d_in"]) -> Float[Tensor, " d_in"]:
    """Return the mean row.

    >>> mean(torch.tensor([[3.0], [7.0]]))
    tensor([5.], dtype=torch.float64)
    """
    total = x.new_zeros(x.shape[1], dtype=torch.float64)
    for part in x.split(_CHUNK):
        total += part.double().sum(0)
    return (total / len(x)).cpu()


def geometric_median(x: Float[Tensor, "row d_in"]) -> Float[Tensor, " d_in"]:
    """The point with the least sum of distances to the rows, with which FAST starts (arXiv:2506.07691).

    Weiszfeld's iteration, y ← Σ xᵢ/‖xᵢ − y‖ / Σ 1/‖xᵢ − y‖, with the guard of Vardi & Zhang 2000 (PNAS 97, eq. 2.6):
    rows that lie at y itself divide by 0 there, and are taken as a pull of 1 each towards y instead.

    >>> geometric_median(torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [9.0, 0.0]])).round(decimals=6)
    tensor([0., 0.], dtype=torch.float64)
    """
    y = mean(x).to(x.device)
    for _ in range(_ITERATIONS):
        to, weights, at_y, distances = torch.zeros_like(y), 0.0, 0, 0.0
        for part in x.split(_CHUNK):
            away = part.double() - y
            distance = away.norm(dim=1)
            elsewhere = distance > 0
            inverse = torch.where(elsewhere, 1 / distance.where(elsewhere, 1), 0)
            to += inverse @ away
            weights += float(inverse.sum())
            at_y += int((~elsewhere).sum())
            distances += float(distance.sum())
        pull = float(to.norm())
        if weights == 0 or pull <= at_y:
            break
        moved = (1 - at_y / pull) * to / weights
        y = y + moved
        if float(moved.norm()) <= _TOLERANCE * distances / len(x):
            break
    return y.cpu()


CENTRES: Mapping[str, Callable[[Float[Tensor, "row d_in"]], Float[Tensor, " d_in"]]] = {
    "median": median,
    "geometric_median": geometric_median,
    "mean": mean,
    "zero": lambda x: torch.zeros(x.shape[1], dtype=torch.float64),
}
"""The values of train.init_b_dec."""


def unit_scale(x: Float[Tensor, "row d_in"]) -> float:
    """The factor that gives rows a root mean squared distance of 1 from their mean.

    Bandwidths, first thresholds and the steps of Adam then mean the same for every model and layer.

    Differs from Rajamanoharan et al. 2024 (arXiv:2407.14435), who give rows a mean squared norm of 1: of a layer whose
    mean is far from 0, little would be left to vary.

    >>> unit_scale(torch.tensor([[3.0], [7.0]]))
    0.5
    """
    centre = mean(x).to(x.device)
    squares = sum(float((part.double() - centre).square_().sum()) for part in x.split(_CHUNK))
    return (len(x) / squares) ** 0.5 if squares > 0 else 1.0
