"""The shards of one split on disk: what its tokens are and, where they are kept, their activations; and its manifest.

Batches never cross a shard, nor do blocks, so that resuming changes nothing. Memory: one shard per layer.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fast_sae.activations.live.batches import example_lengths, pass_lengths
from fast_sae.activations.live.extractor import Extractor
from fast_sae.activations.plan import plan_shards
from fast_sae.activations.scratch import Scratch
from fast_sae.activations.settings import STAGE
from fast_sae.activations.shards import write_npz
from fast_sae.artifacts import Json, file_sha256, write_manifest
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.chat.render import Rendered
from fast_sae.chat.splits import Split
from fast_sae.progress import progress_bar

VERSIONS = ("torch", "transformers", "tokenizers")
"""Packages whose version belongs to the record of activations."""


@dataclass(frozen=True)
class RenderedSplit:
    """The examples of a split as tokens."""

    name: Split
    rendered: Sequence[Rendered]
    ids: Sequence[str]
    """Their names."""


def write_split(split: RenderedSplit, extractor: Extractor, scratch: Scratch) -> list[Json]:
    """Write the shards of one split for every layer into the scratch folder, and describe them.

    Args:
        split: The examples.
        extractor: The model, and the settings that say how the split is fed and whether its activations are kept.
        scratch: Where the shards wait until all are there; whole ones of an earlier, killed run are kept.
    """
    lengths = [len(example.token_ids) for example in split.rendered]
    shards = plan_shards(lengths, extractor.settings.shard_rows)
    with progress_bar(f"extract {split.name}", "token", sum(lengths)) as progress:
        for number, examples in enumerate(shards):
            folders = {n: scratch.path / f"layer_{n}" / split.name for n in extractor.model.layers}
            paths = {n: folder / shard_name(number) for n, folder in folders.items()}
            if not all(path.exists() for path in paths.values()):
                facts = row_facts(split.rendered, examples)
                kept = _activations(split.name, facts, extractor, progress.update)
                for layer, path in paths.items():
                    ids = np.array([split.ids[i] for i in examples])
                    write_npz(path, kept[layer] | facts | {"example_ids": ids})
            else:
                progress.update(sum(lengths[i] for i in examples))
    return [
        {"file": shard_name(number), "rows": sum(lengths[i] for i in examples), "examples": len(examples)}
        for number, examples in enumerate(shards)
    ]


def _activations(
    split: str, facts: Mapping[str, np.ndarray], extractor: Extractor, done: Callable[[int], object]
) -> dict[int, dict[str, np.ndarray]]:
    """Compute the activations of one shard for every layer; none if they are not kept."""
    tokens, settings = facts["token_id"], extractor.settings
    if split not in settings.store:
        done(len(tokens))
        return {layer: {} for layer in extractor.model.layers}
    lengths = pass_lengths(example_lengths(facts["position"]), settings.block_of(split))
    computed = extractor.compute(np.split(tokens, np.cumsum(lengths)[:-1]), done)
    return {layer: {"activations": rows} for layer, rows in computed.items()}


def shard_name(number: int) -> str:
    """Name a shard file."""
    return f"shard-{number:05d}.npz"


def row_facts(rendered: Sequence[Rendered], examples: range) -> dict[str, np.ndarray]:
    """Return what each row of a shard is: example (its number in `rendered`), position, token_id and kind."""
    lengths = [len(rendered[i].token_ids) for i in examples]
    return {
        "example": np.repeat(np.array(examples, np.int32), lengths),
        "position": np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
        "token_id": np.concatenate([rendered[i].token_ids for i in examples]),
        "kind": np.concatenate([rendered[i].kinds for i in examples]),
    }


def write_manifests(folder: Path, split: RenderedSplit, shards: Sequence[Json], *, settings: Json, facts: Json) -> None:
    """Describe one split in the folder of every layer: settings, counts, and each shard with its digest."""
    tokens = Counter(int(kind) for example in split.rendered for kind in example.kinds)
    for layer_folder in sorted(folder.glob("layer_*")):
        place = layer_folder / split.name
        write_manifest(
            place,
            STAGE,
            settings,
            {
                **facts,
                "layer": int(layer_folder.name.removeprefix("layer_")),
                "split": split.name,
                "examples": len(split.rendered),
                "truncated_examples": sum(example.truncated for example in split.rendered),
                "rows": sum(tokens.values()),
                "rows_by_kind": {KIND_NAMES[kind]: n for kind, n in sorted(tokens.items())},
                "shards": [{**shard, "sha256": file_sha256(place / str(shard["file"]))} for shard in shards],
            },
            versions=VERSIONS,
        )
