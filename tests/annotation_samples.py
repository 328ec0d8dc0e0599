"""Small models, SAEs and files for the tests of the annotation room."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sae_samples import initialised, sae_settings
from samples import MODEL, params, rendered_tokens

from fast_sae.activations.live.extractor import Extractor
from fast_sae.activations.live.model import TruncatedModel
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.annotation.annotator import Annotated
from fast_sae.annotation.incoming import Incoming
from fast_sae.artifacts import write_manifest
from fast_sae.chat.kinds import Kind
from fast_sae.params import parse_section
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.sae.build import build_sae
from fast_sae.sae.checkpoint import save_sae
from fast_sae.training.settings import TrainSettings, training_record


class TableModel(TruncatedModel):
    """A model whose activations stand in a table by token id."""

    def __init__(self, table: torch.Tensor, layer: int = 1) -> None:
        self.layers = (layer,)
        self.table = table
        self.d_in = table.shape[1]

    def hidden_states(self, sequences):
        return {self.layers[0]: [self.table[torch.tensor(ids)] for ids in sequences]}


def extract_settings(**overrides: object) -> ExtractSettings:
    """The `extract` section of params.yaml, stored in float32."""
    return parse_section(
        params(**{f"extract.{k}": v for k, v in ({"dtype": "float32"} | overrides).items()}), "extract", ExtractSettings
    )


def table_extractor(table: Sequence[Sequence[float]], layer: int = 1, shard_rows: int = 65536) -> Extractor:
    """An extractor of the activations in a table."""
    model = TableModel(torch.tensor(table, dtype=torch.float64), layer)
    return Extractor(model, extract_settings(shard_rows=shard_rows), 64)


def identity_sae(M: int = 3, **overrides: object) -> SparseAutoencoder:
    """An SAE in float64 whose pre-activations are the activations themselves."""
    sae = build_sae(M, sae_settings(**({"M": M, "K": M} | overrides))).double()
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(M))
        sae.W_dec.copy_(torch.eye(M))
    return sae


def incoming(*token_ids: Sequence[int], kinds: Sequence[Sequence[int]] | None = None) -> list[Incoming]:
    """Examples of these tokens, all content unless said otherwise."""
    kinds = kinds or [[Kind.CONTENT] * len(ids) for ids in token_ids]
    return [
        Incoming(i, f"example-{i}", rendered_tokens(ids, of))
        for i, (ids, of) in enumerate(zip(token_ids, kinds, strict=True))
    ]


def annotated(lengths: Sequence[int], active: Sequence[tuple[int, int, float]], kinds=None) -> Annotated:
    """Examples of these lengths, with tokens numbered through, and what is active: (row, latent, activation)."""
    n = sum(lengths)
    starts = np.cumsum([0, *lengths])
    row, latent, value = zip(*active, strict=True) if active else ((), (), ())
    return Annotated(
        incoming(*(range(a, b) for a, b in pairwise(starts))),
        example=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        position=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
        token_id=np.arange(n, dtype=np.int32),
        kind=np.array([Kind.CONTENT] * n if kinds is None else kinds, np.uint8),
        row=np.array(row, np.int64),
        latent=np.array(latent, np.int64),
        activation=np.array(value, np.float64),
    )


def save_origin(folder: Path, d_in: int = 96, sections: dict | None = None, **overrides: object) -> Path:
    """Write an SAE of random weights that reads layer 2 of the embedded model, and its manifest."""
    sae = initialised(d_in, **({"layer": 2, "M": 16, "K": 4} | overrides))
    save_sae(sae, folder)
    made = params(**({"model.name": str(MODEL), "model.files": str(MODEL)} | (sections or {})))
    record = training_record(
        parse_section(made, "model", ModelSettings),
        parse_section(made, "extract", ExtractSettings),
        sae.settings,
        parse_section(made, "train", TrainSettings),
    )
    write_manifest(folder, "train_sae", record, {"activations": {}})
    return folder


def lines(path: Path, *records: object) -> Path:
    """Write a JSONL file."""
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    return path
