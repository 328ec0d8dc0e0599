"""The two tables of an annotation: one row per token and active latent, one row per example and active latent."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, Int64
from transformers import PreTrainedTokenizerBase

from fast_sae.annotation.annotator import Annotated
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.chat.pieces import TokenPieces

Decode = Callable[[Int[np.ndarray, " token"]], pa.Array]
"""Gives the text of each token."""


def token_schema(number: pa.DataType) -> pa.Schema:
    """Name the columns of the table by token; `number` is the type of activations."""
    return pa.schema(
        {
            "example": pa.int64(),
            "id": pa.string(),
            "position": pa.int32(),
            "token": pa.string(),
            "token_id": pa.int32(),
            "kind": pa.string(),
            "latent": pa.int32(),
            "activation": number,
        }
    )


def example_schema(number: pa.DataType) -> pa.Schema:
    """Name the columns of the table by example; `number` is the type of activations."""
    return pa.schema(
        {
            "example": pa.int64(),
            "id": pa.string(),
            "latent": pa.int32(),
            "max_activation": number,
            "mean_activation": pa.float64(),
            "tokens_fired": pa.int64(),
            "max_position": pa.int32(),
            "max_token": pa.string(),
        }
    )


def decoder(tokenizer: PreTrainedTokenizerBase) -> Decode:
    """Make a function that gives each token's own text; a part of a character reads as U+FFFD."""
    pieces = TokenPieces(tokenizer)

    def decode(token_ids: Int[np.ndarray, " token"]) -> pa.Array:
        distinct, which = np.unique(token_ids, return_inverse=True)
        texts = [pieces.alone(token) for token in distinct.tolist()]
        return pa.array(texts, pa.string()).take(pa.array(which))

    return decode


def token_table(annotated: Annotated, decode: Decode, top: int | None = None) -> pa.Table:
    """Tell each active latent of each token of any kind, the strongest of a token first.

    Args:
        annotated: Some examples.
        decode: Gives the text of tokens.
        top: Latents kept of one token, the strongest; None for all. Of equals, the lower number is the stronger.
    """
    kept = strongest(annotated.row, annotated.latent, annotated.activation, top)
    row, activation = annotated.row[kept], annotated.activation[kept]
    columns = [
        *_examples(annotated, annotated.example[row]),
        annotated.position[row],
        decode(annotated.token_id[row]),
        annotated.token_id[row],
        pa.array(KIND_NAMES).take(pa.array(annotated.kind[row])),
        annotated.latent[kept],
        activation,
    ]
    return _table(columns, token_schema(pa.from_numpy_dtype(activation.dtype)))


def example_table(annotated: Annotated, decode: Decode, kinds: tuple[int, ...], top: int | None = None) -> pa.Table:
    """Tell each latent that fires on an example, the strongest of an example first.

    Only tokens of the given kinds count here: what fires on the begin-of-text token was never fitted, and what fires on
    the template's words fires in every text. The mean is over all of these tokens, the silent ones as 0; the position
    of the maximum is the first one.

    Args:
        annotated: Some examples.
        decode: Gives the text of tokens.
        kinds: Kinds of tokens that count.
        top: Latents kept of one example, the strongest by their maximum; None for all.
    """
    trained: Bool[np.ndarray, " row"] = np.isin(annotated.kind, kinds)
    counted = trained[annotated.row]
    row, latent, activation = (part[counted] for part in (annotated.row, annotated.latent, annotated.activation))
    example = annotated.example[row].astype(np.int64)
    order = np.lexsort((row, -activation, latent, example))  # the maximum of each example and latent comes first
    firsts = order[_starts(example[order], latent[order])]
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(_starts(example[order], latent[order])) - 1
    sums = np.bincount(group, activation.astype(np.float64), len(firsts))
    fired = np.bincount(group, minlength=len(firsts))
    of_kinds = np.bincount(annotated.example[trained], minlength=len(annotated.incoming))
    kept = strongest(example[firsts], latent[firsts], activation[firsts], top)
    at, peak = firsts[kept], activation[firsts[kept]]
    columns = [
        *_examples(annotated, example[at]),
        latent[at],
        peak,
        sums[kept] / of_kinds[example[at]],
        fired[kept],
        annotated.position[row[at]],
        decode(annotated.token_id[row[at]]),
    ]
    return _table(columns, example_schema(pa.from_numpy_dtype(peak.dtype)))


def strongest(
    group: Int[np.ndarray, " entry"],
    latent: Int[np.ndarray, " entry"],
    activation: Float[np.ndarray, " entry"],
    top: int | None,
) -> Int64[np.ndarray, " kept"]:
    """Order entries by group, then the strongest first, and keep the first `top` of each group.

    >>> strongest(np.array([1, 1, 0]), np.array([7, 8, 9]), np.array([2.0, 3.0, 1.0]), top=1)
    array([2, 1])
    """
    order = np.lexsort((latent, -activation, group))
    if top is None or not len(order):
        return order
    starts = np.flatnonzero(_starts(group[order]))
    lengths = np.diff(starts, append=len(order))
    rank = np.arange(len(order)) - np.repeat(starts, lengths)
    return order[rank < top]


def _starts(*keys: Int[np.ndarray, " entry"]) -> Bool[np.ndarray, " entry"]:
    """Mark the entries that differ from the one before in some key.

    >>> _starts(np.array([3, 3, 4]), np.array([1, 2, 2]))
    array([ True,  True,  True])
    """
    differs = np.ones(len(keys[0]), bool)
    differs[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return differs


def _examples(annotated: Annotated, index: Int[np.ndarray, " entry"]) -> tuple[pa.Array, pa.Array]:
    """Return the number and id of the example of each entry."""
    which = pa.array(index)
    numbers = pa.array([one.number for one in annotated.incoming], pa.int64())
    ids = pa.array([one.id for one in annotated.incoming], pa.string())
    return numbers.take(which), ids.take(which)


def _table(columns: list, schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
