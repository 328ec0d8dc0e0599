"""What a window has that a rule can speak of: n-grams of words, tokens, kinds of token, places, a label.

Each is an item, named by a string, with the tokens of the window that it stands on.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from fast_sae.backends.base import Evidence
from fast_sae.chat.kinds import KIND_NAMES, Kind
from fast_sae.features.windows import Window

Items = Mapping[str, Sequence[int]]
"""The items of one window by name, each with the indices of its tokens."""

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_LONGEST = 3
"""Words of an n-gram, at most."""
_PLACES = 5
"""Places told from either end."""


def items_of(window: Window, evidence: Evidence) -> Items:
    """Return what the window has of one kind of evidence."""
    return _FINDERS[evidence](window)


@lru_cache(2048)  # hypotheses ask about the same texts for every latent
def ngrams(window: Window) -> Items:
    """Return the n-grams of 1 to 3 words of the content, in lower case; punctuation aside, none across a line break."""
    text, owners = _content(window)
    found: dict[str, list[int]] = {}
    at = 0
    for line in text.split("\n"):
        words = [(match[0].lower(), at + match.start(), at + match.end()) for match in _WORD.finditer(line)]
        for first in range(len(words)):
            for last in range(first, min(first + _LONGEST, len(words))):
                name = " ".join(word for word, _, _ in words[first : last + 1])
                found.setdefault(name, []).extend(sorted({*owners[words[first][1] : words[last][2]]}))
        at += len(line) + 1
    return found


def _content(window: Window) -> tuple[str, list[int]]:
    """Return what `Window.content` is but for line breaks at its ends, and the token of each of its characters."""
    text, owners, inside = "", [], True
    for i, (token, kind) in enumerate(zip(window.tokens, window.kinds, strict=True)):
        if kind == Kind.CONTENT:
            piece = token if inside else f"\n{token}"
            text += piece
            owners += [i] * len(piece)
        inside = kind == Kind.CONTENT
    return text, owners


def _tokens(window: Window) -> Items:
    return _indices(window.tokens)


def _kinds(window: Window) -> Items:
    return _indices([KIND_NAMES[kind] for kind in window.kinds])


def _positions(window: Window) -> Items:
    """Return the first and last tokens of the window and of its content."""
    content = [i for i, kind in enumerate(window.kinds) if kind == Kind.CONTENT]
    found: dict[str, list[int]] = {}
    for name, indices in (("content", content), ("window", range(len(window.tokens)))):
        for n, index in enumerate(indices[:_PLACES], 1):
            found[f"token {n} of the {name}"] = [index]
        for n, index in enumerate(reversed(indices[-_PLACES:]), 1):
            found[f"token {n} from the end of the {name}"] = [index]
    return found


def _label(window: Window) -> Items:
    return {} if window.label is None else {window.label: ()}


def _indices(names: Sequence[str]) -> Items:
    found: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        found.setdefault(name, []).append(i)
    return found


_FINDERS = {"ngram": ngrams, "token": _tokens, "kind": _kinds, "position": _positions, "label": _label}
