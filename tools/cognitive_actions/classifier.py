"""A bag-of-words classifier of actions, simple enough to be believed: multinomial naive Bayes."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np


def words(text: str) -> list[str]:
    """Split a text into lower-case words.

    >>> words("I let {it} go; it's gone.")
    ['i', 'let', 'it', 'go', "it's", 'gone']
    """
    return re.findall(r"[a-z]+(?:['’-][a-z]+)*", text.lower())


class BagOfWords:
    """log P(action | text) = log P(action) + Σ_w count(w) · log P(w | action), with one count added to each word."""

    def __init__(self, texts: Sequence[str], actions: Sequence[str]) -> None:
        """Count the words of labelled texts."""
        self.actions = sorted(set(actions))
        bags = [Counter(words(text)) for text in texts]
        self._column = {word: i for i, word in enumerate(sorted(set().union(*bags)))}
        counts = np.ones((len(self.actions), len(self._column)))
        for bag, action in zip(bags, actions, strict=True):
            for word, count in bag.items():
                counts[self.actions.index(action), self._column[word]] += count
        prior = np.array([actions.count(action) for action in self.actions], dtype=float)
        self._log_prior = np.log(prior / prior.sum())
        self._log_likelihood = np.log(counts / counts.sum(1, keepdims=True))

    def predict(self, text: str) -> str:
        """Name the likeliest action; unknown words are left out."""
        known = [self._column[word] for word in words(text) if word in self._column]
        return self.actions[int(np.argmax(self._log_prior + self._log_likelihood[:, known].sum(1)))]

    def accuracy(self, texts: Sequence[str], actions: Sequence[str]) -> float:
        """Return the share of texts whose action is named, in [0, 1]."""
        return float(np.mean([self.predict(t) == a for t, a in zip(texts, actions, strict=True)]))
