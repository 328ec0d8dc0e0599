"""A chat as the model reads it: token ids by the chat template, and the kind of each token.

Kinds come from aligning the rendered template with the messages, never from token ids: "user" in a text is content,
though it is the same token as the role name. A control string in a text, such as <|eot_id|>, stays text.
"""

import datetime
import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jinja2
import numpy as np
from jaxtyping import Int32, UInt8
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from fast_sae.chat.align import Aligned, Span, Turn, align, alternatives
from fast_sae.chat.examples import Example
from fast_sae.chat.kinds import Kind
from fast_sae.chat.roles import Role
from fast_sae.errors import ModelError

Offset = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """One example as tokens."""

    token_ids: Int32[np.ndarray, " position"]
    kinds: UInt8[np.ndarray, " position"]
    truncated: bool
    """Whether tokens beyond the length limit were cut off."""
    roles: UInt8[np.ndarray, " position"]
    """Whose turn each token stands in, a `Role`."""


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
        self._template = pin_clock(_default_template(tokenizer), template_date) if use_template else ""
        self._use_template = use_template
        self._max_length = max_length
        self._variables: dict[str, Any] = dict(template_kwargs)
        self._added = {i: token.special for i, token in tokenizer.added_tokens_decoder.items()}
        self._control = alternatives(
            token.content
            for token in tokenizer.added_tokens_decoder.values()
            if token.special or (token.content.strip() and token.content in self._template)
        )

    def render(self, example: Example) -> Rendered:
        """Return the token ids of one example and the kind of each; control strings in content stay text."""
        if self._use_template:
            aligned = self.align(example)
            contents = [span for span in aligned.spans if span.kind == Kind.CONTENT]
            ids, offsets = self._encode_rendered(aligned.text, contents, _place(example))
            kinds = [_kind_at(offset, aligned.spans) for offset in offsets]
            roles = [_role_at(offset, aligned) for offset in offsets]
            if ids and ids[0] == self._tokenizer.bos_token_id and kinds[0] != Kind.CONTENT:
                kinds[0], roles[0] = Kind.BEGIN_OF_TEXT, Role.NONE
        else:
            ids, kinds = self._encode_bare(example)
            roles = [Role.NONE] * len(ids)
        token_ids, kept, of = np.array(ids, np.int32), np.array(kinds, np.uint8), np.array(roles, np.uint8)
        cut = slice(self._max_length)
        return Rendered(token_ids[cut], kept[cut], len(ids) > self._max_length, of[cut])

    def align(self, example: Example) -> Aligned:
        """Render the chat and find content, role names, ends of turns and turns in the rendered text.

        Raises:
            ModelError: if the template refuses the chat, or rewrites a text so that it cannot be found again.
        """
        where = _place(example)

        def apply(messages: Sequence[Turn]) -> str:
            try:
                return str(
                    self._tokenizer.apply_chat_template(
                        [dict(message) for message in messages],  # pyright: ignore[reportArgumentType]
                        chat_template=self._template,
                        tokenize=False,
                        **self._variables,
                    )
                )
            except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
                told = " ".join(str(error).split())
                raise ModelError(f"{where}: the chat template refuses this chat: {told}") from None

        try:
            return align(example.messages, apply, self._control)
        except ValueError as error:
            raise ModelError(
                f"{where}: the chat template rewrites a message, so that the kinds of its tokens cannot be told "
                f"({error}); take this example out of the data"
            ) from None

    def _encode_rendered(self, text: str, contents: Sequence[Span], where: str) -> tuple[list[int], list[Offset]]:
        ids, offsets = self._encode(text)
        added = [
            (token, at)
            for token, at in zip(ids, offsets, strict=True)
            if self._added.get(token) or (token in self._added and not text[slice(*at)].isspace())
        ]
        own = {token for token, at in added if _kind_at(_trimmed(at, text), contents) != Kind.CONTENT}
        genuine = [
            (token, at)
            for token, at in added
            if _kind_at(_trimmed(at, text), contents) != Kind.CONTENT or not (self._added[token] or token in own)
        ]
        if len(genuine) == len(added):
            return ids, [
                _trimmed(at, text) if token in self._added else at for token, at in zip(ids, offsets, strict=True)
            ]
        # A text holds a control string: only what the template wrote may become a control token.
        ids, offsets, start = [], [], 0
        for token, (begin, end) in [*genuine, (None, (len(text), len(text)))]:
            encoded = self._as_text[start > 0].encode(text[start:begin], add_special_tokens=False)
            if made := {i for i in encoded.ids if self._added.get(i) and i != self._tokenizer.unk_token_id}:
                strings = ", ".join(self._tokenizer.convert_ids_to_tokens(sorted(made)))
                raise ModelError(
                    f"{where}: this tokenizer cannot take {strings} as text; take this example out of the data"
                )
            ids += encoded.ids
            offsets += [(a + start, b + start) for a, b in encoded.offsets]
            if token is not None:
                ids.append(token)
                offsets.append(_trimmed((begin, end), text))
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
        opening = [self._tokenizer.bos_token_id, self._tokenizer.cls_token_id]
        before = added.index(0) if 0 in added else sum(token in opening for token in ids)
        kinds = [
            Kind.CONTENT if not mark else Kind.BEGIN_OF_TEXT if i < before else Kind.END_OF_TURN
            for i, mark in enumerate(added)
        ]
        return ids, kinds

    def _encode(self, text: str) -> tuple[list[int], list[Offset]]:
        """Encode with control tokens; some tokenizers leave space out of their offsets, which is put back."""
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets: list[Offset] = []
        reached = 0
        for start, end in encoded["offset_mapping"]:
            offsets.append((reached if text[reached:start].isspace() else start, end))
            reached = max(reached, end)
        return list(encoded["input_ids"]), offsets

    @cached_property
    def _as_text(self) -> tuple[Tokenizer, Tokenizer]:
        """The tokenizer to which every control string is text: for the start of a chat, and for what follows."""
        backend: Tokenizer = self._tokenizer.backend_tokenizer  # pyright: ignore[reportAssignmentType]
        content = json.loads(backend.to_str()) | {"added_tokens": [], "truncation": None, "padding": None}
        start = json.dumps(content)
        behind = start.replace('"prepend_scheme": "first"', '"prepend_scheme": "never"')  # sentencepiece's space
        return Tokenizer.from_str(start), Tokenizer.from_str(behind)


