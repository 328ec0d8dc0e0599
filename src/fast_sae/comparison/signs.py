"""What each latent of a comparison is called and does, and whether the two of a pair agree in it."""

from collections.abc import Sequence

import pandas as pd

from fast_sae.comparison.behaviour import Behaviour, shared_top
from fast_sae.comparison.contents import Contents

_NUMBERS = {"auroc": "test_auroc", "density": "test_density"}


def add_signs(rows: pd.DataFrame, a: Contents, b: Contents) -> pd.DataFrame:
    """Add to the rows of a comparison what its latents are; what is not known is missing.

    `a_name`, `a_label` (the best one, chosen on validation), `a_auroc` and `a_density` (of it, on test), likewise of b;
    `shared_top_examples`: the share of the examples in which both are strongest; `same_label`, `same_name`.
    """
    rows = rows.copy()
    pairs = [(_number(x), _number(y)) for x, y in zip(rows["a"], rows["b"], strict=True)]
    for place, (side, run) in enumerate((("a", a), ("b", b))):
        numbers = [pair[place] for pair in pairs]
        rows[f"{side}_name"] = _objects([None if one is None else run.names.get(one) for one in numbers])
        rows[f"{side}_label"] = _objects(_of_latents(run.behaviour, "best_label", numbers))
        for name, column in _NUMBERS.items():
            rows[f"{side}_{name}"] = pd.Series(_of_latents(run.behaviour, column, numbers), dtype=float)
    rows["shared_top_examples"] = pd.Series(
        [_shared_top(a.behaviour, b.behaviour, *pair) for pair in pairs], dtype=float
    )
    for what in ("label", "name"):
        both = zip(rows[f"a_{what}"], rows[f"b_{what}"], strict=True)
        rows[f"same_{what}"] = _objects([None if x is None or y is None else x == y for x, y in both])
    return rows


def _number(cell: object) -> int | None:
    return None if cell is pd.NA else int(cell)  # pyright: ignore[reportArgumentType]


def _objects(values: Sequence[object]) -> pd.Series:
    return pd.Series(values, dtype=object)


def _of_latents(behaviour: Behaviour | None, column: str, numbers: Sequence[int | None]) -> list[object]:
    if behaviour is None:
        return [None] * len(numbers)
    known = behaviour.latents[column].dropna().to_dict()
    return [known.get(number) for number in numbers]


def _shared_top(a: Behaviour | None, b: Behaviour | None, in_a: int | None, in_b: int | None) -> float | None:
    if a is None or b is None or in_a is None or in_b is None or a.prepared != b.prepared:
        return None
    return shared_top(a.top_examples.get(in_a, []), b.top_examples.get(in_b, []))
