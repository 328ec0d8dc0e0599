"""data/prepared: what is gathered from a file, what is said of bad lines, and what is read back."""

import json
from collections import Counter
from pathlib import Path

import pytest
from chat_samples import chat, data_settings, text

from fast_sae.chat.gather import gather_examples
from fast_sae.chat.prepared import read_prepared, write_prepared
from fast_sae.errors import ArtifactError, DataError

HOSTILE = [
    b'{"text": "good", "id": "g"}',
    b"{not json}",
    b'{"label": "no text"}',
    b'{"text": ""}',
    b'{"text": " \\n"}',
    b"",
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}',
    b'{"text": "\xff"}',
    b'{"text": "\\ud800"}',
    b'{"text": "again", "id": "g"}',
    b'{"text": "also good"}',
]
TOLD = [
    "line 2: not JSON",
    "line 3: no text",
    "line 4: empty",
    "line 5: empty",
    "line 6: empty",
    "line 7: wrong roles",
    "line 8: not UTF-8",
    "line 9: not UTF-8",
    "line 10: duplicate id 'g', first at",
]


@pytest.fixture
def data(tmp_path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\n".join(HOSTILE))
    return path


def prepare(folder: Path, examples, bad_lines=()) -> dict[str, int]:
    splits = {"train": examples, "validation": [], "test": []}
    return write_prepared(splits, list(bad_lines), 0, folder)


def test_one_bad_line_fails_by_default_and_all_are_named_in_one_line(data):
    with pytest.raises(DataError) as caught:
        gather_examples(data, data_settings())
    message = str(caught.value)
    assert message.startswith(f"{data}: 9 of 11 lines cannot be used: ")
    at = [message.find(told) for told in TOLD]
    assert -1 not in at
    assert at == sorted(at)
    assert "set data.on_bad_line: skip" in message
    assert len(message.splitlines()) == 1


def test_skipping_bad_lines_keeps_the_good_ones_and_names_each_bad_one(data):
    gathered = gather_examples(data, data_settings(on_bad_line="skip"))
    assert [(e.id, e.messages[0]["content"]) for e in gathered.examples] == [("g", "good"), ("0000011", "also good")]
    assert len(gathered.bad_lines) == len(TOLD)
    for line, told in zip(gathered.bad_lines, TOLD, strict=True):
        assert line.startswith(f"{data}:{told}")
    assert gathered.bad_lines[-1].endswith("line 1")
    assert gathered.duplicates == 0


def test_a_duplicate_id_may_not_be_another_lines_number(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "id": "0000002"}\n{"text": "b"}\n')
    with pytest.raises(DataError, match="line 2: duplicate id '0000002'"):
        gather_examples(path, data_settings())


def test_many_bad_lines_are_counted_and_the_message_stays_readable(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": ""}\n' * 70 + "nonsense\n" * 30)
    with pytest.raises(DataError) as caught:
        gather_examples(path, data_settings())
    message = str(caught.value)
    assert "100 of 100 lines" in message
    assert "and 50 more" in message
    assert "'empty': 70" in message
    assert "'not JSON': 30" in message
    assert len(message) < 10_000


def test_the_message_stays_readable_when_a_bad_value_is_huge(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "x" * 1_000_000, "content": "a"}]}))
    with pytest.raises(DataError, match="wrong roles") as caught:
        gather_examples(path, data_settings())
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize("content", ["", "nonsense\n", "\n\n"], ids=["empty", "only-bad", "blank"])
def test_a_file_without_a_usable_example_is_refused_even_when_skipping(tmp_path, content):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match="holds no usable example"):
        gather_examples(path, data_settings(on_bad_line="skip"))


def test_duplicates_are_dropped_before_the_random_part_is_chosen(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [f"text number {i}" for i in range(6)] + ["text number 0", "text number 1"]
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    gathered = gather_examples(path, data_settings(dedup_ngram=20, max_examples=6))
    assert [e.messages[0]["content"] for e in gathered.examples] == lines[:6]
    assert gathered.duplicates == 2


def test_max_examples_keeps_the_labels_proportions(tmp_path):
    path = tmp_path / "a.jsonl"
    labels = ["rare"] * 10 + ["common"] * 30
    path.write_text("".join(f'{{"text": "t{i}", "label": "{label}"}}\n' for i, label in enumerate(labels)))
    gathered = gather_examples(path, data_settings(max_examples=8, label_field="label"))
    assert Counter(example.label for example in gathered.examples) == {"rare": 2, "common": 6}


def test_max_examples_draws_by_the_seed_and_keeps_the_order_of_the_data(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"text": "t{i}"}}\n' for i in range(50)))

    def drawn(seed: int) -> list[str]:
        return [e.id for e in gather_examples(path, data_settings(max_examples=10, seed=seed)).examples]

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert len(set(first)) == 10
    assert first == again == sorted(first)
    assert first != other
    assert first != [f"{i:07d}" for i in range(1, 11)]


