"""What fires on one text or chat that somebody has just typed: asked in JSON, answered in JSON.

It is checked, rendered and encoded as a line of a file is, so that both give the same numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from fast_sae.annotation.annotator import Annotated, Annotator
from fast_sae.annotation.incoming import Incoming, open_renderer, render_each
from fast_sae.annotation.origin import Origin
from fast_sae.annotation.tables import strongest
from fast_sae.artifacts import Json
from fast_sae.chat.gather import check_records
from fast_sae.chat.pieces import TokenPieces
from fast_sae.chat.readers import Record
from fast_sae.chat.render import Renderer
from fast_sae.chat.settings import DataSettings
from fast_sae.errors import DataError
from fast_sae.runtime import RuntimeSettings

LATENTS = 50
"""Latents told of one text."""


@dataclass(frozen=True)
class Sentences:
    """A model, an SAE, and how a text reaches them."""

    annotator: Annotator
    renderer: Renderer
    pieces: TokenPieces
    settings: DataSettings
    """How a record is read: the field `text`, without id and label."""
    said_kinds: tuple[int, ...]
    """Kinds of tokens by which latents are ranked first."""

    @classmethod
    def open(cls, origin: Origin, data: DataSettings, runtime: RuntimeSettings) -> "Sentences":
        """Load the language model that the SAE was trained on.

        Args:
            origin: The SAE.
            data: The `data` section.
            runtime: The `runtime` section.

        Raises:
            UserError: if the model is missing, or the SAE does not fit it.
        """
        tokenizer, renderer = open_renderer(origin)
        settings = data.model_copy(update={"text_field": "text", "id_field": None, "label_field": None})
        annotator = Annotator.open(origin, tokenizer, runtime)
        return cls(annotator, renderer, TokenPieces(tokenizer), settings, origin.said_kinds)

    def answer(self, asked: object) -> Json:
        """Tell the tokens of a text or chat, and the latents that fire on them.

        Args:
            asked: `{"text": text}`, a single turn of the user, or `{"messages": [{"role": ..., "content": ...}, ...]}`.

        Returns:
            `tokens`, the text of each; `kinds`, the number of each one's `Kind`; `truncated`, whether the text went on
            beyond `extract.max_length`; and `latents`, up to `LATENTS` of [latent, [position, activation, position,
            activation, ...], largest]. `largest` is over the tokens of `said_kinds`, by which the strongest come first;
            behind them stand the latents that fire on no such token, with their largest activation anywhere.

        Raises:
            UserError: if it is no text or chat, or the chat template or the tokenizer cannot take it.
        """
        (annotated,) = self.annotator.annotate([self._read(asked)])
        rendered = annotated.incoming[0].rendered
        return {
            "tokens": self.pieces.of(rendered.token_ids.tolist()),
            "kinds": rendered.kinds.tolist(),
            "latents": _latents(annotated, self.said_kinds),
            "truncated": rendered.truncated,
        }

    def _read(self, asked: object) -> Incoming:
        if not isinstance(asked, Mapping) or [*asked] not in (["text"], ["messages"]):
            raise DataError('give {"text": "..."} or {"messages": [{"role": "user", "content": "..."}]}, and no more')
        refused: list[str] = []
        examples = check_records([Record("asked", asked)], self.settings, "as")
        for incoming in render_each(examples, self.renderer, refused.append):
            return incoming
        raise DataError(refused[0].removeprefix("as:asked: "))


def _latents(annotated: Annotated, said_kinds: tuple[int, ...]) -> list[tuple[int, list[int | float], float]]:
    """Return the strongest latents of one example, as `answer` tells them."""
    latents = np.unique(annotated.latent)
    said = np.isin(annotated.kind[annotated.row], said_kinds)
    anywhere, on_said = (_largest(annotated, latents, of) for of in (np.ones_like(said), said))
    ranked = np.where(on_said > 0, on_said, anywhere)
    order = strongest((on_said == 0).astype(np.int64), latents, ranked, None)[:LATENTS]
    best = zip(latents[order].tolist(), ranked[order].tolist(), strict=True)
    return [(latent, _firings(annotated, latent), largest) for latent, largest in best]


def _largest(
    annotated: Annotated, latents: Int[np.ndarray, " latent"], counted: Bool[np.ndarray, " active"]
) -> Float[np.ndarray, " latent"]:
    """Return each latent's largest activation over the entries counted; 0 if there is none."""
    found = np.zeros(len(latents), annotated.activation.dtype)
    np.maximum.at(found, np.searchsorted(latents, annotated.latent[counted]), annotated.activation[counted])
    return found


def _firings(annotated: Annotated, latent: int) -> list[int | float]:
    """List where a latent fires and how strongly: position, activation, position, activation, ..."""
    entries = np.flatnonzero(annotated.latent == latent)
    positions = annotated.position[annotated.row[entries]].tolist()
    return [number for pair in zip(positions, annotated.activation[entries].tolist(), strict=True) for number in pair]
