"""Files of other stages, read as they were written; what is damaged is told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from fast_sae.errors import ArtifactError


@contextmanager
def reading(path: Path, stage: str) -> Iterator[None]:
    """Tell which file `stage` has to make again if the block does not find in it what belongs there.

    Raises:
        ArtifactError: if it is missing or damaged.
    """
    try:
        yield
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist; run: dvc pull, or: dvc repro {stage}") from None
    except (ValueError, KeyError, TypeError) as error:  # pandas' and json's own errors are ValueErrors
        found = " ".join(f"{type(error).__name__}: {error}".split())
        raise ArtifactError(f"{path} is damaged ({found}); run: dvc repro {stage}") from None


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table by column, as texts: a name may be `NA` and a label `7`.

    Raises:
        ValueError: if it is no table, or its rows are longer than its header.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        return []
    # pandas takes the first column of rows that are longer than the header for their names
    if not (table.empty or isinstance(table.index, pd.RangeIndex)):
        raise ValueError("its rows are longer than its header")
    return [{str(name): text for name, text in row.items()} for row in table.to_dict("records")]