def test_examples_are_read_back_as_they_were_written(tmp_path):
    calls = [{"function": {"name": "f", "arguments": {"x": [1, None, "é"]}}}]
    hostile = 'line\u2028sep\u0085nel\r\nnull\x00 \ufeff emoji 🤖 quote " back\\slash \x1c\x1d'
    called = chat("user: hi", "assistant: ok")
    called.messages[1]["tool_calls"] = calls
    examples = [text(hostile, id='odd "id"\n', label="lä\nbel"), called, text(" spaced ", id="b")]
    counts = prepare(tmp_path, examples)
    assert read_prepared(tmp_path, "train") == examples
    assert read_prepared(tmp_path, "test") == []
    assert counts == {
        "examples": 3,
        "texts": 2,
        "labels": 1,
        "bad_lines": 0,
        "duplicates": 0,
        "train_examples": 3,
        "validation_examples": 0,
        "test_examples": 0,
    }


def test_preparing_twice_writes_the_same_bytes(tmp_path):
    examples = [text(f"t{i}", id=f"t{i}", label="a") for i in range(5)]
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        prepare(tmp_path / name, examples, ["a.jsonl:line 3: empty"])
        written.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert written[0] == written[1]
    names = {"train.jsonl", "validation.jsonl", "test.jsonl", "bad_lines.txt", "counts.json"}
    assert set(written[0]) == names
    assert written[0]["bad_lines.txt"] == b"a.jsonl:line 3: empty\n"


@pytest.mark.parametrize("value", [b'"\\ud800"', b'{"\\udfff": 1}'], ids=["half-character", "half-character-key"])
def test_whatever_a_tool_call_holds_is_refused_as_bad_or_written(tmp_path, value):
    path = tmp_path / "a.jsonl"
    call = b'[{"function": {"name": "f", "arguments": ' + value + b"}}]"
    turns = b'{"role": "user", "content": "x"}, {"role": "assistant", "content": null, "tool_calls": ' + call + b"}"
    path.write_bytes(b'{"text": "good"}\n{"messages": [' + turns + b"]}\n")
    gathered = gather_examples(path, data_settings(on_bad_line="skip"))
    prepare(tmp_path, gathered.examples)
    assert read_prepared(tmp_path, "train") == gathered.examples


def test_a_tool_call_with_what_json_cannot_hold_is_refused_as_bad_or_written(tmp_path):
    from datetime import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    calls = [{"function": {"name": "f", "arguments": {"when": datetime(2024, 7, 26), "raw": b"\xff"}}}]
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": calls}]
    good = [{"role": "user", "content": "y"}]
    pq.write_table(pa.table({"messages": [good, turns]}), tmp_path / "a.parquet")
    gathered = gather_examples(tmp_path / "a.parquet", data_settings(on_bad_line="skip"))
    prepare(tmp_path, gathered.examples)
    assert read_prepared(tmp_path, "train") == gathered.examples


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.unlink(),
        lambda p: p.write_bytes(p.read_bytes()[:-20]),
        lambda p: p.write_bytes(p.read_bytes() + b"[]\n"),
        lambda p: p.write_bytes(p.read_bytes() + b"{}\n"),
        lambda p: p.write_bytes(b"\xff\xfe" + p.read_bytes()),
        lambda p: p.write_bytes(p.read_bytes().splitlines(keepends=True)[0]),
        lambda p: p.write_bytes(b""),
        lambda p: (p.parent / "counts.json").unlink(),
        lambda p: (p.parent / "counts.json").write_text("{"),
        lambda p: (p.parent / "counts.json").write_text("[]"),
        lambda p: (p.parent / "counts.json").write_text("{}"),
    ],
    ids=["gone", "cut", "a-list", "no-fields", "bytes", "short", "empty", "no-counts", "cut-counts", "list-counts"]
    + ["empty-counts"],
)
def test_a_missing_or_damaged_split_names_the_stage_to_run(tmp_path, damage):
    prepare(tmp_path, [text("a", id="a"), text("b", id="b")])
    damage(tmp_path / "train.jsonl")
    with pytest.raises(ArtifactError, match="dvc repro prepare_data"):
        read_prepared(tmp_path, "train")
