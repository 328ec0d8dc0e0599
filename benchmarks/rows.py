"""The rows that every library trains on, in the shards of `extract_activations`: made once, kept in .scratch/bench.

`texts`: a language model's activations on real texts. `mixture`: a seeded low-rank mixture of wide rows, so that wide
SAEs need no large model. Both hold a train and a validation split of the same distribution.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fast_sae.activations.extract import extract_activations
from fast_sae.activations.live.model import load_tokenizer
from fast_sae.activations.settings import STAGE, ExtractSettings, ModelSettings
from fast_sae.activations.shards import write_npz
from fast_sae.activations.split import open_folder
from fast_sae.activations.stored.source import StoredActivations
from fast_sae.artifacts import file_sha256, read_manifest, write_manifest
from fast_sae.chat.examples import Example
from fast_sae.chat.kinds import Kind
from fast_sae.chat.prepared import write_prepared
from fast_sae.chat.splits import Split
from fast_sae.errors import DataError
from fast_sae.params import Section, load_params, parse_section
from fast_sae.runtime import RuntimeSettings

PLACE = Path(".scratch/bench")
LAYER = 4
"""Of MiniLM's six blocks, as LOG.md and the peers' figures have it."""
_TOKENS: dict[Split, int] = {"validation": 8_700, "train": 209_000}
"""Tokens of texts, so many that no setting runs out of rows when begin-of-text tokens are left out."""
_SHARD_ROWS = 8192


def open_store(store: Path, split: str) -> StoredActivations:
    """Open a split that this module has written."""
    place = store / f"layer_{LAYER}" / split
    return StoredActivations(open_folder(store, LAYER, split, read_manifest(place, STAGE).settings))


def read_texts(path: Path) -> list[str]:
    """Read the field `text` of every line, in an order of their own: data files are often sorted by label."""
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    return [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]


def text_store(path: Path, model: Path) -> Path:
    """Extract the activations of layer 4 of an encoder on as many texts as the settings need.

    Args:
        path: Lines of JSON with a field `text`.
        model: Folder of the model.
    """
    key = hashlib.sha256(f"{file_sha256(path)} {file_sha256(model / 'model.safetensors')}".encode()).hexdigest()[:12]
    store, prepared = PLACE / f"texts-{key}", PLACE / f"texts-{key}-prepared"
    if store.exists():
        return store
    splits = _split(read_texts(path), model)
    prepared.mkdir(parents=True, exist_ok=True)
    write_prepared(splits, [], 0, prepared)
    extract_activations(
        splits, encoder_settings(model), extract_settings(), runtime=runtime(), prepared=prepared, destination=store
    )
    return store


def _split(texts: list[str], model: Path) -> dict[Split, list[Example]]:
    """Take whole texts for each split until it has its tokens.

    Raises:
        DataError: if there are too few.
    """
    tokenizer = load_tokenizer(encoder_settings(model), None)
    splits: dict[Split, list[Example]] = {"test": []}
    left = iter(texts)
    for split, wanted in _TOKENS.items():
        examples, tokens = splits.setdefault(split, []), 0
        while tokens < wanted:
            if (text := next(left, None)) is None:
                raise DataError(f"the texts have fewer than the {sum(_TOKENS.values())} tokens that are needed")
            examples.append(Example(f"{split}-{len(examples)}", ({"role": "user", "content": text},), is_text=True))
            tokens += len(tokenizer(text, truncation=True, max_length=extract_settings().max_length)["input_ids"])
    return splits


def encoder_settings(model: Path) -> ModelSettings:
    """Return the `model` section of a local encoder in float32."""
    return ModelSettings(name=str(model), files=str(model), revision=None, dtype="float32")


def extract_settings(dtype: str = "float16") -> ExtractSettings:
    """Return params.yaml's `extract` section for bare texts and layer 4."""
    values = {"layers": [LAYER], "template": "none", "store": ["train", "validation"], "dtype": dtype}
    return parse_section(changed(load_params(), "extract", values), "extract", ExtractSettings)


def changed(params: Section, name: str, values: Section) -> Section:
    """Return one section of params.yaml, with some values changed."""
    return {name: {**cast(Section, params[name]), **values}}


