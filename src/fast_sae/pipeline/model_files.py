"""Where the language model is: a folder here, the hub's cache, or the hub; and how many weights it has."""

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

from fast_sae.activations.settings import ModelSettings
from fast_sae.artifacts import Json
from fast_sae.errors import ModelError

HUB_SECONDS = 5.0
"""How long the hub may take to answer."""

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_BLOCK = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
_HEAD = re.compile(r"(?:^|\.)(?:lm_head|embed_out|score|classifier)\.")


@dataclass(frozen=True)
class FoundModel:
    """A model that can be had."""

    folder: Path | None
    """Where config, weights and tokenizer lie; None if they must be downloaded first."""
    commit: str | None
    """On the hub; None for a local model."""
    download: int = 0
    """Bytes still to be downloaded, as far as the hub tells."""


@dataclass(frozen=True)
class Weights:
    """How many numbers a model is made of, without its head."""

    all: int
    """What is loaded."""
    blocks: int
    """In the blocks up to the deepest layer: each token is multiplied by each of these once."""


def find_model(model: ModelSettings) -> FoundModel:
    """Find config, weights and tokenizer in the model's folder, the hub's cache, or on the hub.

    Raises:
        ModelError: with what to do, if they are nowhere to be had.
    """
    if model.is_local:
        _require_whole(Path(model.name))
        return FoundModel(Path(model.name), None)
    cached = _cached(model)
    if cached is not None and not _missing(cached):
        return FoundModel(cached, cached.name)
    commit = _ask_hub(model)
    return FoundModel(None, commit, _download_bytes(model, commit))


def try_model(model: ModelSettings) -> FoundModel | ModelError:
    """Find the model, or the reason why it cannot be had."""
    try:
        return find_model(model)
    except ModelError as error:
        return error


def find_commit(model: ModelSettings) -> str:
    """Return the commit that a hub model's revision stands for: by the cache, else by the hub.

    Raises:
        ModelError: if neither knows.
    """
    cached = _cached(model)
    return cached.name if cached is not None else _ask_hub(model)


def count_weights(folder: Path, deepest: int) -> Weights:
    """Count a model's weights by the headers of its safetensors, without reading them.

    Args:
        folder: With `*.safetensors`.
        deepest: The deepest layer that is read; blocks behind it are not counted in `blocks`.

    Raises:
        ModelError: if a file is no safetensors.
    """
    everything = blocks = 0
    for file in _weight_files(folder):
        for name, numbers in _header(file):
            if _HEAD.search(name):
                continue
            everything += numbers
            block = _BLOCK.search(name)
            blocks += numbers if block and int(block[1]) < deepest else 0
    return Weights(everything, blocks)


