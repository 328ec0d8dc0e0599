"""A chat as the model reads it: token ids by the chat template, and the kind of each token.

Kinds come from aligning the rendered template with the messages, never from token ids: "user" in a text is content,
though it is the same token as the role name. The template is rendered twice, once with each content replaced by a
marker; what stands between the markers is the template's own, and must be found again around the real contents.
"""

import datetime
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import jinja2
import numpy as np
from jaxtyping import Int32, UInt8
from transformers import PreTrainedTokenizerBase

from fast_sae.chat.examples import ROLES, Example, Message
from fast_sae.chat.kinds import Kind
from fast_sae.errors import ModelError


@dataclass(frozen=True)
class Rendered:
    """One example as tokens."""

    token_ids: Int32[np.ndarray, " position"]
    kinds: UInt8[np.ndarray, " position"]
    truncated: bool
    """Whether tokens beyond the length limit were cut off."""


@dataclass(frozen=True)
class Span:
    """A part of the rendered text, from one character to before another, and its kind."""

    start: int
    end: int
    kind: Kind


_ROLE_WORDS = "|".join(sorted({*ROLES, "ipython"}, key=len, reverse=True))


class Renderer:
    """Turns examples into token ids and kinds with one tokenizer and its template."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        use_template: bool,
        template_kwargs: Mapping[str, object],
        template_date: datetime.date,
        max_length: int,
    ) -> None:
        """Take the tokenizer and how to use it.

        Args:
            tokenizer: A fast one, with a chat template if `use_template`.
            use_template: Render chats by the template; otherwise feed bare texts with the tokenizer's own specials.
            template_kwargs: Further variables for the template.
            template_date: What a template that asks for today's date is told.
            max_length: Tokens kept of one example, from its start.
        """
        if not tokenizer.is_fast:
            raise ModelError(f"the tokenizer of {tokenizer.name_or_path} gives no character offsets; use a fast one")
        if use_template and not tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path} has no chat template; set extract.template: none"
            )
        self._tokenizer = tokenizer
        self._use_template = use_template
        self._max_length = max_length
        self._variables = {**template_kwargs, "strftime_now": template_date.strftime}
        self._special_ids = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        specials = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._special = _alternatives(specials)

    def render(self, example: Example) -> Rendered:
        """Return the token ids of one example and the kind of each; control strings in content stay text."""
        if self._use_template:
            text, spans = self.align(example)
            ids, offsets = self._encode_rendered(text, spans)
            kinds = [_kind_at(offset, spans) for offset in offsets]
            if ids and ids[0] == self._tokenizer.bos_token_id and kinds[0] == Kind.SCAFFOLD:
                kinds[0] = Kind.BEGIN_OF_TEXT
        else:
            ids, kinds = self._encode_bare(example)
        cut = slice(self._max_length)
        return Rendered(np.array(ids[cut], np.int32), np.array(kinds[cut], np.uint8), len(ids) > self._max_length)

    def align(self, example: Example) -> tuple[str, list[Span]]:
        """Render the chat and find each message, role name and end of turn in the rendered text.

        Raises:
            ModelError: if the template refuses the chat, or rewrites a message so that it cannot be found again.
        """
        messages = example.messages
        marks = [_mark(i, messages) for i in range(len(messages))]
        text = self._apply(messages, example)
        skeleton = self._apply([{**m, "content": mark} for m, mark in zip(messages, marks, strict=True)], example)
        pieces = re.split("|".join(map(re.escape, marks)), skeleton)
        contents = _find_contents(text, pieces, [m["content"] for m in messages])
        if contents is None:
            raise ModelError(
                f"{example.source or example.id}: the chat template rewrites a message, so that the kinds of its "
                "tokens cannot be told; take this example out of the data"
            )
        spans = [Span(start, end, Kind.CONTENT) for start, end in contents]
        return text, sorted([*spans, *self._scaffold_spans(text, contents)], key=lambda span: span.start)

    def _apply(self, messages: Sequence[Mapping[str, object]], example: Example) -> str:
        try:
            return str(self._tokenizer.apply_chat_template(list(messages), tokenize=False, **self._variables))  # type: ignore[arg-type]
        except (jinja2.TemplateError, ValueError, TypeError, KeyError) as error:
            raise ModelError(f"{example.source or example.id}: the chat template refuses this chat: {error}") from None

    def _scaffold_spans(self, text: str, contents: Sequence[tuple[int, int]]) -> Iterator[Span]:
        """Find role names and ends of turns between the contents."""
        ends: set[str] = set()
        gaps = list(
            zip([0, *(end for _, end in contents)], [*(start for start, _ in contents), len(text)], strict=True)
        )
        for after_content, (start, end) in enumerate(gaps):
            closing = re.compile(r"\s*(" + self._special + ")").match(text, start, end) if after_content else None
            if closing:
                ends.add(closing[1])
            last = after_content < len(contents)
            yield from (Span(*place, Kind.ROLE_NAME) for place in self._role_names(text, start, end, last))
        for start, end in gaps:
            for special in re.compile(_alternatives(ends)).finditer(text, start, end):
                yield Span(special.start(), special.end(), Kind.END_OF_TURN)

    def _role_names(self, text: str, start: int, end: int, opens_turn: bool) -> Iterator[tuple[int, int]]:
        """Find role words right behind a special token; failing that, the last role word before a turn."""
        behind = re.compile(rf"(?:{self._special})({_ROLE_WORDS})\b", re.IGNORECASE)
        found = [match.span(1) for match in behind.finditer(text, start, end)]
        if not found and opens_turn:
            anywhere = re.compile(rf"\b({_ROLE_WORDS})\b", re.IGNORECASE)
            found = [match.span() for match in anywhere.finditer(text, start, end)][-1:]
        yield from found

    def _encode_rendered(self, text: str, spans: Sequence[Span]) -> tuple[list[int], list[tuple[int, int]]]:
        ids, offsets = self._encode(text, specials_are_text=False)
        content = [span for span in spans if span.kind == Kind.CONTENT]
        special = [
            (token, at) for token, at in zip(ids, offsets, strict=True) if token in self._special_ids and at[1] > at[0]
        ]
        if not any(_kind_at(at, content) == Kind.CONTENT for _, at in special):
            return ids, offsets
        # A text holds a control string: only the specials that the template wrote may become special tokens.
        genuine = [(token, at) for token, at in special if _kind_at(at, content) != Kind.CONTENT]
        ids, offsets, start = [], [], 0
        for token, (begin, end) in [*genuine, (None, (len(text), len(text)))]:
            piece_ids, piece_offsets = self._encode(text[start:begin], specials_are_text=True)
            ids += piece_ids
            offsets += [(a + start, b + start) for a, b in piece_offsets]
            if token is not None:
                ids.append(token)
                offsets.append((begin, end))
            start = end
        return ids, offsets

    def _encode_bare(self, example: Example) -> tuple[list[int], list[Kind]]:
        if not example.is_text:
            raise ModelError(
                f"{example.id} is a chat, and extract.template is none, which takes bare texts; set it to chat"
            )
        encoded = self._tokenizer(
            example.messages[0]["content"],
            add_special_tokens=True,
            split_special_tokens=True,
            return_special_tokens_mask=True,
            verbose=False,
        )
        ids, added = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
        before = added.index(0) if 0 in added else len(added)
        kinds = [
            Kind.CONTENT if not mark else Kind.BEGIN_OF_TEXT if i < before else Kind.END_OF_TURN
            for i, mark in enumerate(added)
        ]
        return ids, kinds

    def _encode(self, text: str, *, specials_are_text: bool) -> tuple[list[int], list[tuple[int, int]]]:
        if not text:
            return [], []
        encoded = self._tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=specials_are_text,
            return_offsets_mapping=True,
            verbose=False,
        )
        return list(encoded["input_ids"]), list(encoded["offset_mapping"])


def shared_prefix(rendered: Sequence[Rendered]) -> int:
    """Count the leading tokens that are the same in all examples: the longest common prefix, in tokens.

    With a causal model and each chat alone, the activations of these tokens are constants, and an error over them
    measures memory, not reconstruction.
    """
    if not rendered:
        return 0
    first = rendered[0].token_ids
    length = len(first)
    for other in rendered[1:]:
        both = min(length, len(other.token_ids))
        differs = np.flatnonzero(first[:both] != other.token_ids[:both])
        length = int(differs[0]) if len(differs) else both
    return length


def _mark(index: int, messages: Sequence[Message]) -> str:
    """Make a marker that no message holds, and no template trims or treats apart."""
    mark = f"\ue0f0{index}\ue0f1"
    while any(mark in message["content"] for message in messages):
        mark += "\ue0f1"
    return mark


def _find_contents(text: str, pieces: Sequence[str], contents: Sequence[str]) -> list[tuple[int, int]] | None:
    """Find each content between the template's pieces, as it is or trimmed; None if the text reads otherwise."""
    if len(pieces) != len(contents) + 1 or not text.startswith(pieces[0]):
        return None
    found: list[tuple[int, int]] = []
    at = len(pieces[0])
    for content, piece in zip(contents, pieces[1:], strict=True):
        forms = dict.fromkeys([content, content.strip(), content.rstrip(), content.lstrip()])
        form = next((form for form in forms if text.startswith(form + piece, at)), None)
        if form is None:
            return None
        found.append((at, at + len(form)))
        at += len(form) + len(piece)
    return found if at == len(text) else None


def _kind_at(offset: tuple[int, int], spans: Sequence[Span]) -> Kind:
    """Name the kind of a token by the first span that it overlaps; template text in none of them is scaffold."""
    start, end = offset
    index = max(0, bisect_right(spans, start, key=lambda span: span.start) - 1)
    for span in spans[index : index + 2]:
        if span.start < end and start < span.end:
            return span.kind
    return Kind.SCAFFOLD


def _alternatives(words: Sequence[str] | set[str]) -> str:
    """Make a pattern that matches any of the words, the longest first; with no words it matches nothing."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w))) or r"(?!)"
