"""Values as pages get them: numbers short, the same on every processor, and null where there is none."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np


def short(value: object, digits: int = 4) -> float | int | None:
    """Round to so many significant digits, but leave whole numbers; what has no value is null.

    >>> [short(value) for value in (0.123456, 8.0, 123456.7, 123456, "123456", float("nan"), None, "", math.inf)]
    [0.1235, 8, 123500, 123456, 123456, None, None, None, None]
    """
    if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
        return int(value)
    if value is None or value == "" or not math.isfinite(number := float(value)):  # pyright: ignore[reportArgumentType]
        return None
    rounded = float(f"{number:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded


def shorts(values: Iterable[object]) -> list[float | int | None]:
    """Shorten each."""
    return [short(value) for value in values]


def firing(activations: Sequence[float]) -> list[float | int | None]:
    """Return the position and activation of each token on which a latent fires, one after the other.

    >>> firing([0.0, 1.5, 0.0, 2.0])
    [1, 1.5, 3, 2]
    """
    return [entry for at in np.flatnonzero(activations).tolist() for entry in (at, short(activations[at]))]


def flat(section: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield each setting of nested sections by its full name.

    >>> [*flat({"sae": {"K": 8, "topk": {}, "matryoshka": [2, 4]}})]
    [('sae.K', 8), ('sae.topk', {}), ('sae.matryoshka', [2, 4])]
    """
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
