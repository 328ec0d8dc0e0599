"""FAST extraction, whole: render, plan, compute shard by shard, describe, and put in place."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from fast_sae.activations.extractor import Extractor
from fast_sae.activations.hub import resolve_commit
from fast_sae.activations.model import TruncatedModel, load_model, load_tokenizer
from fast_sae.activations.plan import Plan, measure_speed
from fast_sae.activations.scratch import open_scratch
from fast_sae.activations.settings import STAGE, ExtractSettings, ModelSettings, activation_record
from fast_sae.artifacts import Json, file_sha256, write_manifest
from fast_sae.chat.examples import Example
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.chat.prepared import split_path
from fast_sae.chat.render import Rendered, Renderer, shared_prefix
from fast_sae.chat.splits import Split
from fast_sae.errors import ModelError
from fast_sae.progress import say, with_progress
from fast_sae.runtime import RuntimeSettings

_NAMED = 20  # examples named in one error
VERSIONS = ("torch", "transformers", "tokenizers")
"""Packages whose version belongs to the record of activations."""


def extract_activations(
    examples: Mapping[Split, Sequence[Example]],
    model_settings: ModelSettings,
    settings: ExtractSettings,
    *,
    runtime: RuntimeSettings,
    prepared: Path,
    destination: Path,
) -> None:
    """Write `layer_N/<split>/shard-00000.npz …` with a manifest each, whole or not at all.

    Args:
        examples: The examples of every split.
        model_settings: The `model` section.
        settings: The `extract` section.
        runtime: The `runtime` section; it decides no byte but the record of itself.
        prepared: Where the examples were read: a killed run is taken up again only on the same ones.
        destination: Folder that takes the layers, replaced.
    """
    commit = resolve_commit(model_settings)
    tokenizer = load_tokenizer(model_settings, commit)
    rendered = render_examples(examples, tokenizer, settings)
    everything = [example for part in rendered.values() for example in part]
    model = load_model(model_settings, commit, settings.layers, runtime.torch_device())
    record = activation_record(model_settings, settings)
    with open_scratch(STAGE, _identity(record, settings, commit), _inputs(prepared, model_settings)) as scratch:
        itemsize = np.dtype(settings.dtype).itemsize
        plan = Plan.of(everything, layers=len(settings.layers), d_in=model.d_in, itemsize=itemsize)
        plan.require_disk(scratch.path)
        say(plan.tell(measure_speed(model, everything)))
        facts = {"commit": commit, **_facts(model, everything)}
        extractor = Extractor.of(model, tokenizer, settings, runtime.extract_batch_tokens)
        for split, part in rendered.items():
            shards = extractor.extract(part, [example.id for example in examples[split]], split, scratch)
            of_split = {**facts, "prepared_sha256": file_sha256(split_path(prepared, split))}
            write_manifests(scratch.path, split, part, shards, settings=record, facts=of_split)
        scratch.hand_over(destination)


def _identity(record: Json, settings: ExtractSettings, commit: str | None) -> Json:
    versions = {name: version(name) for name in VERSIONS}
    return {**record, "layers": settings.layers, "commit": commit, "versions": versions}


def _inputs(prepared: Path, model: ModelSettings) -> list[Path]:
    """List the files that decide the shards: data, a local model, and the code of this room and the one below."""
    room = Path(__file__).parent
    folders = [prepared, room, room.parent / "chat", *([Path(model.name)] if model.is_local else [])]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]


def make_renderer(tokenizer: PreTrainedTokenizerBase, settings: ExtractSettings) -> Renderer:
    """Make the renderer that the settings describe."""
    return Renderer(
        tokenizer,
        use_template=settings.template == "chat",
        template_kwargs=settings.template_kwargs,
        template_date=date.fromisoformat(settings.template_date),
        max_length=settings.max_length,
    )


def render_examples(
    examples: Mapping[Split, Sequence[Example]], tokenizer: PreTrainedTokenizerBase, settings: ExtractSettings
) -> dict[Split, list[Rendered]]:
    """Turn the examples of every split into tokens."""
    renderer = make_renderer(tokenizer, settings)
    refused: list[str] = []
    rendered: dict[Split, list[Rendered]] = {split: [] for split in examples}
    for split, part in examples.items():
        for example in with_progress(part, f"render {split}", "example"):
            try:
                rendered[split].append(renderer.render(example))
            except ModelError as error:
                refused.append(str(error))
    if refused:
        more = f"; and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        raise ModelError(f"{len(refused)} examples cannot be rendered: {'; '.join(refused[:_NAMED])}{more}")
    return rendered


def _facts(model: TruncatedModel, rendered: Sequence[Rendered]) -> Json:
    causal = model.is_causal()
    return {
        "d_in": model.d_in,
        "model_class": type(model.model).__name__,
        "causal": causal,
        "shared_prefix": shared_prefix(rendered) if causal else 0,
        "device": model.model.device.type,
    }


def write_manifests(
    folder: Path, split: Split, rendered: Sequence[Rendered], shards: Sequence[Json], *, settings: Json, facts: Json
) -> None:
    """Describe one split in the folder of every layer: settings, counts, and each shard with its digest."""
    tokens = Counter(int(kind) for example in rendered for kind in example.kinds)
    for layer_folder in sorted(folder.glob("layer_*")):
        place = layer_folder / split
        write_manifest(
            place,
            STAGE,
            settings,
            {
                **facts,
                "layer": int(layer_folder.name.removeprefix("layer_")),
                "split": split,
                "examples": len(rendered),
                "truncated_examples": sum(example.truncated for example in rendered),
                "rows": sum(tokens.values()),
                "rows_by_kind": {KIND_NAMES[kind]: n for kind, n in sorted(tokens.items())},
                "shards": [{**shard, "sha256": file_sha256(place / str(shard["file"]))} for shard in shards],
            },
            versions=VERSIONS,
        )
