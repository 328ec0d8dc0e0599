"""One example: a bare text or a chat, checked before anything is computed from it.

Both common spellings of a chat are read: `messages` of {role, content} and `conversations` of {from, value}.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict, cast

from fast_sae.chat.settings import DataSettings


class Message(TypedDict):
    """One turn of a chat, in the spelling chat templates read."""

    role: str
    """system, user, assistant or tool."""
    content: str
    tool_calls: NotRequired[list[object]]
    """The calls of an assistant's turn, as the template renders them."""
    name: NotRequired[str]
    """Of the tool that a tool's turn answers for."""
    tool_call_id: NotRequired[str]
    """Of the call that a tool's turn answers."""


@dataclass(frozen=True)
class Example:
    """One text or one chat."""

    id: str
    messages: tuple[Message, ...]
    """The turns; a bare text is a single user turn."""
    is_text: bool
    """Whether the data held a bare text, which `extract.template: none` can feed as it is."""
    label: str | None = None
    source: str = field(default="", compare=False)
    """File and line it came from."""


class BadRecordError(ValueError):
    """Why a record cannot be an example."""


ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "tool": "tool",
    "ipython": "tool",
    "function": "tool",
    "observation": "tool",
}
"""Each spelling of a role and the role it means."""

_MAY_FOLLOW = {
    None: {"system", "user"},
    "system": {"user"},
    "user": {"assistant"},
    "assistant": {"user", "tool"},
    "tool": {"tool", "assistant", "user"},
}


def read_example(record: object, settings: DataSettings, line_id: str, source: str) -> Example:
    """Turn one record of a data file into an example.

    Raises:
        BadRecordError: with the reason, if the record has no usable text or chat, id or label.
    """
    if not isinstance(record, Mapping):
        raise BadRecordError("not an object with named fields")
    fields = cast(Mapping[str, object], record)
    text = fields.get(settings.text_field) if settings.text_field else None
    turns = _first_present(fields, "messages", "conversations")
    if text is not None and not (text == "" and turns is not None):  # an empty cell beside a chat is no text
        messages = (Message(role="user", content=_text(text, f"field {settings.text_field!r}")),)
    elif turns is not None:
        messages = read_chat(turns)
    else:
        wanted = [name for name in (settings.text_field, "messages", "conversations") if name]
        raise BadRecordError(f"no text: none of {', '.join(wanted)} is there")
    return Example(
        id=_identity(fields, settings.id_field, line_id),
        messages=messages,
        is_text=turns is None or bool(text),
        label=_label(fields, settings.label_field),
        source=source,
    )


def read_chat(turns: object) -> tuple[Message, ...]:
    """Read the turns of one chat in either spelling, and check the order of their roles."""
    if not isinstance(turns, list) or not turns:
        raise BadRecordError("the chat is not a list of turns" if turns else "empty chat")
    messages = tuple(_read_turn(turn, i) for i, turn in enumerate(cast(list[object], turns)))
    before = None
    for i, message in enumerate(messages):
        if message["role"] not in _MAY_FOLLOW[before]:
            what = f"follows {before!r}" if before else "opens the chat"
            raise BadRecordError(f"wrong roles: turn {i + 1} is {message['role']!r} and {what}")
        before = message["role"]
    if before == "system":
        raise BadRecordError("wrong roles: the chat ends with its system turn")
    return messages


def _read_turn(turn: object, index: int) -> Message:
    where = f"turn {index + 1}"
    if not isinstance(turn, Mapping):
        raise BadRecordError(f"{where} is not an object")
    fields = cast(Mapping[str, object], turn)
    spelled = _first_present(fields, "role", "from")
    role = ROLES.get(spelled) if isinstance(spelled, str) else None
    if role is None:
        raise BadRecordError(f"wrong roles: {where} has role {reprlib.repr(spelled)}")
    calls = fields.get("tool_calls")
    content = _first_present(fields, "content", "value")
    if isinstance(calls, list) and calls:
        message = Message(role=role, content=_text(content, where) if content else "")
        message["tool_calls"] = cast(list[object], _plain(calls, where))
        return message
    message = Message(role=role, content=_text(content, f"the content of {where}"))
    for key in ("name", "tool_call_id"):
        if role == "tool" and isinstance(value := fields.get(key), str):
            message[key] = _encodable(value, where)
    return message


def _text(value: object, where: str) -> str:
    if value is None:
        raise BadRecordError(f"no text: {where} is missing")
    if not isinstance(value, str):
        raise BadRecordError(f"no text: {where} holds {type(value).__name__}, not text")
    if not value.strip():
        raise BadRecordError(f"empty: {where} holds nothing but space")
    return _encodable(value, where)


def _plain(calls: object, where: str) -> object:
    """Return tool calls as JSON gives them back, without the null fields that Parquet adds."""
    try:
        return _without_nulls(json.loads(_encodable(json.dumps(calls, ensure_ascii=False), where)))
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, BadRecordError):
            raise
        raise BadRecordError(f"{where}: its tool_calls are no JSON ({error})") from None


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in cast(dict[str, object], value).items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in cast(list[object], value)]
    return value


def _encodable(value: str, where: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise BadRecordError(f"not UTF-8: {where} holds bytes or half characters that are no text") from None
    return value


def _identity(fields: Mapping[str, object], id_field: str | None, line_id: str) -> str:
    value = fields.get(id_field) if id_field else None
    if value is None or value == "":
        return line_id
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRecordError(f"field {id_field!r} is neither text nor a whole number")
    return _encodable(str(value), f"field {id_field!r}")


def _label(fields: Mapping[str, object], label_field: str | None) -> str | None:
    value = fields.get(label_field) if label_field else None
    if value is None or value == "":
        return None
    if not isinstance(value, str | int | float):
        raise BadRecordError(f"field {label_field!r} holds {type(value).__name__}, not a label")
    return _encodable(str(value), f"field {label_field!r}")


def _first_present(fields: Mapping[str, object], *names: str) -> object:
    return next((fields[name] for name in names if fields.get(name) is not None), None)
