"""The cells that rows fall into, and the populations they make up.

A cell is the kind of a token, whether its whole prefix is the same in all examples, and whether it is an outlier
(`sinks`). A population is a union of cells, so each figure can be told for every kind, with and without the constant
rows, from one pass.
"""

import numpy as np
from jaxtyping import Bool, Integer

from fast_sae.chat.kinds import KIND_NAMES, SPECIAL_KINDS, Kind

N_CELLS = 4 * len(Kind)


def cell_of(
    kind: Integer[np.ndarray, " row"], shared: Bool[np.ndarray, " row"], outlier: Bool[np.ndarray, " row"]
) -> Integer[np.ndarray, " row"]:
    """Number the cell of each row."""
    return 4 * kind.astype(np.int64) + 2 * shared + outlier


def population(kinds: tuple[int, ...], *, shared_prefix: bool = True) -> Bool[np.ndarray, " cell"]:
    """Mark the cells of some kinds, with or without the rows whose whole prefix is the same in all examples.

    >>> population((1,), shared_prefix=False).nonzero()[0]
    array([4, 5])
    """
    cell = np.arange(N_CELLS)
    return np.isin(cell // 4, kinds) & ((cell // 2 % 2 == 0) | shared_prefix)


def only_outliers(cells: Bool[np.ndarray, " cell"]) -> Bool[np.ndarray, " cell"]:
    """Keep of some cells those of outliers."""
    return cells & (np.arange(N_CELLS) % 2 == 1)


def without_outliers(cells: Bool[np.ndarray, " cell"]) -> Bool[np.ndarray, " cell"]:
    """Keep of some cells those that are not of outliers."""
    return cells & ~only_outliers(cells)


def named_populations(trained: tuple[int, ...]) -> dict[str, Bool[np.ndarray, " cell"]]:
    """Return the populations that the tables tell: all trained, special, each kind, and each of them `varying`."""
    kinds = {"trained": trained, "special": tuple(SPECIAL_KINDS)}
    kinds |= {name: (int(Kind[name.upper()]),) for name in KIND_NAMES}
    return {
        name + suffix: population(members, shared_prefix=shared_prefix)
        for name, members in kinds.items()
        for suffix, shared_prefix in (("", True), (" varying", False))
    }
