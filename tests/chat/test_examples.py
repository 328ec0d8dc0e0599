"""Which records are examples, and what is said of those that are not."""

import json

import pytest
from chat_samples import data_settings

from fast_sae.chat.examples import BadRecordError, Example, read_chat, read_example


def turn(role: object, content: object = "x") -> dict[str, object]:
    return {"role": role, "content": content}


def chat_of(*roles: str) -> dict[str, object]:
    return {"messages": [turn(role) for role in roles]}


def read(record: object, **settings: object) -> Example:
    return read_example(record, data_settings(**settings), "0000007", "a.jsonl:line 7")


def test_a_bare_text_is_one_user_turn_named_by_its_line():
    example = read({"text": " Hi \n", "label": "greeting"})
    assert example == Example("0000007", ({"role": "user", "content": " Hi \n"},), True, "greeting")
    assert example.source == "a.jsonl:line 7"


MESSAGES = [turn("system", "s"), turn("user", "u"), turn("assistant", "a")]
CONVERSATIONS = [{"from": r, "value": v} for r, v in (("system", "s"), ("human", "u"), ("gpt", "a"))]


@pytest.mark.parametrize(
    "record",
    [
        {"messages": MESSAGES},
        {"conversations": CONVERSATIONS},
        {"messages": CONVERSATIONS},
        {"conversations": MESSAGES},
        {"messages": None, "conversations": MESSAGES},
        {"text": None, "messages": MESSAGES},
        {"messages": [{**m, "from": None, "value": None, "tool_calls": None, "weight": 1} for m in MESSAGES]},
        {"conversations": [{**m, "role": None, "content": None} for m in CONVERSATIONS]},
    ],
    ids=["messages", "conversations", "messages-sharegpt", "conversations-openai", "null-messages", "null-text"]
    + ["null-keys-openai", "null-keys-sharegpt"],
)
def test_both_spellings_of_a_chat_read_the_same(record):
    example = read(record)
    assert not example.is_text
    assert example.messages == (
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
    )


@pytest.mark.parametrize(
    ("spelled", "role"),
    [("developer", "system"), ("human", "user"), ("gpt", "assistant"), ("model", "assistant")]
    + [("function", "tool"), ("observation", "tool")],
)
def test_each_spelling_of_a_role_is_understood(spelled, role):
    before = {"system": [], "user": [], "assistant": ["user"], "tool": ["user", "assistant"]}[role]
    after = ["user"] if role == "system" else []
    assert read(chat_of(*before, spelled, *after)).messages[len(before)]["role"] == role


