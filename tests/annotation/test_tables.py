"""The rows of both tables, counted by hand."""

import numpy as np
import pyarrow as pa
import pytest
from annotation_samples import annotated
from chat_samples import chat_tokenizer

from fast_sae.annotation.tables import decoder, example_schema, example_table, token_schema, token_table
from fast_sae.chat.kinds import Kind


def decode(token_ids) -> pa.Array:
    return pa.array([f"<{token}>" for token in token_ids], pa.string())


# Two examples of 3 and 2 tokens; the first token of the first is a begin-of-text.
PART = annotated(
    [3, 2],
    [(0, 5, 9.0), (1, 2, 1.0), (1, 5, 4.0), (2, 2, 3.0), (2, 5, 4.0), (4, 0, 2.0), (4, 7, 2.0)],
    [Kind.BEGIN_OF_TEXT, Kind.SCAFFOLD, Kind.CONTENT, Kind.CONTENT, Kind.END_OF_TURN],
)
TRAINED = (Kind.SCAFFOLD, Kind.CONTENT, Kind.END_OF_TURN)


def rows(table: pa.Table) -> list[tuple]:
    return [tuple(row.values()) for row in table.to_pylist()]


def test_tokens_tell_every_active_latent_of_every_kind_the_strongest_first():
    assert rows(token_table(PART, decode)) == [
        (0, "example-0", 0, "<0>", 0, "begin_of_text", 5, 9.0),
        (0, "example-0", 1, "<1>", 1, "scaffold", 5, 4.0),
        (0, "example-0", 1, "<1>", 1, "scaffold", 2, 1.0),
        (0, "example-0", 2, "<2>", 2, "content", 5, 4.0),
        (0, "example-0", 2, "<2>", 2, "content", 2, 3.0),
        (1, "example-1", 1, "<4>", 4, "end_of_turn", 0, 2.0),
        (1, "example-1", 1, "<4>", 4, "end_of_turn", 7, 2.0),
    ]


def test_examples_tell_each_latent_over_the_trained_kinds_only():
    assert rows(example_table(PART, decode, TRAINED)) == [
        (0, "example-0", 5, 4.0, (4 + 4) / 2, 2, 1, "<1>"),  # not 9, which is begin-of-text; of equals the first
        (0, "example-0", 2, 3.0, (1 + 3) / 2, 2, 2, "<2>"),
        (1, "example-1", 0, 2.0, 2 / 2, 1, 1, "<4>"),  # the silent token counts as 0
        (1, "example-1", 7, 2.0, 2 / 2, 1, 1, "<4>"),
    ]


def test_top_keeps_the_strongest_of_each_token_and_of_each_example():
    assert [(row[0], row[2], row[6]) for row in rows(token_table(PART, decode, top=1))] == [
        *((0, 0, 5), (0, 1, 5), (0, 2, 5)),
        (1, 1, 0),
    ]
    assert [row[:4] for row in rows(example_table(PART, decode, TRAINED, top=1))] == [
        (0, "example-0", 5, 4.0),
        (1, "example-1", 0, 2.0),
    ]


@pytest.mark.parametrize("active", [[], [(0, 5, 9.0)]], ids=["nothing fires", "only an untrained kind"])
def test_no_rows_is_a_table_too(active):
    part = annotated([2], active, [Kind.BEGIN_OF_TEXT, Kind.CONTENT])
    assert len(token_table(part, decode)) == len(active)
    by_example = example_table(part, decode, TRAINED, top=3)
    assert len(by_example) == 0
    assert by_example.schema == example_schema(pa.float64())
    assert token_table(part, decode, top=1).schema == token_schema(pa.float64())


def test_a_token_reads_as_its_own_text():
    tokenizer = chat_tokenizer("llama")
    told = 'Hello, "user"\n<|eot_id|>'
    ids = np.array(tokenizer(told).input_ids)
    pieces = decoder(tokenizer)(ids).to_pylist()
    assert "".join(pieces) == told
    assert pieces[-1] == "<|eot_id|>"
    (part_of_a_character, *_) = tokenizer("é").input_ids
    assert decoder(tokenizer)(np.array([part_of_a_character])).to_pylist() == ["\ufffd"]
