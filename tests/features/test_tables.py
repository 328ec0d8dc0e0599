from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fast_sae.errors import ArtifactError
from fast_sae.features.tables import (
    SCHEMAS,
    from_columns,
    from_rows,
    read_features_table,
    stored_number,
    write_features_table,
)

TOKENS = [(0, 1, 5, " a", 3, 4, 2.0), (0, 2, 6, "b", 1, 4, 0.5), (7, 1, 5, " a", 2, 4, 1.5)]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (0.0, 0.0),
        (1 + 2**-10, 1 + 2**-10),  # the eleventh bit
        (1 + 2**-12, 1.0),
        (3 + 3 * 2**-12, 3.0),
        (2047.0, 2047.0),
        (2049.2, 2050.0),
        (2047.6, 2048.0),
        (2.0**-100, 2.0**-100),
        (-5.0001, -5.0),
    ],
)
def test_stored_numbers_have_eleven_bits(value, stored):
    found = stored_number(np.array([value]))
    assert found.dtype == np.float32
    assert found.tolist() == [stored]


def test_what_differs_in_the_last_bits_is_stored_as_one_number():
    value = np.random.default_rng(0).lognormal(0, 3, 1000)
    np.testing.assert_array_equal(stored_number(value), stored_number(value * (1 + 1e-14)))
    np.testing.assert_allclose(stored_number(value), value, rtol=2**-11)
    assert stored_number(np.zeros((0,))).shape == (0,)


def test_a_table_comes_back_as_it_was_written_a_row_group_per_part(tmp_path):
    parts = [from_rows("tokens", TOKENS[:2]), from_rows("tokens", []), from_rows("tokens", TOKENS[2:])]
    write_features_table(tmp_path / "new", "tokens", parts)
    table = read_features_table(tmp_path / "new", "tokens")
    assert [tuple(row.values()) for row in table.to_pylist()] == TOKENS
    groups = pq.ParquetFile(tmp_path / "new/tokens.parquet")
    assert [groups.metadata.row_group(i).num_rows for i in range(groups.num_row_groups)] in ([2, 1], [2, 0, 1])


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_table_may_be_empty(tmp_path, name):
    write_features_table(tmp_path, name, [from_rows(name, [])])
    table = read_features_table(tmp_path, name)
    assert table.schema == SCHEMAS[name]
    assert len(table) == 0
    write_features_table(tmp_path, name, [])
    assert read_features_table(tmp_path, name).schema == SCHEMAS[name]


def test_only_the_wanted_rows_are_read_wherever_the_folder_lies(tmp_path):
    folder = tmp_path / "latent=3"  # no partition of a data set
    write_features_table(folder, "tokens", [from_rows("tokens", TOKENS)])
    assert read_features_table(folder, "tokens", latent=7)["token_id"].to_pylist() == [5]
    assert read_features_table(folder, "tokens", latent=0, rank=2)["token"].to_pylist() == ["b"]
    assert len(read_features_table(folder, "tokens", latent=3)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "a\0b\0",
        "say \"hi\", 'yes'\\",
        "\u202eright\u200fto left\u2066",
        "\r\n\t",
        "x" * 10_000,
        "👩‍👩‍👧\ufffd",
    ],
    ids=lambda text: ascii(text[:8]),
)
def test_any_text_comes_back_to_the_letter(tmp_path, text):
    row = (0, "test", 4, 8, text, [1, 2], [text, "b"], [3, 3])
    write_features_table(tmp_path, "texts", [from_rows("texts", [row])])
    assert [tuple(found.values()) for found in read_features_table(tmp_path, "texts").to_pylist()] == [row]
    write_features_table(tmp_path, "examples", [from_columns("examples", [[text], [0], [None]])])
    assert len(read_features_table(tmp_path, "examples", split=text)) == 1


def test_a_table_that_fails_half_way_leaves_what_was_there(tmp_path):
    write_features_table(tmp_path, "tokens", [from_rows("tokens", TOKENS)])

    def parts():
        yield from_rows("tokens", TOKENS[:1])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_features_table(tmp_path, "tokens", parts())
    assert len(read_features_table(tmp_path, "tokens")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.parquet"]


def refusal(folder, name="tokens", **wanted) -> str:
    with pytest.raises(ArtifactError) as error:
        read_features_table(folder, name, **wanted)
    message = str(error.value)
    assert "\n" not in message
    assert str(folder / f"{name}.parquet") in message
    assert "dvc repro collect_features" in message
    return message


def test_a_missing_table_is_told_in_one_line(tmp_path):
    assert "does not exist" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path, latent=1)


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PAR1" + b"\0" * 50 + b"PAR1"]
)
@pytest.mark.parametrize("wanted", [{}, {"latent": 1}], ids=str)
def test_a_damaged_table_is_told_in_one_line(tmp_path, damage, wanted):
    write_features_table(tmp_path, "tokens", [from_rows("tokens", TOKENS * 100)])
    path = tmp_path / "tokens.parquet"
    path.write_bytes(damage(path.read_bytes()))
    assert "is not Parquet" in refusal(tmp_path, **wanted)


def test_bytes_changed_within_a_table_are_told_or_harmless(tmp_path):
    write_features_table(tmp_path, "texts", [from_rows("texts", [(0, "test", 0, 0, None, [1], ["word"], [3])] * 50)])
    path = tmp_path / "texts.parquet"
    whole = path.read_bytes()
    told = 0
    for at in range(4, len(whole) - 8, 23):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        with suppress(ArtifactError):  # any other error fails here
            read_features_table(tmp_path, "texts")
            continue
        told += 1
    assert told > 5


@pytest.mark.parametrize("wanted", [{}, {"latent": 1}, {"split": "test"}], ids=str)
def test_a_table_of_other_columns_is_refused(tmp_path, wanted):
    pq.write_table(pa.table({"one": [1]}), tmp_path / "pooled.parquet")
    assert "latent" in refusal(tmp_path, "pooled", **wanted)
