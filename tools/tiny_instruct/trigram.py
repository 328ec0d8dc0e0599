"""The model to beat: an interpolated Kneser-Ney trigram over the same tokens."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence


class Trigram:
    """Interpolated Kneser-Ney of order 3 with one discount (Kneser & Ney 1995; Chen & Goodman 1999, section 4.1.6).

        P(w | u v) = max(c(u v w) − D, 0) / c(u v) + D · N(u v ·) / c(u v) · P(w | v)

    and P(w | v) likewise with the number of different words before v w in place of its count; P(w) by the number of
    different words before w, with a share for words never seen.
    """

    def __init__(self, sequences: Iterable[Sequence[int]], vocab_size: int, discount: float = 0.75) -> None:
        """Count; each sequence stands alone, and its first token is only a context."""
        self._discount, self._vocab_size = discount, vocab_size
        trigrams = Counter(gram for ids in sequences for gram in zip([-1, *ids], ids, ids[1:], strict=False))
        bigrams = Counter((v, w) for _, v, w in trigrams)  # a count of the different words before
        words = Counter(w for _, w in bigrams)
        self._three, self._two, self._one = _Contexts(trigrams), _Contexts(bigrams), words
        self._n_bigrams = len(bigrams)

    def nats(self, ids: Sequence[int]) -> list[float]:
        """Return −log P of every token but the first, given the two before it."""
        return [-math.log(self._p(*gram)) for gram in zip([-1, *ids], ids, ids[1:], strict=False)]

    def _p(self, u: int, v: int, w: int) -> float:
        return self._three.p((u, v), (u, v, w), self._discount, self._p_two(v, w))

    def _p_two(self, v: int, w: int) -> float:
        return self._two.p((v,), (v, w), self._discount, self._p_one(w))

    def _p_one(self, w: int) -> float:
        kept = max(self._one[w] - self._discount, 0) / self._n_bigrams
        return kept + self._discount * len(self._one) / self._n_bigrams / self._vocab_size


class _Contexts:
    """Counts of n-grams, and by context their sum and number."""

    def __init__(self, counts: Counter[tuple[int, ...]]) -> None:
        self._counts = counts
        self._total: defaultdict[tuple[int, ...], int] = defaultdict(int)
        self._kinds: defaultdict[tuple[int, ...], int] = defaultdict(int)
        for gram, count in counts.items():
            self._total[gram[:-1]] += count
            self._kinds[gram[:-1]] += 1

    def p(self, context: tuple[int, ...], gram: tuple[int, ...], discount: float, shorter: float) -> float:
        """Interpolate with the probability given a shorter context."""
        if context not in self._total:
            return shorter
        kept = max(self._counts[gram] - discount, 0)
        return (kept + discount * self._kinds[context] * shorter) / self._total[context]
