"""A linear probe: L2-penalised logistic regression, each label against the rest."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.sparse import diags_array
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from fast_sae.runtime import torch_threads
from fast_sae.statistics import auroc

PENALTIES = (10.0, 1.0, 0.1, 0.01, 0.001)
"""Strengths tried; λ of the mean loss over standardised features. scikit-learn's C is 1/(λ · examples).
On the embedded default the AUROC is flat from 0.01 down to 1e-5."""
FOLDS = 5
_INTERCEPT_PENALTY = 1e-6
"""Keeps the intercept of a label finite that a fold does not hold."""
_TOLERANCE = 1e-10
"""Largest gradient left: the order of the scores, and so the AUROC, must not hang on the processor."""
_NEWTON_STEPS = 100
_SQUARED = 2048
"""Examples whose features are squared at once."""
_WORTH_SHARING = 10**8
"""Multiplications in a product from which all threads take part."""


class Probe:
    """Weights of a fitted probe, on the features as they come."""

    def __init__(
        self, x: Float[np.ndarray, "example feature"], positive: Bool[np.ndarray, "label example"], penalty: float
    ) -> None:
        """Fit on standardised features; a constant one is left out."""
        x = x.astype(np.float64)
        self._mean, deviation = x.mean(0), x.std(0)
        self._scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0)
        x -= self._mean
        x *= self._scale
        self._weights = fit_logistic(x, positive, penalty)

    def scores(self, x: Float[np.ndarray, "example feature"]) -> Float[np.ndarray, "example label"]:
        """Return the log-odds of each label."""
        return ((x.astype(np.float64) - self._mean) * self._scale) @ self._weights[:, :-1].T + self._weights[:, -1]


def choose_penalty(
    x: Float[np.ndarray, "example feature"],
    positive: Bool[np.ndarray, "label example"],
    fold: Int64[np.ndarray, " example"],
) -> float:
    """Return the strength whose scores on left-out folds have the highest AUROC, averaged over labels.

    One strength serves all labels: few examples of one label cannot tell strengths apart. Ties go to the strongest.
    """
    found = []
    for penalty in PENALTIES:
        scores = np.zeros((len(x), len(positive)))
        for left_out in np.unique(fold):
            held = fold == left_out
            scores[held] = Probe(x[~held], positive[:, ~held], penalty).scores(x[held])
        found.append(np.nanmean(np.diagonal(auroc(scores, positive))))
    return PENALTIES[int(np.argmax(np.round(found, 6)))]


def folds(labels: Sequence[str], seed: int) -> Int64[np.ndarray, " example"]:
    """Deal the examples to folds at random, each label evenly."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(np.asarray(labels)[shuffled], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % FOLDS
    return fold


def fit_logistic(
    x: Float[np.ndarray, "example feature"], positive: Bool[np.ndarray, "label example"], penalty: float
) -> Float[np.ndarray, "label feature+1"]:
    """Return the weights, intercept last, that minimise each label's mean log-loss + penalty/2 · ‖weights‖².

    Newton steps, all labels at once, solved by conjugate gradients with the Hessian's diagonal as preconditioner, as
    far as the gradient is worth it (Nocedal & Wright 2006, algorithm 7.1): no matrix of features by features, and the
    one minimum to 10 digits. A step Δ is shortened to log(1 + δ)/δ with δ = max |x Δ|, with which Newton's method
    reaches the minimum of a logistic loss from anywhere (Sun & Tran-Dinh 2019, arXiv:1703.04599, for generalised
    self-concordance; Bach 2010, arXiv:0910.4627).
    """
    rows = torch.from_numpy(np.column_stack([x, np.ones(len(x))]).astype(np.float64, copy=False))
    ridge = torch.full((rows.shape[1],), penalty, dtype=torch.float64)
    ridge[-1] = _INTERCEPT_PENALTY
    wanted = torch.from_numpy(positive).double()
    weights = torch.zeros(len(positive), rows.shape[1], dtype=torch.float64)
    with torch_threads(_threads(rows.numel() * len(positive))):
        for _ in range(_NEWTON_STEPS):
            odds = torch.sigmoid(weights @ rows.T)
            gradient = (odds - wanted) @ rows / len(rows) + ridge * weights
            if gradient.abs().max() < _TOLERANCE:
                break
            step = _Hessian(rows, odds * (1 - odds) / len(rows), ridge).solve(-gradient)
            reach = (step @ rows.T).abs().amax(1, keepdim=True).clamp(min=1e-300)
            weights += step * (reach.log1p() / reach)
    return weights.numpy()


def _threads(multiplications: int) -> int:
    """Keep small products on one thread: there are thousands, and sharing one out costs more than computing it."""
    return 1 if multiplications < _WORTH_SHARING else torch.get_num_threads()


class _Hessian:
    """Xᵀ diag(curvature) X + diag(ridge) of every label, as conjugate gradients see them: one flat vector for all."""

    def __init__(
        self,
        x: Float[Tensor, "example feature"],
        curvature: Float[Tensor, "label example"],
        ridge: Float[Tensor, " feature"],
    ) -> None:
        """Keep the parts; no product of features by features is made."""
        self._x, self._curvature, self._ridge = x, curvature, ridge
        parts = zip(curvature.split(_SQUARED, dim=1), x.split(_SQUARED), strict=True)
        self._diagonal = (sum(c @ rows.square() for c, rows in parts) + ridge).numpy().ravel()

    def solve(self, right: Float[Tensor, "label feature"]) -> Float[Tensor, "label feature"]:
        """Return the vectors that the Hessians take to `right`, the more exactly the smaller `right` is."""
        size, rtol = right.numel(), min(0.1, float(right.norm().sqrt()))
        product = LinearOperator((size, size), matvec=self._times, dtype=np.float64)  # pyright: ignore[reportCallIssue]
        solution, _ = cg(product, right.numpy().ravel(), rtol=rtol, M=diags_array(1 / self._diagonal))
        return torch.from_numpy(solution).view_as(right)

    def _times(self, flat: Float[np.ndarray, " flat"]) -> Float[np.ndarray, " flat"]:
        v = torch.from_numpy(flat).view(len(self._curvature), -1)
        return ((self._curvature * (v @ self._x.T)) @ self._x + self._ridge * v).numpy().ravel()
