"""Files of any format, one example at a time; what cannot be used is named."""

import json

import pandas as pd
import pytest
from annotation_samples import lines
from chat_samples import chat_tokenizer, data_settings, renderer

from fast_sae.annotation.incoming import DataFile, check, render_each
from fast_sae.errors import DataError

TEXTS = ["Hello there", "Good bye"]


def data_file(path, **overrides) -> DataFile:
    return DataFile(path, path.name, data_settings(**overrides))


def write(folder, suffix):
    path, table = folder / f"data{suffix}", pd.DataFrame({"text": TEXTS})
    if suffix == ".txt":
        path.write_text("".join(f"{text}\n" for text in TEXTS))
    elif suffix == ".parquet":
        table.to_parquet(path)
    elif suffix in (".csv", ".tsv"):
        table.to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    else:
        table.to_json(path, orient="records", lines=suffix == ".jsonl")
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt"])
def test_every_format_gives_the_same_examples(tmp_path, suffix):
    render = renderer(chat_tokenizer("llama"))
    found = [*render_each(data_file(write(tmp_path, suffix)).examples(), render, pytest.fail)]
    assert [one.number for one in found] == [0, 1]
    assert [one.id for one in found] == ["0000001", "0000002"]
    decoded = [chat_tokenizer("llama").decode(one.rendered.token_ids) for one in found]
    assert [text in told for text, told in zip(TEXTS, decoded, strict=True)] == [True, True]


def test_space_around_a_bare_text_is_kept(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"  indented \r\nlast")
    read = [record.value for record in data_file(path).records()]
    assert read == [{"text": "  indented "}, {"text": "last"}]


def test_labels_are_not_needed_and_ids_may_repeat(tmp_path):
    path = lines(tmp_path / "a.jsonl", *({"text": text, "id": "same", "label": ["no label"]} for text in TEXTS))
    assert check(data_file(path), renderer(chat_tokenizer("llama"))).examples == 2


def mixed(folder):
    path = lines(folder / "mixed.jsonl", {"text": "Hello"}, {"text": ""}, {"messages": "?"})
    refused = {"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hello"}]}
    with path.open("a") as file:
        file.write(f"{json.dumps(refused)}\n{json.dumps({'text': 'Bye'})}\n")
    return path


def test_bad_lines_and_refused_chats_are_all_named_before_anything_else(tmp_path):
    with pytest.raises(DataError, match=r"mixed.jsonl: 3 of 5 lines cannot be used: line 2: empty.*; line 3: ") as told:
        check(data_file(mixed(tmp_path)), renderer(chat_tokenizer("gemma")))
    assert "line 4: the chat template refuses this chat: System role not supported; mend them" in str(told.value)
    assert "\n" not in str(told.value)


def test_or_left_out_and_the_numbers_stay_those_of_the_file(tmp_path):
    file, render = data_file(mixed(tmp_path), on_bad_line="skip"), renderer(chat_tokenizer("gemma"))
    checked = check(file, render)
    assert checked.examples == 2
    assert [line.split(": ")[0] for line in checked.bad_lines] == [f"mixed.jsonl:line {n}" for n in (2, 3, 4)]
    assert [one.number for one in render_each(file.examples(), render, lambda _: None)] == [0, 4]


def test_tokens_and_cut_examples_are_counted(tmp_path):
    path = lines(tmp_path / "long.jsonl", {"text": "a " * 50}, {"text": "a"})
    checked = check(data_file(path), renderer(chat_tokenizer("llama"), max_length=20))
    assert checked.truncated == 1
    assert 20 < checked.tokens < 40


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_a_file_without_examples_is_refused(tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=r"empty.jsonl holds no usable example \(\d bad lines"):
        check(data_file(path, on_bad_line="skip"), renderer(chat_tokenizer("llama")))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no.jsonl", "no.jsonl is not a file"),
        ("no.docx", r"no.docx: .docx is not one of .jsonl, .* .txt"),
        ("no", "no: no suffix is not"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path, name, told):
    with pytest.raises(DataError, match=told):
        data_file(tmp_path / name).records()


def test_bare_texts_need_a_field_to_stand_in(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("Hello\n")
    with pytest.raises(DataError, match="data.text_field is null; name one with --text-field"):
        data_file(path, text_field=None).records()
