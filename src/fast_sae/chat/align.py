"""Where the data stand in a rendered chat: content, role names, ends of turns.

The template is rendered twice, once with every text of the data replaced by a mark. What stands between the marks is
the template's own, and must be found again around the real texts.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from fast_sae.chat.examples import ROLES, Message
from fast_sae.chat.kinds import Kind
from fast_sae.chat.roles import Role

Turn = Mapping[str, object]


@dataclass(frozen=True)
class Span:
    """A part of the rendered text, from one character to before another, and its kind."""

    start: int
    end: int
    kind: Kind


@dataclass(frozen=True)
class Aligned:
    """A rendered chat and its parts."""

    text: str
    spans: Sequence[Span]
    """In order; what lies in none of them is scaffold."""
    turns: Sequence[tuple[int, Role]]
    """The character where each turn starts, rising from 0, and whose it is; it ends where the next one starts."""


@dataclass(frozen=True)
class _Text:
    """A text of the data."""

    value: str
    role: str
    """Of the turn it stands in."""
    once: bool
    """Whether a template must print it, and just once: not if the turn calls a tool."""


def align(messages: Sequence[Message], render: Callable[[Sequence[Turn]], str], special: str) -> Aligned:
    """Render a chat and find its parts.

    Args:
        messages: The turns.
        render: Applies the template to turns.
        special: Pattern of the tokenizer's special tokens.

    Raises:
        ValueError: if the template drops, repeats or rewrites a text, so that it cannot be found again.
    """
    marks = _Marks(messages)
    text = render(messages)
    pieces, texts = marks.split(render(marks.messages))
    places = _find(text, pieces, [t.value for t in texts])
    roles = [t.role for t in texts]
    spans = [Span(*place, Kind.CONTENT) for place in places]
    spans = sorted([*spans, *_scaffold_spans(text, places, roles, special)], key=lambda span: span.start)
    return Aligned(text, spans, [*_turns(text, spans, roles)])


def alternatives(words: Iterable[str]) -> str:
    """Make a pattern that matches any of the words, the longest first; with no words it matches nothing."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w))) or r"(?!)"


class _Marks:
    """A chat with every text of the data replaced by a mark, which no template trims, escapes or treats apart."""

    def __init__(self, messages: Sequence[Message]) -> None:
        everything = json.dumps(messages, ensure_ascii=False)
        unused = (chr(code) for code in range(0xE000, 0xF900) if chr(code) not in everything)
        self._open, self._close = next(unused), next(unused)
        self._texts: list[_Text] = []
        self.messages = [self._mark_message(cast(Turn, message)) for message in messages]

    def split(self, skeleton: str) -> tuple[list[str], list[_Text]]:
        """Cut a rendered chat of marks into the template's own pieces and the texts between them."""
        parts = re.split(f"{self._open}([0-9]+){self._close}", skeleton)
        printed = Counter(map(int, parts[1::2]))
        if any(printed[i] != 1 for i, text in enumerate(self._texts) if text.once):
            raise ValueError("a text is dropped or repeated")
        return parts[::2], [self._texts[int(part)] for part in parts[1::2]]

    def _mark_message(self, message: Turn) -> dict[str, object]:
        role, calls = str(message["role"]), cast(list[object], message.get("tool_calls") or [])
        marked: dict[str, object] = {"content": self._mark(message["content"], role, once=not calls)}
        if calls:
            marked["tool_calls"] = [self._mark_call(call, role) for call in calls]
        return {**message, **marked}

    def _mark_call(self, call: object, role: str) -> object:
        """Mark a call but for its id and type, which some templates check, and which must be of plain letters."""
        if not isinstance(call, Mapping):
            return self._mark(call, role, once=False)
        fields = cast(Turn, call)
        plain = {k: v for k, v in fields.items() if k in ("id", "type") and re.fullmatch(r"[\w-]*", str(v))}
        rest = {k: v for k, v in fields.items() if k not in plain}
        return {**fields, **cast(Turn, self._mark(rest, role, once=False))}

    def _mark(self, value: object, role: str, once: bool) -> object:
        if isinstance(value, str) and value:
            self._texts.append(_Text(value, role, once))
            return f"{self._open}{len(self._texts) - 1}{self._close}"
        if isinstance(value, Mapping):
            return {key: self._mark(item, role, once) for key, item in cast(Turn, value).items()}
        if isinstance(value, list):
            return [self._mark(item, role, once) for item in cast(list[object], value)]
        return value


def _find(text: str, pieces: Sequence[str], values: Sequence[str]) -> list[tuple[int, int]]:
    """Find each value between the template's pieces: as it is, trimmed, or escaped as in JSON."""
    found: list[tuple[int, int]] = []
    at = len(pieces[0])
    for value, piece in zip(values, pieces[1:], strict=True):
        as_json = (json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True))
        forms = dict.fromkeys([value, value.strip(), value.rstrip(), value.lstrip(), *as_json])
        form = next((form for form in forms if text.startswith(form + piece, at)), None)
        if form is None:
            raise ValueError("a text is rewritten")
        found.append((at, at + len(form)))
        at += len(form) + len(piece)
    if at != len(text) or not text.startswith(pieces[0]):
        raise ValueError("the template prints something else around other texts")
    return found


def _scaffold_spans(text: str, places: Sequence[tuple[int, int]], roles: Sequence[str], special: str) -> Iterator[Span]:
    """Find role names and ends of turns between the texts of the data."""
    starts, ends = [start for start, _ in places], [end for _, end in places]
    gaps = list(zip([0, *ends], [*starts, len(text)], [*roles, None], strict=True))
    closing: set[str] = set()
    for number, (start, end, role) in enumerate(gaps):
        yield from (Span(*name, Kind.ROLE_NAME) for name in _role_names(text, start, end, role, special))
        closes = re.compile(rf"\s*({special})").match(text, start, end) if number else None
        if closes and not re.search(_role_word(ROLES), closes[1]):
            closing.add(closes[1])
    for start, end, _ in gaps:
        for match in re.compile(alternatives(closing)).finditer(text, start, end):
            yield Span(*match.span(), Kind.END_OF_TURN)


def _turns(text: str, spans: Sequence[Span], roles: Sequence[str]) -> Iterator[tuple[int, Role]]:
    """Cut the rendered chat behind every end of turn and every text of the data, and say whose each part is.

    Args:
        text: The rendered chat.
        spans: Its content, role names and ends of turns, in order.
        roles: The role of each content.
    """
    of_content = iter(roles)
    start, before, named = 0, Role.NONE, None
    for span in spans:
        if span.kind == Kind.ROLE_NAME:
            named = Role[ROLES[text[span.start : span.end].casefold()].upper()]
            continue
        if span.kind == Kind.CONTENT:
            named = before = Role[next(of_content).upper()]
        yield start, before if named is None else named
        start, named = span.end, None
    yield start, Role.NONE if named is None else named


def _role_names(text: str, start: int, end: int, role: str | None, special: str) -> list[tuple[int, int]]:
    """Find role words right behind a special token; failing that, the last word for the role of the turn to come."""
    behind = re.compile(f"(?:{special})({_role_word(ROLES)})")
    found = [match.span(1) for match in behind.finditer(text, start, end)]
    if found or role is None:
        return found
    own = re.compile(_role_word(word for word, meant in ROLES.items() if meant == role))
    last = [match.span() for match in own.finditer(text, start, end)][-1:]
    return [name for name in last if not re.search(r"\w", text[name[1] : end])]  # else a word of the template's prose


def _role_word(words: Iterable[str]) -> str:
    return rf"(?i:\b(?:{alternatives(words)})\b)"
