"""Which sequences go through the language model together, and how they share the rows of a batch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Int32

T = TypeVar("T")
MAX_PADDING = 0.1
"""Largest share of padding among the tokens of a batch."""
Row = list[int]
"""The sequences of one row of a batch, by their numbers."""


def example_lengths(position: Int32[np.ndarray, " row"]) -> list[int]:
    """Count the tokens of each example of a shard by their positions, which start at 0."""
    return np.diff(np.flatnonzero(position == 0), append=len(position)).tolist()


def pass_lengths(examples: Sequence[int], block_size: int | None) -> list[int]:
    """Cut the tokens of a shard, in order, into what is fed as one sequence, and return the length of each.

    Args:
        examples: Tokens of each example.
        block_size: Tokens in one block of concatenated examples, the last one shorter; None: each example alone.

    >>> pass_lengths([2, 3], None), pass_lengths([2, 3], block_size=4)
    ([2, 3], [4, 1])
    """
    if block_size is None:
        return [*examples]
    whole, rest = divmod(sum(examples), block_size)
    return [block_size] * whole + [rest] * (rest > 0)


def plan_batches(sequences: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> Iterator[list[Row]]:
    """Group sequences by length, the longest first, one a row, so that little is padding.

    A batch holds at most `batch_tokens` tokens, padding included, but always one sequence; it ends early where the
    next, shorter sequence would make more than `MAX_PADDING` of it padding.

    >>> list(plan_batches([0, 1, 2, 3], [2, 4, 4, 1], batch_tokens=8))
    [[[1], [2]], [[0]], [[3]]]
    """
    return _cut([[i] for i in _longest_first(sequences, lengths)], lengths, batch_tokens)


def plan_packed(sequences: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> Iterator[list[Row]]:
    """Put sequences into rows as long as the longest of them, the longest first, each where it first fits.

    Batches are cut from these rows as `plan_batches` cuts them.

    Source: first-fit decreasing, which fills at most 11/9 of the fewest rows and one (Johnson 1973).

    >>> list(plan_packed([0, 1, 2, 3], [1, 4, 3, 1], batch_tokens=8))
    [[[1], [2, 0]], [[3]]]
    """
    rows: list[Row] = []
    room: list[int] = []
    longest = max((lengths[i] for i in sequences), default=0)
    for i in _longest_first(sequences, lengths):
        at = next((n for n, left in enumerate(room) if left >= lengths[i]), len(rows))
        if at == len(rows):
            rows.append([])
            room.append(longest)
        rows[at].append(i)
        room[at] -= lengths[i]
    return _cut(rows, lengths, batch_tokens)


def _longest_first(sequences: Sequence[int], lengths: Sequence[int]) -> list[int]:
    return sorted(sequences, key=lambda i: -lengths[i])


def _cut(rows: Sequence[Row], lengths: Sequence[int], batch_tokens: int) -> Iterator[list[Row]]:
    """Cut rows into batches, the fullest rows first."""
    widths = [sum(lengths[i] for i in row) for row in rows]
    batch: list[int] = []
    filled = 0
    for i in _longest_first(range(len(rows)), widths):
        padded = (len(batch) + 1) * widths[(batch or [i])[0]]
        if batch and (padded > batch_tokens or filled + widths[i] < (1 - MAX_PADDING) * padded):
            yield [rows[n] for n in batch]
            batch, filled = [], 0
        batch.append(i)
        filled += widths[i]
    if batch:
        yield [rows[n] for n in batch]


def cut_portions(items: Iterable[T], length: Callable[[T], int], tokens: int) -> Iterator[list[T]]:
    """Cut a stream into portions that each end with the item that fills them; one portion is in memory at a time.

    >>> list(cut_portions([3, 3, 3, 1], int, tokens=5))
    [[3, 3], [3, 1]]
    """
    portion: list[T] = []
    found = 0
    for item in items:
        portion.append(item)
        found += length(item)
        if found >= tokens:
            yield portion
            portion, found = [], 0
    if portion:
        yield portion
