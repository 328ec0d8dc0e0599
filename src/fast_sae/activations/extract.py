"""FAST extraction, whole: render, plan, compute shard by shard, describe, and put in place."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fast_sae.activations.live.extractor import Extractor
from fast_sae.activations.live.identity import identify
from fast_sae.activations.live.model import TruncatedModel, load_model, load_tokenizer
from fast_sae.activations.plan import Plan, measure_speed
from fast_sae.activations.rendering import render_examples
from fast_sae.activations.scratch import open_scratch
from fast_sae.activations.settings import STAGE, ExtractSettings, ModelSettings, activation_record
from fast_sae.activations.shard_writer import VERSIONS, RenderedSplit, write_manifests, write_split
from fast_sae.artifacts import Json, file_sha256
from fast_sae.chat.examples import Example
from fast_sae.chat.prepared import split_path
from fast_sae.chat.render import Rendered, shared_prefix
from fast_sae.chat.splits import Split
from fast_sae.errors import ModelError
from fast_sae.progress import say
from fast_sae.runtime import RuntimeSettings


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
    identity = identify(model_settings)
    tokenizer = load_tokenizer(model_settings, identity["commit"])
    rendered = render_examples(examples, tokenizer, settings)
    everything = [example for part in rendered.values() for example in part]
    model = load_model(model_settings, identity["commit"], settings.layers, runtime.torch_device())
    extractor = Extractor.of(model, settings, runtime)
    facts = _facts(model, settings)
    record = activation_record(model_settings, settings)
    with open_scratch(STAGE, _identity(record, settings, identity), _inputs(prepared, model_settings)) as scratch:
        plan = _plan(rendered, settings, model.d_in)
        plan.require_disk(scratch.path)
        say(plan.tell(measure_speed(model, everything) if plan.stored else None))
        for split, part in rendered.items():
            ids = [example.id for example in examples[split]]
            named = RenderedSplit.of(split, part, ids, shuffled=settings.block_of(split) is not None)
            shards = write_split(named, extractor, scratch)
            of_split = {
                **identity,
                **facts,
                "prepared_sha256": file_sha256(split_path(prepared, split)),
                "shared_prefix": shared_prefix(everything) if facts["causal"] and not settings.block_of(split) else 0,
                "stored": split in settings.store,
            }
            write_manifests(scratch.path, named, shards, settings=record, facts=of_split)
        scratch.hand_over(destination)


def _plan(rendered: Mapping[Split, Sequence[Rendered]], settings: ExtractSettings, d_in: int) -> Plan:
    tokens = {split: sum(len(example.token_ids) for example in part) for split, part in rendered.items()}
    stored = sum(n for split, n in tokens.items() if split in settings.store)
    return Plan.of(
        [example for part in rendered.values() for example in part],
        stored_share=stored / max(1, sum(tokens.values())),
        layers=len(settings.layers),
        d_in=d_in,
        itemsize=np.dtype(settings.dtype).itemsize,
    )


def _identity(record: Json, settings: ExtractSettings, identity: Json) -> Json:
    versions = {name: version(name) for name in VERSIONS}
    return {**record, "layers": settings.layers, "store": settings.store, **identity, "versions": versions}


def _inputs(prepared: Path, model: ModelSettings) -> list[Path]:
    """List the files that decide the shards: data, a local model, and the code of this room and the one below."""
    room = Path(__file__).parent
    folders = [prepared, room, room.parent / "chat", *([Path(model.name)] if model.is_local else [])]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]


def _facts(model: TruncatedModel, settings: ExtractSettings) -> Json:
    """Describe the model.

    Raises:
        ModelError: if blocks are asked of an encoder, whose tokens would attend to the examples behind them.
    """
    if settings.packing == "block" and not model.causal:
        raise ModelError(
            f"{type(model.model).__name__} is not causal, so that blocks are no way to feed it; "
            "set extract.packing: fast"
        )
    return {
        "d_in": model.d_in,
        "model_class": type(model.model).__name__,
        "causal": model.causal,
        "device": model.model.device.type,
    }