@pytest.mark.parametrize(
    "roles",
    [
        ["user"],
        ["user", "assistant"],
        ["system", "user"],
        ["user", "assistant", "user"],
        ["system", "user", "assistant", "user", "assistant"],
        ["user", "assistant", "tool", "assistant"],
        ["user", "assistant", "tool", "tool", "assistant", "user"],
    ],
    ids="-".join,
)
def test_these_orders_of_roles_are_a_chat(roles):
    assert [message["role"] for message in read(chat_of(*roles)).messages] == roles


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        (["assistant", "user"], "turn 1 is 'assistant' and opens the chat"),
        (["tool"], "turn 1 is 'tool' and opens the chat"),
        (["user", "user"], "turn 2 is 'user' and follows 'user'"),
        (["user", "assistant", "assistant"], "turn 3 is 'assistant' and follows 'assistant'"),
        (["user", "system"], "turn 2 is 'system' and follows 'user'"),
        (["user", "assistant", "system", "user"], "turn 3 is 'system' and follows 'assistant'"),
        (["system", "system", "user"], "turn 2 is 'system' and follows 'system'"),
        (["system", "assistant"], "turn 2 is 'assistant' and follows 'system'"),
        (["user", "tool"], "turn 2 is 'tool' and follows 'user'"),
        (["system"], "ends with its system turn"),
        (["user", "narrator"], "turn 2 has role 'narrator'"),
        (["USER"], "turn 1 has role 'USER'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_wrong_roles_are_told_with_their_turn(roles, told):
    with pytest.raises(BadRecordError, match=f"^wrong roles: .*{told}"):
        read(chat_of(*roles))


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ([1, 2], "not an object"),
        ("text", "not an object"),
        (None, "not an object"),
        (3, "not an object"),
        ({}, "no text: none of text, messages, conversations"),
        ({"prompt": "Hi"}, "no text: none of text, messages, conversations"),
        ({"text": None, "messages": None}, "no text"),
        ({"text": ""}, "empty: field 'text'"),
        ({"text": " \t\r\n\u00a0\u2003"}, "empty: field 'text'"),
        ({"text": 3.5}, "no text: field 'text' holds float"),
        ({"text": ["a"]}, "no text: field 'text' holds list"),
        ({"text": {"a": "b"}}, "no text: field 'text' holds dict"),
        ({"text": True}, "no text: field 'text' holds bool"),
        ({"text": "half \ud83d emoji"}, "not UTF-8: field 'text'"),
        ({"messages": []}, "empty chat"),
        ({"messages": {}}, "empty chat"),
        ({"messages": "Hi"}, "not a list"),
        ({"messages": {"role": "user", "content": "x"}}, "not a list"),
        ({"messages": 7}, "not a list"),
        ({"messages": ["Hi"]}, "turn 1 is not an object"),
        ({"messages": [None]}, "turn 1 is not an object"),
        ({"messages": [[turn("user")]]}, "turn 1 is not an object"),
        ({"messages": [{"content": "x"}]}, "turn 1 has role None"),
        ({"messages": [turn(["user"])]}, "turn 1 has role"),
        ({"messages": [turn({"a": 1})]}, "turn 1 has role"),
        ({"messages": [turn(1)]}, "turn 1 has role 1"),
        ({"messages": [{"role": "user"}]}, "no text: the content of turn 1 is missing"),
        ({"messages": [turn("user", None)]}, "no text: the content of turn 1 is missing"),
        ({"messages": [turn("user"), turn("assistant", " ")]}, "empty: the content of turn 2"),
        ({"messages": [turn("user", [{"type": "text", "text": "x"}])]}, "turn 1 holds list"),
        ({"messages": [turn("user", "\udcff")]}, "not UTF-8: the content of turn 1"),
        ({"messages": [turn("user"), {"role": "assistant", "content": None, "tool_calls": []}]}, "turn 2 is missing"),
        ({"text": "x", "id": ["a"]}, "'id' is neither text nor a whole number"),
        ({"text": "x", "id": True}, "'id' is neither text nor a whole number"),
        ({"text": "x", "id": 1.5}, "'id' is neither text nor a whole number"),
        ({"text": "x", "id": "\ud800"}, "not UTF-8: field 'id'"),
        ({"text": "x", "label": ["a"]}, "'label' holds list"),
        ({"text": "x", "label": "\udcff"}, "not UTF-8: field 'label'"),
    ],
    ids=repr,
)
def test_a_record_that_is_no_example_is_refused_with_one_line_of_reason(record, told):
    with pytest.raises(BadRecordError) as caught:
        read(record)
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [None, ""], ids=["null", "empty"])
def test_a_turn_that_calls_a_tool_needs_no_content(content):
    calls = [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]
    caller = {"role": "assistant", "content": content, "tool_calls": calls}
    example = read({"messages": [turn("user"), caller, turn("tool", "1"), turn("assistant", "one")]})
    assert example.messages[1] == {"role": "assistant", "content": "", "tool_calls": calls}
    assert [list(message) for message in example.messages[2:]] == [["role", "content"]] * 2


def test_a_tool_call_with_half_a_character_is_refused_as_it_cannot_be_written():
    calls = json.loads('[{"function": {"name": "f", "arguments": "\\ud800"}}]')
    with pytest.raises(BadRecordError, match="not UTF-8"):
        read_chat([turn("user"), {"role": "assistant", "content": None, "tool_calls": calls}])


@pytest.mark.parametrize(
    ("value", "identity"),
    [("a-1", "a-1"), (17, "17"), (0, "0"), (10**4000, "1" + "0" * 4000), ("", "0000007"), (None, "0000007")],
    ids=["text", "number", "zero", "huge", "empty", "null"],
)
def test_an_example_is_named_by_its_id_or_else_by_its_line(value, identity):
    assert read({"text": "x", "id": value}).id == identity


@pytest.mark.parametrize(
    ("value", "label"), [("joy", "joy"), (3, "3"), (0, "0"), (0.5, "0.5"), ("", None), (None, None)], ids=repr
)
def test_a_label_is_kept_as_text_and_an_empty_one_is_none(value, label):
    assert read({"text": "x", "label": value}).label == label


def test_fields_that_the_settings_do_not_name_are_not_read():
    example = read({"text": "x", "id": "a", "label": "b"}, id_field=None, label_field=None)
    assert (example.id, example.label) == ("0000007", None)
    record = {"text": 3, "messages": [turn("user", "u")]}
    assert not read(record, text_field=None).is_text
    with pytest.raises(BadRecordError, match="none of messages, conversations is there"):
        read({"text": "x"}, text_field=None)


def test_a_very_long_text_is_kept_whole():
    assert len(read({"text": "word " * 400_000}).messages[0]["content"]) == 2_000_000