def guess_weights(config: Json, deepest: int) -> Weights:
    """Count the weights of a Llama-shaped decoder by its config: attention, gated MLP, embedding."""
    wide, heads = _number(config, "hidden_size", 0), _number(config, "num_attention_heads", 1)
    head = _number(config, "head_dim", wide // heads)
    attention = 2 * wide * head * (heads + _number(config, "num_key_value_heads", heads))
    block = attention + 3 * wide * _number(config, "intermediate_size", 4 * wide)
    embedding = wide * _number(config, "vocab_size", 0)
    return Weights(embedding + block * _number(config, "num_hidden_layers", deepest), block * deepest)


def _number(config: Json, key: str, otherwise: int) -> int:
    value = config.get(key)
    return value if isinstance(value, int) else otherwise


def _require_whole(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder; set model.name and model.files to the folder of a model")
    if missing := _missing(folder):
        raise ModelError(f"{folder} has no {', no '.join(missing)}; copy the whole model there")


def _missing(folder: Path) -> list[str]:
    files = _weight_files(folder)
    lacking = {
        "config.json": not (folder / "config.json").is_file(),
        "weights (*.safetensors)": not files,
        "tokenizer": not any((folder / name).is_file() for name in _TOKENIZERS),
        **{file.name: not file.is_file() for file in files},
    }
    return [name for name, lacks in lacking.items() if lacks]


def _weight_files(folder: Path) -> list[Path]:
    """List model.safetensors, or the shards that its index names."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ModelError(f"{index} is damaged; copy or download it again") from None
        return [folder / name for name in sorted(set(named))]
    return [path for path in [folder / "model.safetensors"] if path.is_file()]


def _header(file: Path) -> Iterator[tuple[str, int]]:
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, 100_000_000)))
        shapes = {name: cast(list[int], entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise ModelError(f"{file} is no safetensors, or cut off; copy or download it again") from None
    for name, shape in shapes.items():
        numbers = 1
        for size in shape:
            numbers *= size
        yield name, numbers


def _cached(model: ModelSettings) -> Path | None:
    """Find the snapshot of a model in the hub's cache, whole or not."""
    from huggingface_hub import try_to_load_from_cache  # here, because a local model needs none of it
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model.name, "config.json", revision=model.revision)
    except HFValidationError:
        raise ModelError(f"{model.name!r} is no hub id, such as Qwen/Qwen2.5-0.5B-Instruct; set model.name") from None
    return Path(found).parent if isinstance(found, str) else None


def _ask_hub(model: ModelSettings) -> str:
    """Ask the hub whether the model may be read, and for the commit behind its revision.

    A gated model's page is open to all, so it is a file that is asked for.
    """
    from httpx2 import HTTPError  # the hub's own HTTP client, whose errors it lets through
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(model.name, "config.json", revision=model.revision)
    try:
        commit = get_hf_file_metadata(url, timeout=HUB_SECONDS).commit_hash
    except (OSError, HTTPError) as error:
        _explain(model, error)
    if not commit:
        raise ModelError(f"{url} names no commit; is HF_ENDPOINT a hub?")
    return commit


def _explain(model: ModelSettings, error: Exception) -> NoReturn:
    """Say in one line why the hub does not give a model, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    name, log_in = model.name, "log in (hf auth login) or set HF_TOKEN"
    answer = getattr(error, "response", None)
    status = getattr(answer, "status_code", None)
    if isinstance(error, hub.OfflineModeIsEnabled):
        told = f"{name} is not whole in the cache ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE is set; unset it once"
    elif isinstance(error, hub.GatedRepoError):
        told = f"{name} is gated: ask for access at {constants.ENDPOINT}/{name}, then {log_in}"
    elif isinstance(error, hub.RevisionNotFoundError):
        told = f"{name} has no revision {model.revision!r}; mend model.revision"
    elif isinstance(error, hub.EntryNotFoundError):
        told = f"{name} has no config.json on {constants.ENDPOINT}; is it a transformers model?"
    elif isinstance(error, hub.RepositoryNotFoundError) or status in (401, 403):
        told = (
            f"{constants.ENDPOINT} shows no {name} ({status}): mend model.name or, if it is private or gated, {log_in}"
        )
    elif status is not None:
        told = f"{constants.ENDPOINT} answers {status} for {name}; try later"
    else:
        told = (
            f"{name} is not whole in the cache ({constants.HF_HUB_CACHE}), and {constants.ENDPOINT} cannot be reached "
            f"({type(error).__name__}); connect, set HF_ENDPOINT to a mirror, or copy the model and set model.name"
        )
    raise ModelError(told) from None


def _download_bytes(model: ModelSettings, commit: str) -> int:
    """Sum up the weight files on the hub; 0 if it does not tell."""
    from httpx2 import HTTPError
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(model.name, revision=commit, files_metadata=True, timeout=HUB_SECONDS)
    except (OSError, HTTPError):
        return 0
    files = [file for file in info.siblings or [] if re.fullmatch(r"model.*\.safetensors", file.rfilename)]
    return sum(file.size or 0 for file in files)