def runtime() -> RuntimeSettings:
    """Return params.yaml's `runtime` section."""
    return parse_section(load_params(), "runtime", RuntimeSettings)


@dataclass(frozen=True)
class Mixture:
    """x = μ_c + Σ_{j∈A} a_j u_j + Σ_k k^(−1/2) z_k v_k / √8, rounded to float16 as activations are stored.

    c is one of 64 clusters, drawn with weights 1/(c + 1); μ_c = 4 e + V g_c, where e is one direction of norm 1 for all
    (so the mean is not zero) and g_c is normal in the low-rank space. A are 16 of 1,024 directions u_j of norm 1, drawn
    with weights 1/(j + 8) (a direction drawn twice counts twice); a_j is exponential of mean 1, plus 0.5. v_k are the
    128 nearly orthogonal columns of V, of norm 1, z_k is normal: noise of decaying spectrum. All directions are random.
    """

    d_in: int
    seed: int = 0
    directions: int = 1024
    active: int = 16
    rank: int = 128
    clusters: int = 64

    def rows(self, n: int, seed: int) -> Iterator[Float[Tensor, "row d_in"]]:
        """Yield n rows, a shard at a time.

        Args:
            n: How many.
            seed: Of the rows; the mixture is the same for all seeds.
        """
        world, draws = (torch.Generator().manual_seed(number) for number in (self.seed, 1000 + seed))
        u = _unit(torch.randn(self.directions, self.d_in, generator=world))
        v = _unit(torch.randn(self.rank, self.d_in, generator=world))
        means = 4 * _unit(torch.randn(1, self.d_in, generator=world))
        means = means + torch.randn(self.clusters, self.rank, generator=world) @ v / 4
        spectrum = torch.arange(1, self.rank + 1).rsqrt() / 8**0.5
        frequency, weight = 1 / (torch.arange(self.directions) + 8), 1 / (torch.arange(self.clusters) + 1)
        for at in range(0, n, _SHARD_ROWS):
            size = min(_SHARD_ROWS, n - at)
            which = torch.multinomial(frequency.expand(size, -1), self.active, replacement=True, generator=draws)
            strength = 0.5 + torch.empty(size, self.active).exponential_(generator=draws)
            x = torch.nn.functional.embedding_bag(which, u, mode="sum", per_sample_weights=strength)
            x += means[torch.multinomial(weight, size, replacement=True, generator=draws)]
            yield x + (torch.randn(size, self.rank, generator=draws) * spectrum) @ v


def mixture_store(d_in: int, rows: int, held_out: int) -> Path:
    """Write rows of the mixture and as many held out as are wanted.

    Args:
        d_in: Width of a row.
        rows: Rows of train.
        held_out: Rows of validation.
    """
    store = PLACE / f"mixture-{d_in}-{rows}-{held_out}"
    if not store.exists():
        part = store.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        for seed, (split, n) in enumerate({"train": rows, "validation": held_out}.items()):
            _write_split(part / f"layer_{LAYER}" / split, Mixture(d_in).rows(n, seed), d_in)
        part.rename(store)
    return store


def _write_split(folder: Path, portions: Iterator[Float[Tensor, "row d_in"]], d_in: int) -> None:
    shards = []
    for number, rows in enumerate(portions):
        name, n = f"shard-{number:05d}.npz", len(rows)
        of_rows = {"example": np.arange(n, dtype=np.int32), "position": np.zeros(n, np.int32)}
        of_rows |= {"token_id": np.zeros(n, np.int32), "kind": np.full(n, Kind.CONTENT, np.uint8)}
        write_npz(folder / name, {"activations": rows.half().numpy()} | of_rows)
        shards.append({"file": name, "rows": n})
    facts = {"d_in": d_in, "shared_prefix": 0, "prepared_sha256": "", "stored": True, "shards": shards}
    write_manifest(folder, STAGE, {}, facts | {"commit": None, "model_sha256": None})


def _unit(directions: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_in"]:
    return directions / directions.norm(dim=1, keepdim=True)
