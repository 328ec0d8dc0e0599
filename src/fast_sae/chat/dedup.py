"""De-duplication by n-grams, as FAST does it (Li et al. 2025, arXiv:2506.07691, section on data).

Walk the examples in order; drop one if any of its n-grams was seen in an earlier, kept one; otherwise remember all of
its n-grams. Cost: one 8-byte hash per word of the kept examples.

Differs from the paper: n-grams are of words, so that the result does not hang on a tokenizer (the paper does not name
its unit); an example counts as one more n-gram as a whole, so that equal short examples are found; system turns are
left out, because a system prompt shared by all chats would leave one of them.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import cast

from fast_sae.chat.examples import Example, Message


def drop_duplicates(examples: Sequence[Example], n: int) -> list[Example]:
    """Return the examples that share no word n-gram with an earlier kept one; n = 0 keeps all.

    Args:
        examples: In the order in which they claim their n-grams.
        n: Words in one n-gram; FAST takes 20.
    """
    if n == 0:
        return list(examples)
    seen: set[bytes] = set()
    kept: list[Example] = []
    for example in examples:
        turns = [_said(message) for message in example.messages if message["role"] != "system"]
        grams = {_hash("\n".join(" ".join(turn.split()) for turn in turns))}
        grams |= {gram for turn in turns for gram in _grams(turn, n)}
        if seen.isdisjoint(grams):
            seen |= grams
            kept.append(example)
    return kept


def _said(message: Message) -> str:
    """Return what a turn says, and the values it calls tools with."""
    return " ".join([message["content"], *_values(message.get("tool_calls"))])


def _values(value: object) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in cast(dict[str, object], value).values() if isinstance(value, dict) else cast(list[object], value):
            yield from _values(item)
    elif value is not None:
        yield str(value)


def _grams(text: str, n: int) -> Iterator[bytes]:
    words = text.split()
    for start in range(len(words) - n + 1):
        yield _hash(" ".join(words[start : start + n]))


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
