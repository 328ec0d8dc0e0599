"""Which texts have what a hypothesis speaks of, as a backend judges whole texts."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int8

from fast_sae.backends.base import Backend, Explanation, Unanswered
from fast_sae.chat.examples import Example
from fast_sae.chat.kinds import Kind
from fast_sae.chat.splits import Split
from fast_sae.features.windows import Window

UNANSWERED = -1
"""Neither yes nor no."""


def text_window(example: Example, index: int, split: Split, words: int) -> Window:
    """Return the content of an example, its turns a line each, as one window: no template, and no label.

    Args:
        example: A text or a chat.
        index: Its place within the split.
        split: Where it is from.
        words: Words kept, the first ones.
    """
    text = "\n".join(message["content"] for message in example.messages)
    kept = re.match(rf"\s*(?:\S+\s*){{0,{words}}}", text)
    assert kept is not None
    return Window(split, index, 0, (kept[0].rstrip(),), (int(Kind.CONTENT),), None)


def annotate(
    backend: Backend, names: Sequence[Explanation], texts: Sequence[Window], texts_per_question: int
) -> Int8[np.ndarray, "text name"]:
    """Ask of each text whether each name fits it: 1, 0, or `UNANSWERED`.

    Args:
        backend: Judges.
        names: What is looked for; the same one twice is asked for once.
        texts: Whole texts.
        texts_per_question: A question that is not answered loses so many texts and no more.
    """
    distinct = {name.text: name for name in names}
    starts = range(0, len(texts), texts_per_question)
    asked = [(name, at) for name in distinct.values() for at in starts]
    answers = backend.detect([(name, texts[at : at + texts_per_question]) for name, at in asked])
    found = {text: np.full(len(texts), UNANSWERED, np.int8) for text in distinct}
    for (name, at), answer in zip(asked, answers, strict=True):
        if not isinstance(answer, Unanswered):
            found[name.text][at : at + texts_per_question] = np.array(answer, bool)
    return np.stack([found[name.text] for name in names], 1) if names else np.empty((len(texts), 0), np.int8)
