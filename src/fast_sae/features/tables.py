"""The tables of data/features, as Parquet: their columns, and how they are written and read.

    latents         a row per living latent
    histograms      a row per latent and bin of activation that is not empty
    windows         a row per latent and window kept for it
    texts           a row per window that some latent keeps
    tokens          a row per latent and token, the highest lift first
    logit_lens      a row per latent, direction and token
    neighbours      a row per latent, measure and neighbour
    labels          a row per latent and label, the best first
    examples        a row per example whose latents are pooled, in the order of data/prepared
    pooled          a row per such example and latent that fires in it: the largest activation

Numbers are rounded before they are written (`stored_number`), so that another processor gives the same bytes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Float32

from fast_sae.artifacts import whole_file
from fast_sae.errors import ArtifactError

STAGE = "collect_features"

SCHEMAS: dict[str, pa.Schema] = {
    "latents": pa.schema(
        {
            "latent": pa.int32(),
            # The share of tokens (of the trained kinds), windows and examples in which it fires
            "validation_density": pa.float64(),
            "validation_window_rate": pa.float64(),
            "validation_example_rate": pa.float64(),
            "test_density": pa.float64(),
            "test_window_rate": pa.float64(),
            "test_example_rate": pa.float64(),
            # Of the tokens of validation on which it fires
            "mean_activation": pa.float64(),
            "q05": pa.float64(),
            "q25": pa.float64(),
            "q50": pa.float64(),
            "q75": pa.float64(),
            "q95": pa.float64(),
            "max_activation": pa.float64(),
            # The share of them that is of each kind
            "begin_of_text": pa.float64(),
            "scaffold": pa.float64(),
            "role_name": pa.float64(),
            "content": pa.float64(),
            "end_of_turn": pa.float64(),
            # Chosen on validation; null without labels
            "best_label": pa.string(),
            "validation_auroc": pa.float64(),
            "test_auroc": pa.float64(),
        }
    ),
    "histograms": pa.schema({"latent": pa.int32(), "low": pa.float64(), "high": pa.float64(), "tokens": pa.int64()}),
    "windows": pa.schema(
        {
            "latent": pa.int32(),
            "split": pa.string(),
            "sample": pa.string(),
            "rank": pa.int32(),
            "decile": pa.int8(),
            "weight": pa.float64(),
            "window": pa.int32(),
            "activation": pa.float32(),
            "activations": pa.list_(pa.float32()),
        }
    ),
    "texts": pa.schema(
        {
            "window": pa.int32(),
            "split": pa.string(),
            "example": pa.int32(),
            "start": pa.int32(),
            "label": pa.string(),
            "token_ids": pa.list_(pa.int32()),
            "tokens": pa.list_(pa.string()),
            "kinds": pa.list_(pa.uint8()),
        }
    ),
    "tokens": pa.schema(
        {
            "latent": pa.int32(),
            "rank": pa.int32(),
            "token_id": pa.int32(),
            "token": pa.string(),
            "fired": pa.int64(),
            "count": pa.int64(),
            "lift": pa.float64(),
        }
    ),
    "logit_lens": pa.schema(
        {
            "latent": pa.int32(),
            "direction": pa.string(),
            "rank": pa.int32(),
            "token_id": pa.int32(),
            "token": pa.string(),
            "logit": pa.float64(),
        }
    ),
    "neighbours": pa.schema(
        {
            "latent": pa.int32(),
            "by": pa.string(),
            "rank": pa.int32(),
            "neighbour": pa.int32(),
            "similarity": pa.float64(),
        }
    ),
    "labels": pa.schema(
        {
            "latent": pa.int32(),
            "rank": pa.int32(),
            "label": pa.string(),
            "validation_auroc": pa.float64(),
            "test_auroc": pa.float64(),
        }
    ),
    "examples": pa.schema({"split": pa.string(), "example": pa.int32(), "label": pa.string()}),
    "pooled": pa.schema(
        {"split": pa.string(), "example": pa.int32(), "latent": pa.int32(), "activation": pa.float32()}
    ),
}

_BITS = 11
"""Significant bits of a stored activation: those of float16."""


def write_features_table(folder: Path, name: str, parts: Iterable[pa.Table]) -> None:
    """Write one table of the folder, a row group per part; its columns are those of `SCHEMAS`."""
    with (
        whole_file(folder / f"{name}.parquet") as path,
        pq.ParquetWriter(path, SCHEMAS[name], compression="zstd") as file,
    ):
        for part in parts:
            file.write_table(part, row_group_size=max(1, len(part)))


def read_features_table(folder: Path, name: str, **wanted: int | str | range) -> pa.Table:
    """Read one table of the folder.

    Args:
        folder: data/features.
        name: One of `SCHEMAS`.
        wanted: Values of columns, such as `latent=3` or `latent=range(64, 128)`; other rows are not read.

    Raises:
        ArtifactError: if it is missing or damaged, or has other columns.
    """
    path = folder / f"{name}.parquet"
    try:
        if pq.read_schema(path).equals(SCHEMAS[name]):
            return pq.read_table(path, filters=[*_filters(wanted)] or None)
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist; run: dvc pull, or: dvc repro {STAGE}") from None
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are not UTF-8
        first = str(error).splitlines()[0]
        raise ArtifactError(f"{path} is not Parquet ({first}); run: dvc repro {STAGE}") from None
    raise ArtifactError(f"{path} has other columns than {', '.join(SCHEMAS[name].names)}; run: dvc repro {STAGE}")


def _filters(wanted: Mapping[str, int | str | range]) -> Iterator[tuple[str, str, int | str]]:
    for column, value in wanted.items():
        if isinstance(value, range):
            yield from ((column, ">=", value.start), (column, "<", value.stop))
        else:
            yield column, "==", value


def stored_number(values: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Round to 11 significant bits, which no processor's last digits reach.

    >>> stored_number(np.array([1.0, 1.0001, 3.14159]))
    array([1.      , 1.      , 3.140625], dtype=float32)
    """
    mantissa, exponent = np.frexp(values)
    scale = 2.0**_BITS
    return np.ldexp(np.round(mantissa * scale) / scale, exponent).astype(np.float32)


def from_rows(name: str, rows: Iterable[Sequence[object]]) -> pa.Table:
    """Make a table from its rows."""
    columns = [*zip(*rows, strict=True)] or [()] * len(SCHEMAS[name])
    return from_columns(name, columns)


def from_columns(name: str, columns: Sequence[object]) -> pa.Table:
    """Make a table from its columns, in their order."""
    schema = SCHEMAS[name]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
