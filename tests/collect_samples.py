"""Splits whose latents stand in a table, read as collect_features reads them, and what a plain loop finds there."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from annotation_samples import identity_sae
from samples import MODEL, ArraySource, array_source, params, row_arrays, rows_of, runtime

from fast_sae.activations.held import Held
from fast_sae.activations.live.identity import identify
from fast_sae.activations.settings import ModelSettings
from fast_sae.chat.kinds import Kind
from fast_sae.chat.splits import Split
from fast_sae.features.collect import Collected, collect_features
from fast_sae.features.encoded import Encoded, Encoder
from fast_sae.features.features import write_features
from fast_sae.features.settings import FeaturesSettings
from fast_sae.features.store import FeatureStore
from fast_sae.params import parse_section

TRAINED = tuple(int(kind) for kind in Kind if kind != Kind.BEGIN_OF_TEXT)
BATCH_ROWS = [1, 7, 1000]


def features_settings(**overrides: object) -> FeaturesSettings:
    """A `features` section that keeps little of much."""
    section = {
        "window_tokens": 3,
        "top_windows": 2,
        "sampled_windows": 10,
        "silent_windows": 4,
        "pooled_examples": 1000,
        "listed_tokens": 5,
        "min_token_count": 1,
        "logit_tokens": 0,
        "neighbours": 3,
        "cofiring_rows": 100_000,
        "listed_labels": 5,
        "seed": 0,
    } | overrides
    return FeaturesSettings.model_validate(section)


def split_source(
    latents: np.ndarray | Sequence,
    lengths: Sequence[int],
    kinds: Sequence[int] | None = None,
    token_ids: Sequence[int] | None = None,
) -> ArraySource:
    """Examples of these lengths, whose activations are the latents themselves (read by `identity_sae`)."""
    latents = np.asarray(latents, np.float64)
    arrays = row_arrays(latents, lengths, kinds)
    if token_ids is not None:
        arrays["token_id"] = np.array(token_ids, np.int32)
    return dataclasses.replace(array_source(latents, lengths, kinds), rows=rows_of(arrays))


def encoded(
    latents: np.ndarray | Sequence,
    lengths: Sequence[int],
    kinds: Sequence[int] | None = None,
    token_ids: Sequence[int] | None = None,
    *,
    window_tokens: int = 3,
    batch_rows: int = 1000,
    trained: tuple[int, ...] = TRAINED,
) -> list[Encoded]:
    """The split in batches."""
    source = split_source(latents, lengths, kinds, token_ids)
    return [*Encoder(identity_sae(source.d_in), trained, window_tokens, batch_rows).batches(source)]


def random_lengths(examples: int, longest: int = 9, seed: int = 0) -> list[int]:
    """Lengths of examples, 1 at least."""
    return np.random.default_rng(seed).integers(1, longest + 1, examples).tolist()


def random_latents(rows: int, M: int, share: float = 0.2, seed: int = 0) -> np.ndarray:
    """Latents above 0 on a share of the rows, of so few values (quarters up to 2) that many are equal."""
    random = np.random.default_rng(seed)
    return random.integers(1, 9, (rows, M)) / 4 * (random.random((rows, M)) < share)


def window_rows(lengths: Sequence[int], window_tokens: int) -> list[range]:
    """The rows of each window of a split."""
    starts = np.cumsum([0, *lengths])[:-1].tolist()
    return [
        range(start + at, start + min(at + window_tokens, length))
        for start, length in zip(starts, lengths, strict=True)
        for at in range(0, length, window_tokens)
    ]


def peaks_by(latents: np.ndarray, groups: Sequence[range]) -> np.ndarray:
    """The largest latents in each group of rows; shape (group, M)."""
    return np.array([latents[list(rows)].max(0) for rows in groups])


def held(split: Split, source: ArraySource, labels: Sequence[str | None] | None = None) -> Held:
    """A split whose examples have these labels (none)."""
    n = int(source.rows.example[-1]) + 1
    return Held(split, source, labels or [None] * n)


def collected(validation: Held, test: Held, batch_rows: int = 1000, **overrides: object) -> Collected:
    """What both passes give."""
    settings = features_settings(**overrides)
    encoder = Encoder(identity_sae(validation.source.d_in), TRAINED, settings.window_tokens, batch_rows)
    return collect_features(encoder, validation, test, settings)


RECORD = {"made": "by hand"}


def model_settings(folder: Path = MODEL) -> ModelSettings:
    """The `model` section of a model in a folder."""
    return parse_section(params(**{"model.name": str(folder), "model.files": str(folder)}), "model", ModelSettings)


def written_features(
    folder: Path, validation: Held, test: Held, sae=None, batch_rows: int = 1000, **overrides: object
) -> FeatureStore:
    """Write data/features of sources in memory, said to be of the embedded model, and open it."""
    model = model_settings()
    for part in (validation, test):
        part.source.provenance.model.update(identify(model))
    write_features(
        folder,
        sae or identity_sae(validation.source.d_in),
        validation,
        test,
        features_settings(**overrides),
        record=RECORD,
        sae_sha256="of these weights",
        model=model,
        kinds=TRAINED,
        dtype=torch.float64,
        runtime=runtime(sae_batch_rows=batch_rows),
    )
    return FeatureStore.open(folder, RECORD)
