"""A small data/features written by hand: three latents over short texts, whose every number can be checked by eye.

Latent 0 fires on the word " pearl", 1 on texts labelled "counting", 2 on the first token behind the user's header; 3 is
dead. Every example is one window.
"""

from pathlib import Path

import numpy as np

from fast_sae.artifacts import write_manifest
from fast_sae.chat.kinds import KIND_NAMES, Kind
from fast_sae.chat.splits import Split
from fast_sae.features.store import FeatureStore
from fast_sae.features.tables import STAGE, from_rows, write_features_table

LABELS = ("counting", "waiting")
RECORD = {"train": {"kinds": [*KIND_NAMES[1:]]}, "features": {"window_tokens": 64}}
WORDS = ("pearl", "stone", "river", "cloud", "ember")
HEADER = ("<|start|>", "user", "<|end|>")
N_EXAMPLES = 60
M = 4


def example_tokens(index: int) -> tuple[list[str], list[int], str]:
    """Return the tokens, kinds and label of one example: a header, four words, an end."""
    words = [WORDS[(index * step + step) % len(WORDS)] for step in (1, 2, 3)]
    label = LABELS[index % 2]
    content = ["The", *(f" {word}" for word in words)]
    tokens = [*HEADER, *content, "<|eot|>"]
    kinds = [Kind.SCAFFOLD, Kind.ROLE_NAME, Kind.SCAFFOLD, *[Kind.CONTENT] * 4, Kind.END_OF_TURN]
    return tokens, [int(kind) for kind in kinds], label


def example_activations(index: int) -> np.ndarray:
    """Return what each latent does at each token; shape (token, M)."""
    tokens, _, label = example_tokens(index)
    found = np.zeros((len(tokens), M))
    for at, word in enumerate(tokens):
        found[at, 0] = (1 + index / N_EXAMPLES) * (word == " pearl")
    found[5, 1] = (2 + index / N_EXAMPLES) * (label == "counting")
    found[3, 2] = 3 + index / N_EXAMPLES
    return found


def make_store(folder: Path) -> FeatureStore:
    """Write the folder and open it."""
    folder.mkdir(parents=True, exist_ok=True)
    texts, windows, pooled, examples = [], [], [], []
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        offset = len(texts)
        for i in range(N_EXAMPLES):
            tokens, kinds, label = example_tokens(i)
            examples.append((split, i, label))
            texts.append((offset + i, split, i, 0, label, list(range(len(tokens))), tokens, kinds))
            for latent in range(M):
                strength = example_activations(i)[:, latent].max()
                if strength > 0:
                    pooled.append((split, i, latent, strength))
        for latent in range(3):
            windows += _windows_of(latent, split, offset)
    _write(folder, "texts", texts)
    _write(folder, "windows", windows)
    _write(folder, "pooled", pooled)
    _write(folder, "examples", examples)
    rates = [0.1] * 6
    shape = [1.0] * 7
    of_kind = [0.0, 0.0, 0.0, 1.0, 0.0]
    latents = [
        (k, *rates, *shape, *of_kind, *best)
        for k, best in enumerate([(None, None, None), ("counting", 1.0, 1.0), (None, None, None)])
    ]
    _write(folder, "latents", latents)
    labels = [(1, 1, "counting", 1.0, 1.0), (1, 2, "waiting", 0.0, 0.0)]
    _write(folder, "labels", labels)
    for name in ("histograms", "tokens", "logit_lens", "neighbours"):
        _write(folder, name, [])
    counts = {"examples": N_EXAMPLES, "windows": N_EXAMPLES, "tokens": N_EXAMPLES * 8}
    write_manifest(folder, STAGE, RECORD, {"M": M, "validation": counts, "test": counts})
    return FeatureStore.open(folder, RECORD)


def _windows_of(latent: int, split: Split, offset: int) -> list[tuple]:
    peaks = np.array([example_activations(i)[:, latent].max() for i in range(N_EXAMPLES)])
    firing = [int(i) for i in np.argsort(-peaks, kind="stable") if peaks[i] > 0]
    silent = [i for i in range(N_EXAMPLES) if peaks[i] == 0]
    rows = []
    for rank, i in enumerate(firing, 1):
        acts = example_activations(i)[:, latent].tolist()
        decile = 10 - (rank - 1) * 10 // len(firing)
        rows.append((latent, split, "firing", rank, decile, 1.0, offset + i, peaks[i], acts))
        if rank <= 5:
            rows.append((latent, split, "top", rank, 0, 0.0, offset + i, peaks[i], acts))
    rows += [(latent, split, "silent", rank, 0, 1.0, offset + i, 0.0, []) for rank, i in enumerate(silent, 1)]
    return rows


def _write(folder: Path, name: str, rows: list[tuple]) -> None:
    write_features_table(folder, name, [from_rows(name, rows)])
