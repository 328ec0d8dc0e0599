"""Where each latent lies on the map: latents whose decoder rows point the same way lie together.

t-SNE (van der Maaten & Hinton 2008, JMLR 9): with q_ij = 1 / (1 + |y_i − y_j|²) and Z = Σ_{i≠j} q_ij,

    − ∂L/∂y_i = 4 Σ_j (e · p_ij q_ij − q_ij² / Z) (y_j − y_i),

where p is uniform over the edges of the graph of k nearest neighbours by cosine, which gives nearly the same maps as a
perplexity does (Böhm, Berens & Kobak 2022, arXiv:2007.08902, section 3). It begins at the two principal components,
scaled to 10⁻⁴ (Kobak & Berens 2019); e is 12 for the first quarter of the steps and 1 after that, and a step is
n / 12 long (Belkina et al. 2019).

Differs from the papers: beyond `_OTHERS` latents the repulsion is estimated from that many, drawn anew in each step;
and places are rounded after each step, so that the last digits of a processor, which the iteration would blow up, do
not move a point.

Cost: O(living² · d_in) for the neighbours, then O(living · min(living, 1024)) a step.
"""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Float64, Int64

from fast_sae.features.neighbours import nearest_directions

_OTHERS = 1024
"""Latents that each is pushed away from in a step."""
_BLOCK = 1024
"""Latents whose distances to the others are in memory at once."""
_EXAGGERATION = 12.0
_START = 1e-4
_GRID = 2.0**-30
"""Places are multiples of this."""


def lay_out(
    directions: Float[np.ndarray, "living d_in"], neighbours: int, steps: int, seed: int
) -> Float64[np.ndarray, "living 2"]:
    """Place latents in the plane.

    Args:
        directions: Decoder rows, of norm 1.
        neighbours: Nearest latents that each is drawn to.
        steps: Steps of the descent.
        seed: Draws the latents that push.

    Returns:
        Places from 0 to 1, the longer side of the map from end to end, to 4 digits.
    """
    n = len(directions)
    if n <= 2:
        return np.linspace(0, 1, 2 * n).reshape(n, 2)
    places, graph = _principal(directions), _graph(directions, neighbours)
    generator, speed = np.random.default_rng(seed), np.zeros((n, 2))
    for step in range(steps):
        early = step < steps // 4
        others = np.arange(n) if n <= _OTHERS else generator.choice(n, _OTHERS, replace=False)
        force = _attraction(places, graph) * (_EXAGGERATION if early else 1.0) + _repulsion(places, others)
        speed = (0.5 if early else 0.8) * speed + 4 * force * max(n / _EXAGGERATION, 1.0)
        places = np.round((places + speed) / _GRID) * _GRID
    places -= places.min(0)
    return np.round(places / max(places.max(), _GRID), 4)


def _principal(directions: Float[np.ndarray, "living d_in"]) -> Float64[np.ndarray, "living 2"]:
    """Project on the two principal components, each turned so that its largest coordinate is positive."""
    centred = directions.astype(np.float64) - directions.mean(0, dtype=np.float64)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :2]
    axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))  # d_in may be 1
    largest = axes[np.abs(np.round(axes, 6)).argmax(0), np.arange(2)]
    places = centred @ (axes * np.where(largest < 0, -1.0, 1.0))
    return np.round(_START * places / max(places[:, 0].std(), _GRID) / _GRID) * _GRID


def _graph(directions: Float[np.ndarray, "living d_in"], neighbours: int) -> sp.csr_array:
    """Return p: symmetric, its entries add up to 1, an edge named by both its ends counts twice."""
    n = len(directions)
    near = [found for found, _ in nearest_directions(directions, np.arange(n), min(neighbours, n - 1))]
    edges = np.repeat(np.arange(n), [len(found) for found in near]), np.concatenate(near)
    named = sp.csr_array((np.full(len(edges[0]), 0.5 / len(edges[0])), edges), shape=(n, n))
    return sp.csr_array(named + named.T)


def _attraction(places: Float64[np.ndarray, "living 2"], graph: sp.csr_array) -> Float64[np.ndarray, "living 2"]:
    """Σ_j p_ij q_ij (y_j − y_i)."""
    at: Int64[np.ndarray, " edge"] = np.repeat(np.arange(len(places)), np.diff(graph.indptr))
    apart = places[graph.indices] - places[at]
    pull = apart * (graph.data / (1 + (apart**2).sum(1)))[:, None]
    return np.stack([np.bincount(at, column, len(places)) for column in pull.T], axis=1)


def _repulsion(
    places: Float64[np.ndarray, "living 2"], others: Int64[np.ndarray, " other"]
) -> Float64[np.ndarray, "living 2"]:
    """− Σ_j q_ij² (y_j − y_i) / Z, both sums over the others; a latent does not push itself."""
    pushing, forces, total = places[others], np.empty_like(places), 0.0
    for at in range(0, len(places), _BLOCK):
        rows = places[at : at + _BLOCK]
        q = 1 / (1 + (rows[:, :1] - pushing[:, 0]) ** 2 + (rows[:, 1:] - pushing[:, 1]) ** 2)
        here = (others >= at) & (others < at + _BLOCK)
        q[others[here] - at, np.flatnonzero(here)] = 0
        square = q**2
        forces[at : at + _BLOCK] = rows * square.sum(1, keepdims=True) - square @ pushing
        total += q.sum()
    return forces / total
