"""L1-penalised regression, linear or logistic, with the penalty that leaves so many latents.

What HypotheSAEs minimises by way of scikit-learn, over standardised latents x and target y:

    number   1/(2n) Σᵢ (yᵢ − b − w·xᵢ)² + α ‖w‖₁            sklearn.linear_model.Lasso
    label    Σᵢ log(1 + exp(−sᵢ (b + w·xᵢ))) + α (‖w‖₁ + |b|), s = 2y − 1
                                    LogisticRegression(penalty="l1", solver="liblinear", C=1/α), which penalises b too

Differs from scikit-learn: the one minimum is found to about 8 digits, where liblinear stops at its tolerance of 1e-4 in
an order that is drawn. Solved as in glmnet and liblinear's own newGLMNET: a quadratic approximation, coordinate descent
on it, a line search (Friedman, Hastie & Tibshirani 2010; Yuan, Ho & Lin 2012), over the columns that are not 0 or ought
not to be.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import expit

_LOW, _HIGH, _HALVINGS = 1e-6, 1e4, 20
"""Bounds of α and halvings of their logarithm: HypotheSAEs'."""
_MARGIN, _FALL = 10, 0.8
"""A penalty is far below the one sought if it leaves twice the latents and so many; it is neared by such steps."""
_TOLERANCE = 1e-9
"""Largest slope left, in units of the number of examples."""
_STEPS = 100
_SWEEPS = 1000


def lasso_weights(
    x: Float64[np.ndarray, "example latent"], y: Float64[np.ndarray, " example"], n: int, *, is_label: bool
) -> Float64[np.ndarray, " latent"]:
    """Return the weights under the penalty that leaves n of them; under the last one tried, if none was found to.

    The penalty is searched by HypotheSAEs' bisection, so that weights equal its own and not only the choice. Penalties
    far below are not fitted, but taken to leave more than n. A constant latent has the weight 0.
    """
    path = _Path(_standardised(x), y, is_label)
    crowded = path.first_to_leave(2 * n + _MARGIN)
    low, high = _LOW, _HIGH
    weights = np.zeros(x.shape[1])
    for _ in range(_HALVINGS):
        alpha = np.sqrt(low * high)
        found = n + 1
        if alpha >= crowded:
            weights = path.weights(alpha)
            found = np.count_nonzero(weights)
        if found == n:
            break
        low, high = (low, alpha) if found < n else (alpha, high)
    return weights


class _Path:
    """Fits under falling penalties, each begun from the nearest one above it."""

    def __init__(
        self, x: Float64[np.ndarray, "example latent"], y: Float64[np.ndarray, " example"], is_label: bool
    ) -> None:
        """Take standardised latents."""
        columns, y = (np.column_stack([x, np.ones(len(x))]), y) if is_label else (x, y - y.mean())
        self._problem = _Problem(columns, y, is_label)
        self._latents, self._unit = x.shape[1], 1.0 if is_label else float(len(x))
        self._fits = {np.inf: np.zeros(columns.shape[1])}

    def weights(self, alpha: float) -> Float64[np.ndarray, " latent"]:
        """Fit under one penalty."""
        if alpha not in self._fits:
            nearest = min(above for above in self._fits if above > alpha)
            self._fits[alpha] = self._problem.minimise(alpha * self._unit, self._fits[nearest])
        return self._fits[alpha][: self._latents]

    def first_to_leave(self, n: int) -> float:
        """Return the first penalty, of those falling from the top by steps, that leaves n weights; 0 if none does."""
        steps = int(np.log(_HIGH / _LOW) / np.log(1 / _FALL))
        for alpha in _HIGH * _FALL ** np.arange(steps):
            if np.count_nonzero(self.weights(float(alpha))) >= n:
                return float(alpha)
        return 0.0


def _standardised(x: Float64[np.ndarray, "example latent"]) -> Float64[np.ndarray, "example latent"]:
    varies = np.ptp(x, 0) > 0
    scale = np.where(varies, x.std(0), 1)
    return np.where(varies, (x - x.mean(0)) / scale, 0.0)