def _default_template(tokenizer: PreTrainedTokenizerBase) -> str:
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        told = " ".join(str(error).split())
        raise ModelError(f"the tokenizer of {tokenizer.name_or_path} has no default chat template: {told}") from None


def _place(example: Example) -> str:
    return example.source or example.id


def pin_clock(template: str, date: datetime.date) -> str:
    """Write the date into a template in the place of every call that asks for today's.

    >>> pin_clock("{{ strftime_now('%d %b %Y') }}", datetime.date(2024, 7, 26))
    "{{ '26 Jul 2024' }}"
    """
    pinned = re.sub(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)", lambda call: repr(date.strftime(call[2])), template)
    if re.search(r"strftime_now\s*\(", pinned):
        raise ModelError("the chat template asks for today's date in a form that cannot be pinned")
    return pinned


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


def _trimmed(offset: Offset, text: str) -> Offset:
    """Take the space off an offset: some control tokens eat what stands beside them."""
    start, end = offset
    part = text[start:end]
    if not part.strip():
        return offset
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())


def _kind_at(offset: Offset, spans: Sequence[Span]) -> Kind:
    """Name the kind of a token by the first span that it overlaps; template text in none of them is scaffold."""
    span = _span_at(offset, spans)
    return span.kind if span else Kind.SCAFFOLD


def _role_at(offset: Offset, aligned: Aligned) -> Role:
    """Say whose turn a token stands in: where the span starts that gives it its kind, or else where it starts."""
    span = _span_at(offset, aligned.spans)
    at = max(offset[0], span.start) if span else offset[0]
    return aligned.turns[bisect_right(aligned.turns, at, key=lambda turn: turn[0]) - 1][1]


def _span_at(offset: Offset, spans: Sequence[Span]) -> Span | None:
    start, end = offset
    index = max(0, bisect_right(spans, start, key=lambda span: span.start) - 1)
    return next((span for span in spans[index : index + 2] if span.start < end and start < span.end), None)
