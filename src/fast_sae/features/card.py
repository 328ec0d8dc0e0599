"""A latent at a glance, as text and as HTML for a notebook: name, facts, histogram, examples with shaded tokens.

Its texts come from data and are untrusted: in both, what cannot be seen or would move what stands around it is written
out; in HTML every text is escaped.
"""

import html
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fast_sae.features.windows import Shown

_BARS = " ▁▂▃▄▅▆▇█"
_COLUMNS = 40
"""Bars of a histogram."""
_BEFORE, _BEHIND = 20, 10
"""Tokens around the strongest one that a line of text shows."""
_SHADE = "230,159,0"
"""Orange of the palette by Okabe & Ito (2008), which the colour-blind tell from others; text on it stays readable."""
_JOINER = "\u200d"
"""Holds an emoji together."""


@dataclass(frozen=True)
class Card:
    """What a card shows."""

    title: str
    name: str | None
    facts: Sequence[tuple[str, str]]
    largest: float
    """Activation that is shaded most."""
    histogram: pd.DataFrame
    """Columns `low`, `high`, `tokens`, rising."""
    examples: Sequence[Shown]


def text_card(card: Card) -> str:
    """Return a block of text; the tokens of an example on which the latent fires stand in ‹ ›, the strongest in « »."""
    facts = [("name", card.name or "none"), *card.facts, ("histogram", _histogram(card))]
    wide = max(len(what) for what, _ in facts)
    lines = [card.title, *(f"  {what:<{wide}}  {told}" for what, told in facts)]
    for shown in card.examples:
        lines += [f"  {_label(shown)}", f"      {''.join(_marked(shown))}"]
    return "\n".join(map(visible, lines))


def html_card(card: Card) -> str:
    """Return HTML for a notebook: tokens shaded by their share of the largest activation; on hover, the value."""
    facts = [*card.facts, ("histogram", _histogram(card))]
    rows = "".join(f"<div><b>{_safe(what)}</b> <bdi>{_safe(told)}</bdi></div>" for what, told in facts)
    examples = "".join(
        f"<li><small>{_safe(_label(shown))}</small><br><bdi>{''.join(_shaded(shown, card.largest))}</bdi></li>"
        for shown in card.examples
    )
    name = f"<p><bdi>{_safe(card.name)}</bdi></p>" if card.name else ""
    return (
        '<div style="max-width:60em;text-align:left;overflow-wrap:anywhere">'
        f"<h4>{_safe(card.title)}</h4>{name}{rows}<ol>{examples}</ol></div>"
    )


def visible(text: str) -> str:
    r"""Write out what cannot be seen or moves other text: control characters, marks of direction, line breaks.

    >>> visible("a\n\x1b[31m\u202eb")
    'a↵␛[31m⟨U+202E⟩b'
    """
    return "".join(_seen(character) for character in text)


def sparkline(weights: Sequence[float | int]) -> str:
    """Draw weights as bars; what is more than nothing gets one.

    >>> sparkline([0, 1, 4, 8])
    ' ▁▄█'
    """
    highest = max(weights, default=0)
    return "".join(_BARS[math.ceil(8 * weight / highest)] if weight else " " for weight in weights)


def _seen(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return "↵" if character == "\n" else chr(0x2400 + code)
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and character != _JOINER
    return f"⟨U+{code:04X}⟩" if hidden else character


def _safe(text: str) -> str:
    return html.escape(visible(text))


def _histogram(card: Card) -> str:
    """Draw the histogram, its bins put together to columns that are equally wide in the logarithm."""
    bins = card.histogram
    if bins.empty:
        return ""
    low, high = float(bins["low"].iloc[0]), float(bins["high"].iloc[-1])
    centres = np.sqrt(bins["low"].to_numpy() * bins["high"].to_numpy())
    counts, _ = np.histogram(np.log(centres), _COLUMNS, (math.log(low), math.log(high)), weights=bins["tokens"])
    return f"{low:.3g} |{sparkline(counts.tolist())}| {high:.3g}"


def _label(shown: Shown) -> str:
    label = f", {shown.window.label}" if shown.window.label is not None else ""
    return f"{shown.activation:.4g} in {shown.window.split} text {shown.window.example}{label}"


def _marked(shown: Shown) -> Iterator[str]:
    peak = int(np.argmax(shown.activations))
    begin, end = max(0, peak - _BEFORE), peak + _BEHIND + 1
    yield "… " if begin else ""
    for i, token in enumerate(shown.window.tokens[begin:end], begin):
        yield f"«{token}»" if i == peak else f"‹{token}›" if shown.activations[i] > 0 else token
    yield " …" if end < len(shown.window.tokens) else ""


def _shaded(shown: Shown, largest: float) -> Iterator[str]:
    for token, activation in zip(shown.window.tokens, shown.activations, strict=True):
        if activation > 0:
            shade = f"rgba({_SHADE},{0.15 + 0.6 * min(1.0, activation / largest):.2f})"
            yield f'<span style="background:{shade}" title="{activation:.4g}">{_safe(token)}</span>'
        else:
            yield _safe(token)
