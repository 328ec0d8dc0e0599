"""Which label a text shows, by its words: complement naive Bayes, simple enough to be believed."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from fast_sae.chat.examples import Example


class Recogniser:
    """The label for which Σ_w −log P(w | not label) is largest, over the terms w of a text, each counted once.

    Equation: P(w | not label) = (1 + texts of other labels that have w) / Σ over all terms of the same. Terms are
    lower-case words and pairs of neighbouring words. Source: complement naive Bayes (Rennie, Shih, Teevan & Karger
    2003, section 3.1, without its weights): what is not of a label is many texts where what is of it may be few.
    """

    def __init__(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """Count the terms of labelled texts; at least one."""
        self.labels = sorted(set(labels))
        bags = [{*_terms(text)} for text in texts]
        self._column = {term: i for i, term in enumerate(sorted(set().union(*bags)))}
        counts = np.zeros((len(self.labels), len(self._column)))
        for bag, label in zip(bags, labels, strict=True):
            counts[self.labels.index(label), [self._column[term] for term in bag]] += 1
        others = counts.sum(0) - counts + 1
        self._evidence = -np.log(others / others.sum(1, keepdims=True))

    @classmethod
    def fit(cls, examples: Sequence[Example]) -> "Recogniser | None":
        """Learn from the labelled ones of some examples; None if fewer than two labels are met."""
        labelled = [(text_of(example), example.label) for example in examples if example.label is not None]
        if len({label for _, label in labelled}) < 2:
            return None
        return cls([text for text, _ in labelled], [label for _, label in labelled])

    def predict(self, text: str) -> str:
        """Name the likeliest label, the first of equally likely ones; unknown terms are left out."""
        known = sorted(self._column[term] for term in {*_terms(text)} if term in self._column)
        return self.labels[int(np.argmax(np.round(self._evidence[:, known].sum(1), 9)))]

    def accuracy(self, examples: Sequence[Example]) -> float:
        """Return the share of the labelled examples whose label is named, in [0, 1]; NaN without any."""
        named = [self.predict(text_of(example)) == example.label for example in examples if example.label is not None]
        return float(np.mean(named)) if named else float("nan")


def text_of(example: Example) -> str:
    """Put all that an example says into one text."""
    return "\n".join(message["content"] for message in example.messages)


def _terms(text: str) -> Iterator[str]:
    """Yield words, then pairs of words.

    >>> list(_terms("Let it go; it's gone."))
    ['let', 'it', 'go', "it's", 'gone', 'let it', 'it go', "go it's", "it's gone"]
    """
    words = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text.lower())
    yield from words
    yield from (f"{one} {two}" for one, two in pairwise(words))
