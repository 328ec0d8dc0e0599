"""Tables on disk: hostile tokens come back as they were; nothing of the user's is replaced."""

import csv

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fast_sae.annotation.folder import open_tables, require_free
from fast_sae.annotation.tables import example_schema, token_schema
from fast_sae.errors import ArtifactError

HOSTILE = [
    '"',
    'say "a","b"',
    "a,b",
    "\n",
    "\r\n",
    "\r",
    "a\x00b",
    "",
    " ",
    "NA",
    "null",
    "=1+1",
    "é\u2028🎉",
    "\ufffd",
]
NUMBERS = [0.1, 1 / 3, 5e-324, 1e22, 18.118645360508733, 65504.0]


def table(schema: pa.Schema) -> pa.Table:
    n = len(HOSTILE)
    columns = {pa.string(): HOSTILE, pa.float64(): np.resize(NUMBERS, n), pa.float32(): np.resize(NUMBERS, n)}
    return pa.table([pa.array(columns.get(f.type, range(n))).cast(f.type, safe=False) for f in schema], schema=schema)


def write(folder, form, number=None):
    number = number or pa.float64()
    tokens, examples = table(token_schema(number)), table(example_schema(number))
    with open_tables(folder, tokens.schema, examples.schema, form) as tables:
        for part in (slice(0, 5), slice(5, None)):
            tables.tokens.write_table(tokens.slice(part.start, part.stop))
            tables.examples.write_table(examples.slice(part.start, part.stop))
    return {"tokens": tokens, "examples": examples}


@pytest.mark.parametrize("number", [pa.float64(), pa.float32()], ids=str)
def test_parquet_gives_back_what_was_written(tmp_path, number):
    for name, wanted in write(tmp_path, "parquet", number).items():
        assert pq.read_table(tmp_path / f"{name}.parquet").equals(wanted)


def test_csv_gives_back_what_was_written(tmp_path):
    for name, wanted in write(tmp_path, "csv").items():
        read = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False)
        assert list(read) == wanted.column_names
        for column in wanted.column_names:
            assert read[column].tolist() == wanted[column].to_pylist(), column
        with (tmp_path / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            by_hand = [*csv.DictReader(file)]
        for column in ("id", "token" if name == "tokens" else "max_token"):
            assert [row[column] for row in by_hand] == wanted[column].to_pylist()


def test_float32_in_csv_reads_back_as_the_same_float32(tmp_path):
    wanted = write(tmp_path, "csv", pa.float32())["tokens"]["activation"].to_numpy()
    read = pd.read_csv(tmp_path / "tokens.csv", keep_default_na=False)["activation"].to_numpy().astype(np.float32)
    np.testing.assert_array_equal(read, wanted)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_without_rows_has_its_columns(tmp_path, form):
    with open_tables(tmp_path, token_schema(pa.float64()), example_schema(pa.float64()), form):
        pass
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet}[form](tmp_path / f"tokens.{form}")
    assert list(read) == token_schema(pa.float64()).names


def test_a_new_or_empty_folder_is_free(tmp_path):
    require_free(tmp_path, force=False)
    require_free(tmp_path / "new" / "folder", force=False)


def test_an_annotation_is_replaced_only_by_force(tmp_path):
    (tmp_path / "tokens.csv").touch()
    require_free(tmp_path, force=True)
    with pytest.raises(ArtifactError, match="holds an annotation; .* --force"):
        require_free(tmp_path, force=False)


def test_what_is_no_annotation_is_never_replaced(tmp_path):
    (tmp_path / "tokens.csv").touch()
    (tmp_path / "thesis.docx").touch()
    for force in (False, True):
        with pytest.raises(ArtifactError, match=r"holds thesis.docx, which is no annotation; choose another --out"):
            require_free(tmp_path, force=force)
        with pytest.raises(ArtifactError, match="is a file, not a folder"):
            require_free(tmp_path / "thesis.docx" / "below", force=force)
