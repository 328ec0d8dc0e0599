"""The shards of one split on disk: what its tokens are and, where they are kept, their activations; and its manifest.

Batches never cross a shard, nor do blocks, so that resuming changes nothing. One thread writes a shard while the next
is computed. Memory: one shard per layer, and of the next what is computed before that is written; never more than two.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
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

_STREAM_SEED = 0
"""Fixed: in which order chats are concatenated is part of what `extract.packing: block` means."""
VERSIONS = ("torch", "transformers", "tokenizers")
"""Packages whose version belongs to the record of activations."""


@dataclass(frozen=True)
class RenderedSplit:
    """The examples of a split as tokens."""

    name: Split
    rendered: Sequence[Rendered]
    ids: Sequence[str]
    """Their names."""
    numbers: Sequence[int]
    """Their places in data/prepared."""

    @classmethod
    def of(cls, name: Split, rendered: Sequence[Rendered], ids: Sequence[str], *, shuffled: bool) -> "RenderedSplit":
        """Take the examples in the order of data/prepared, or shuffled: blocks are cut from a stream of random chats.

        A file that is sorted by label would else give blocks of one label each, always with the same neighbours.
        """
        n = len(rendered)
        order = np.random.default_rng(_STREAM_SEED).permutation(n).tolist() if shuffled else range(n)
        return cls(name, [rendered[i] for i in order], [ids[i] for i in order], order)


def write_split(split: RenderedSplit, extractor: Extractor, scratch: Scratch) -> list[Json]:
    """Write the shards of one split for every layer into the scratch folder, and describe them.

    Args:
        split: The examples.
        extractor: The model, and the settings that say how the split is fed and whether its activations are kept.
        scratch: Where the shards wait until all are there; whole ones of an earlier, killed run are kept.
    """
    lengths = [len(example.token_ids) for example in split.rendered]
    shards = plan_shards(lengths, extractor.settings.shard_rows)
    with progress_bar(f"extract {split.name}", "token", sum(lengths)) as progress, _behind() as submit:
        for number, examples in enumerate(shards):
            folders = {n: scratch.path / f"layer_{n}" / split.name for n in extractor.model.layers}
            paths = {n: folder / shard_name(number) for n, folder in folders.items()}
            if not all(path.exists() for path in paths.values()):
                facts = row_facts([split.rendered[i] for i in examples], [split.numbers[i] for i in examples])
                kept = _activations(split.name, facts, extractor, progress.update)
                ids = np.array([split.ids[i] for i in examples])
                submit({path: kept.pop(layer) | facts | {"example_ids": ids} for layer, path in paths.items()})
            else:
                progress.update(sum(lengths[i] for i in examples))
    return [
        {"file": shard_name(number), "rows": sum(lengths[i] for i in examples), "examples": len(examples)}
        for number, examples in enumerate(shards)
    ]


@contextmanager
def _behind() -> Iterator[Callable[[dict[Path, dict[str, np.ndarray]]], None]]:
    """Give a function that has files written behind the caller's back, once those of its last call are whole.

    An error of the writing rises at the next call, or at the end of the block.
    """
    with ThreadPoolExecutor(1) as writer:
        written: list[Future[None]] = []

        def submit(files: dict[Path, dict[str, np.ndarray]]) -> None:
            if written:
                written.pop().result()
            written.append(writer.submit(_write, files))

        yield submit
        if written:
            written.pop().result()


def _write(files: dict[Path, dict[str, np.ndarray]]) -> None:
    """Write shards, and let go of each at once."""
    while files:
        path, arrays = files.popitem()
        write_npz(path, arrays)


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


def row_facts(rendered: Sequence[Rendered], numbers: Sequence[int]) -> dict[str, np.ndarray]:
    """Return what each row of some examples is: example (its number), position, token_id and kind."""
    lengths = [len(example.token_ids) for example in rendered]
    return {
        "example": np.repeat(np.array(numbers, np.int32), lengths),
        "position": np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
        "token_id": np.concatenate([example.token_ids for example in rendered]),
        "kind": np.concatenate([example.kinds for example in rendered]),
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