@dataclass(frozen=True)
class _Problem:
    """Σᵢ ℓ(xᵢ·w, yᵢ) + penalty · ‖w‖₁, ℓ half the squared error or the log-loss."""

    x: Float64[np.ndarray, "example column"]
    y: Float64[np.ndarray, " example"]
    is_label: bool

    def minimise(self, penalty: float, weights: Float64[np.ndarray, " column"]) -> Float64[np.ndarray, " column"]:
        """Minimise from the weights given."""
        for _ in range(_STEPS):
            eta = self.x @ weights
            slope = self.x.T @ self._slope(eta)
            working = (weights != 0) | (np.abs(slope) > penalty)
            if self._violation(slope, weights, penalty) <= _TOLERANCE * len(self.y):
                break
            weights = weights + self._step(eta, slope, weights, penalty, working)
        return weights

    def _step(
        self,
        eta: Float64[np.ndarray, " example"],
        slope: Float64[np.ndarray, " column"],
        weights: Float64[np.ndarray, " column"],
        penalty: float,
        working: Bool[np.ndarray, " column"],
    ) -> Float64[np.ndarray, " column"]:
        """Return the step to the minimum of the quadratic approximation, shortened until the loss falls with it."""
        x, w = self.x[:, working], weights[working]
        hessian = x.T @ (x * self._curvature(eta)[:, None])
        step = _descend(hessian, slope[working], w, penalty)
        along, expected = x @ step, slope[working] @ step + penalty * (np.abs(w + step).sum() - np.abs(w).sum())
        before, length = self._loss(eta) + penalty * np.abs(w).sum(), 1.0
        while self._loss(eta + length * along) + penalty * np.abs(w + length * step).sum() > (
            before + 0.01 * length * expected
        ):
            length /= 2
            if length < 1e-9:  # as low as float64 can tell
                break
        whole = np.zeros_like(weights)
        whole[working] = step * length
        return whole

    def _loss(self, eta: Float64[np.ndarray, " example"]) -> float:
        if self.is_label:
            return float((np.logaddexp(0, eta) - self.y * eta).sum())
        return float(((eta - self.y) ** 2).sum() / 2)

    def _slope(self, eta: Float64[np.ndarray, " example"]) -> Float64[np.ndarray, " example"]:
        return (expit(eta) if self.is_label else eta) - self.y

    def _curvature(self, eta: Float64[np.ndarray, " example"]) -> Float64[np.ndarray, " example"]:
        return expit(eta) * expit(-eta) if self.is_label else np.ones(len(eta))

    def _violation(
        self, slope: Float64[np.ndarray, " column"], weights: Float64[np.ndarray, " column"], penalty: float
    ) -> float:
        """Return how far the slope is from one at which no weight would move."""
        at_zero = np.maximum(np.abs(slope) - penalty, 0)
        return float(np.where(weights == 0, at_zero, np.abs(slope + penalty * np.sign(weights))).max(initial=0))


def _descend(
    hessian: Float64[np.ndarray, "column column"],
    slope: Float64[np.ndarray, " column"],
    weights: Float64[np.ndarray, " column"],
    penalty: float,
) -> Float64[np.ndarray, " column"]:
    """Minimise slope·d + ½ d·H d + penalty · ‖w + d‖₁ over d, one coordinate after another."""
    curvature = np.diag(hessian) + 1e-12
    moved, slope = weights.copy(), slope.copy()
    for _ in range(_SWEEPS):
        largest = 0.0
        for j in range(len(moved)):
            free = moved[j] - slope[j] / curvature[j]
            new = np.sign(free) * max(abs(free) - penalty / curvature[j], 0.0)
            if (by := new - moved[j]) != 0:
                slope += hessian[:, j] * by
                moved[j] = new
                largest = max(largest, abs(by) * curvature[j])
        if largest <= 1e-10 * max(1.0, penalty):
            break
    return moved - weights
