"""Files of every format: whole ones, odd ones and damaged ones."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chat_samples import data_settings

from fast_sae.chat.examples import BadRecordError, read_example
from fast_sae.chat.readers import Record, read_records
from fast_sae.errors import DataError


@pytest.fixture
def records(tmp_path):
    def read(name: str, content: bytes) -> list[Record]:
        path = tmp_path / name
        path.write_bytes(content)
        return list(read_records(path))

    return read


def brief(records: list[Record]) -> list[tuple[str, object]]:
    """Place and value of each record, or place and the first words of its problem."""
    return [(r.place, r.value if r.problem is None else r.problem.split(" (")[0]) for r in records]


def test_jsonl_gives_one_record_a_line(records):
    found = records("a.jsonl", b'{"text": "a"}\n[1]\n"b"\nnull')
    assert brief(found) == [("line 1", {"text": "a"}), ("line 2", [1]), ("line 3", "b"), ("line 4", None)]


def test_jsonl_with_a_byte_order_mark_and_crlf_reads_as_without(records):
    found = records("a.NDJSON", b'\xef\xbb\xbf{"text": "a"}\r\n{"text": "\xef\xbb\xbfb"}\r\n')
    assert brief(found) == [("line 1", {"text": "a"}), ("line 2", {"text": "\ufeffb"})]


def test_jsonl_lines_end_at_newlines_only(records):
    found = records("a.jsonl", '{"text": "a\u2028b\u0085c\u001cd"}\n'.replace("\u001c", "\\u001c").encode())
    assert brief(found) == [("line 1", {"text": "a\u2028b\u0085c\u001cd"})]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"", "empty"),
        (b" \t\r", "empty"),
        (b"{'text': 'a'}", "not JSON"),
        (b'{"text": "a"', "not JSON"),
        (b'{"text": "a"} {"text": "b"}', "not JSON"),
        (b'{"text": "a\tb"}', "not JSON"),
        (b"plain words", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b'{"id": ' + b"1" * 5000 + b"}", "not JSON"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b'{"text": "\xed\xa0\x80"}', "not UTF-8"),
        ('{"text": "é"}'.encode("latin-1"), "not UTF-8"),
        (b"\x00\x00", "not JSON"),
    ],
    ids=["no-character", "blank", "python", "cut", "two", "raw-tab", "words", "deep-list", "deep-object", "huge-number"]
    + ["ff", "encoded-surrogate", "latin-1", "zeros"],
)
def test_a_bad_jsonl_line_is_told_in_one_line_and_its_neighbours_are_read(records, line, problem):
    found = records("a.jsonl", b'{"text": "a"}\n' + line + b'\n{"text": "b"}\n')
    assert brief(found) == [("line 1", {"text": "a"}), ("line 2", problem), ("line 3", {"text": "b"})]
    assert len(found[1].problem.splitlines()) == 1
    assert len(found[1].problem) < 200


def test_utf_16_is_told_as_not_utf_8(records):
    assert brief(records("a.jsonl", '{"text": "a"}'.encode("utf-16"))) == [("line 1", "not UTF-8")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_an_empty_file_has_no_records(records, name):
    assert records(name, b"") == []


def test_a_very_long_line_is_read(records):
    (record,) = records("a.jsonl", json.dumps({"text": "word " * 600_000}).encode())
    assert len(record.value["text"]) == 3_000_000


def test_json_is_a_list_of_records(records):
    found = records("a.json", b'\xef\xbb\xbf[{"text": "a"},\r\n 7, null]')
    assert brief(found) == [("record 1", {"text": "a"}), ("record 2", 7), ("record 3", None)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"text": "a"}', "holds dict, not a list"),
        (b'"a"', "holds str, not a list"),
        (b"null", "holds NoneType, not a list"),
        (b'[{"text": "a"},\n{"text": }]', "line 2: not JSON"),
        (b'{"text": "a"}\n{"text": "b"}', "line 2: not JSON"),
        (b"", "line 1: not JSON"),
        (b'[{"text": "\xff"}]', "is not UTF-8"),
        (b"[" * 100_000, "is not JSON"),
        (b"[" + b"1" * 5000 + b"]", "is not JSON"),
    ],
    ids=["object", "text", "null", "broken", "jsonl", "empty", "bytes", "deep", "huge-number"],
)
def test_json_that_is_no_list_of_records_is_refused(records, content, told):
    with pytest.raises(DataError, match=told) as caught:
        records("a.json", content)
    assert len(str(caught.value).splitlines()) == 1


def test_csv_cells_hold_quotes_commas_and_newlines(records):
    content = b'\xef\xbb\xbfid,text\r\n1,"He said ""no"", twice"\r\n2,"two\r\nlines"\r\n3,plain\r\n'
    assert brief(records("a.csv", content)) == [
        ("line 2", {"id": "1", "text": 'He said "no", twice'}),
        ("line 3", {"id": "2", "text": "two\r\nlines"}),
        ("line 5", {"id": "3", "text": "plain"}),
    ]


def test_tsv_is_cut_at_tabs(records):
    assert brief(records("a.tsv", b"id\ttext\n1\ta, b\n")) == [("line 2", {"id": "1", "text": "a, b"})]


def test_csv_with_an_unnamed_index_column_is_read(records):
    (record,) = records("a.csv", b",text\n0,a\n")
    assert (record.problem, record.value["text"]) == (None, "a")


def test_csv_with_too_many_cells_is_told_and_with_too_few_lacks_them(records):
    found = records("a.csv", b"id,text\n1,a,b,c\n2\n3,d\n")
    assert found[0].problem == "not CSV (2 cells more than the header has)"
    assert brief(found[1:]) == [("line 3", {"id": "2"}), ("line 4", {"id": "3", "text": "d"})]


def test_a_bad_quote_in_csv_costs_its_own_line_only(records):
    found = records("a.csv", b'id,text\n1,"a"b\n2,c\n3,"d"e\n4,f\n')
    assert brief(found) == [
        ("line 2", "not CSV"),
        ("line 3", {"id": "2", "text": "c"}),
        ("line 4", "not CSV"),
        ("line 5", {"id": "4", "text": "f"}),
    ]


def test_a_quote_that_csv_never_closes_is_told_once(records):
    found = records("a.csv", b'id,text\n1,a\n2,"b\n3,c\n')
    assert brief(found) == [("line 2", {"id": "1", "text": "a"}), ("line 3", "not CSV")]


def test_a_csv_header_that_cannot_be_read_does_not_make_the_next_line_the_header(records):
    try:
        found = records("a.csv", b'id,"te"xt\n1,a\n2,b\n')
    except DataError:
        return
    assert all(record.problem for record in found)


def test_csv_records_behind_a_blank_line_are_named_by_their_own_line(records):
    found = records("a.csv", b"text\na\n\n\nb\n")
    assert [r.place for r in found if r.value == {"text": "b"}] == ["line 5"]


def test_bytes_that_are_not_utf_8_in_a_csv_cell_spoil_their_record_only(records):
    found = records("a.csv", b"text\ngood\nb\xff\xfed\nfine\n")
    assert [r.place for r in found] == ["line 2", "line 3", "line 4"]
    with pytest.raises(BadRecordError, match="not UTF-8"):
        read_example(found[1].value, data_settings(), "2", "a.csv:line 3")
    assert found[2].value == {"text": "fine"}


def test_a_csv_cell_of_a_million_characters_is_read(records):
    (record,) = records("a.csv", b"text\n" + b"x" * 1_000_000 + b"\n")
    assert len(record.value["text"]) == 1_000_000


def test_a_chat_in_a_csv_cell_is_json(records):
    turns = [{"role": "user", "content": 'a "b", c'}]
    cell = json.dumps(turns).replace('"', '""')
    (record,) = records("a.csv", f'id,messages\n1,"{cell}"\n'.encode())
    assert record.value == {"id": "1", "messages": turns}


@pytest.mark.parametrize("cell", ["[1", "[" * 100_000, "[" + "1" * 5000 + "]"], ids=["cut", "deep", "huge-number"])
def test_a_csv_cell_that_is_no_json_is_left_for_the_reader_of_examples_to_refuse(records, cell):
    (record,) = records("a.csv", f"messages\n{cell}\n".encode())
    with pytest.raises(BadRecordError):
        read_example(record.value, data_settings(), "1", "a.csv:line 2")


def parquet(path, table: pa.Table) -> list[Record]:
    pq.write_table(table, path)
    return list(read_records(path))


def test_parquet_gives_its_rows_in_order(tmp_path):
    found = parquet(tmp_path / "a.parquet", pa.table({"text": ["a", None], "label": [1, 2]}))
    assert brief(found) == [("record 1", {"text": "a", "label": 1}), ("record 2", {"text": None, "label": 2})]


def test_nested_messages_in_parquet_read_as_in_jsonl_though_absent_keys_come_as_none(tmp_path):
    calls = [{"function": {"name": "f", "arguments": '{"x": 1}'}}]
    rows = [
        {"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": None, "tool_calls": calls}]},
        {"messages": [{"role": "user", "content": "v"}, {"role": "assistant", "content": "w"}]},
        {"conversations": [{"from": "human", "value": "x"}]},
    ]
    columns = {name: [row.get(name) for row in rows] for name in ("text", "messages", "conversations")}
    found = parquet(tmp_path / "a.parquet", pa.table(columns))
    assert found[0].value["messages"][0]["tool_calls"] is None  # what this test is about
    assert found[2].value["messages"] is None
    examples = [read_example(record.value, data_settings(), "1", "p") for record in found]
    assert examples == [read_example(row, data_settings(), "1", "p") for row in rows]


def test_keys_that_parquet_adds_to_a_tool_call_do_not_reach_the_template(tmp_path):
    def call(**arguments: str) -> list[object]:
        return [{"function": {"name": "f", "arguments": arguments}}]

    rows = [
        {"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": None, "tool_calls": calls}]}
        for calls in (call(city="Rome"), call(unit="C"))
    ]
    found = parquet(tmp_path / "a.parquet", pa.Table.from_pylist(rows))
    examples = [read_example(record.value, data_settings(), "1", "p") for record in found]
    assert [example.messages[1]["tool_calls"] for example in examples] == [call(city="Rome"), call(unit="C")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b"",
        lambda b: b"PAR1" + b"\0" * 40 + b"PAR1",
        lambda b: b"text,label\n1,2\n",
    ]
    + [lambda b: b[:4] + b"\xff" * 60 + b[64:], lambda b: b[:-30] + b"\xff" * 22 + b[-8:]],
    ids=["cut", "empty", "zeros", "csv", "page", "footer"],
)
def test_a_damaged_parquet_file_is_refused_in_one_line(tmp_path, damage):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(100)]}), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"a\.parquet") as caught:
        list(read_records(path))
    assert len(str(caught.value).splitlines()) == 1


def test_a_parquet_text_that_is_not_utf_8_spoils_its_record_only(tmp_path):
    raw = pa.array([b"good", b"b\xff", b"fine"])
    texts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    found = parquet(tmp_path / "a.parquet", pa.table({"text": texts}))
    assert [r.value for r in found if r.place != "record 2"] == [{"text": "good"}, {"text": "fine"}]
    with pytest.raises(BadRecordError, match="not UTF-8"):
        raise (
            BadRecordError(found[1].problem)
            if found[1].problem
            else read_example(found[1].value, data_settings(), "2", "p")
        )


@pytest.mark.parametrize(
    ("name", "told"),
    [("a.txt", r"\.txt is not one of"), ("a", "no suffix is not one of"), ("absent.jsonl", "is not a file")],
)
def test_a_file_that_cannot_be_read_is_refused_with_what_to_set(tmp_path, name, told):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(DataError, match=f"{told}.*set data.path"):
        list(read_records(tmp_path / name))


def test_a_folder_is_no_data_file(tmp_path):
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(DataError, match="is not a file"):
        list(read_records(tmp_path / "a.jsonl"))
