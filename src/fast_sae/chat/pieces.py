"""The text of single tokens, such that put together they are the text."""

from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase

_BROKEN = "\ufffd"
"""What a tokenizer writes for bytes that are no whole character."""
_LONGEST_CHARACTER = 4
"""Bytes of a character in UTF-8, and so the most tokens that one may lie in."""


class TokenPieces:
    """Gives each token its own text, a space before it included.

    Where a character lies in several tokens, the last of them has it and the others are empty; bytes that are no
    character even together read as U+FFFD.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Take a tokenizer; each of its tokens is decoded once, when it is first seen."""
        self._tokenizer = tokenizer
        anchors = tokenizer.encode("a", add_special_tokens=False)
        self._anchor = anchors[-1:]  # behind it a token is decoded as within a text, and keeps its space
        self._before = self._decode(self._anchor)
        self._known: dict[int, str] = {}

    def alone(self, token_id: int) -> str:
        """Return the text of one token by itself."""
        if token_id not in self._known:
            text = self._decode([*self._anchor, token_id])
            fits = text.startswith(self._before)
            self._known[token_id] = text[len(self._before) :] if fits else self._decode([token_id])
        return self._known[token_id]

    def of(self, token_ids: Sequence[int]) -> tuple[str, ...]:
        """Return the text of each of some tokens that follow one another."""
        pieces = [self.alone(token) for token in token_ids]
        at = 0
        while at < len(pieces):
            at += self._mend(token_ids, pieces, at) if _BROKEN in pieces[at] else 1
        return tuple(pieces)

    def _mend(self, token_ids: Sequence[int], pieces: list[str], at: int) -> int:
        """Put a character together that begins in the token at `at`, if one does; return how many tokens it took."""
        for n in range(2, _LONGEST_CHARACTER + 1):
            group = token_ids[at : at + n]
            text = self._decode([*self._anchor, *group])[len(self._before) :]
            if len(group) == n and _BROKEN not in text:
                pieces[at : at + n] = [""] * (n - 1) + [text]
                return n
        return 1

    def _decode(self, token_ids: Iterable[int]) -> str:
        return str(self._tokenizer.decode([*token_ids], clean_up_tokenization_spaces=False))
