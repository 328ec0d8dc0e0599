"""What is checked in seconds before anything costly runs: every section, and every rule between them.

Torch is not loaded unless an architecture has options of its own, so that a wrong parameter is told at once.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from fast_sae.activations.live.hub import config_path, resolve_commit
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import Json
from fast_sae.chat.settings import DataSettings
from fast_sae.dashboard.settings import DashboardSettings
from fast_sae.errors import ModelError, ParamsError
from fast_sae.evaluation.in_model.settings import InModelSettings
from fast_sae.evaluation.settings import EvaluateSettings
from fast_sae.features.settings import FeaturesSettings
from fast_sae.hypotheses.settings import HypothesesSettings
from fast_sae.interpretation.settings import InterpretSettings
from fast_sae.params import PARAMS, Section, Settings, parse_section
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.settings import SAESettings
from fast_sae.steering.settings import SteerSettings
from fast_sae.training.settings import TrainSettings

SECTIONS: dict[str, type[Settings]] = {
    "data": DataSettings,
    "model": ModelSettings,
    "extract": ExtractSettings,
    "sae": SAESettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "in_model": InModelSettings,
    "features": FeaturesSettings,
    "interpret": InterpretSettings,
    "hypotheses": HypothesesSettings,
    "steer": SteerSettings,
    "dashboard": DashboardSettings,
    "runtime": RuntimeSettings,
}


@dataclass(frozen=True)
class Parsed:
    """Every section of params.yaml."""

    data: DataSettings
    model: ModelSettings
    extract: ExtractSettings
    sae: SAESettings
    train: TrainSettings
    evaluate: EvaluateSettings
    in_model: InModelSettings
    features: FeaturesSettings
    interpret: InterpretSettings
    hypotheses: HypothesesSettings
    steer: SteerSettings
    dashboard: DashboardSettings
    runtime: RuntimeSettings


def parse(params: Section) -> Parsed:
    """Parse every section and apply every rule that needs no model.

    Raises:
        ParamsError: for the first section or rule that does not hold.
    """
    if unknown := sorted(set(params) - set(SECTIONS)):
        raise ParamsError(f"{PARAMS}: {unknown[0]!r} is not a section; there are {', '.join(SECTIONS)}")
    parsed = Parsed(**{name: parse_section(params, name, settings) for name, settings in SECTIONS.items()})  # pyright: ignore[reportArgumentType]
    for broken in _broken_rules(parsed):
        raise ParamsError(f"{PARAMS}: {broken}")
    return parsed


def check(params: Section) -> Json:
    """Parse every section, apply every rule between sections, and return what is worth writing down.

    Raises:
        ParamsError: for the first section or rule that does not hold.
        ModelError: if the model's config cannot be read.
    """
    parsed = parse(params)
    if not parsed.model.is_local and parsed.model.revision != (commit := resolve_commit(parsed.model)):
        raise ParamsError(f"{PARAMS}: model.revision must be a commit, so that it stays the same; set it to {commit}")
    config = read_model_config(parsed.model)
    n_blocks, d_in = _config_number(config, _BLOCKS, parsed.model), model_width(config, parsed.model)
    for broken in _broken_model_rules(parsed, config, n_blocks):
        raise ParamsError(f"{PARAMS}: {broken}")
    if parsed.sae.options:
        from fast_sae.sae.build import parse_options  # loads torch: seconds, and most have no options

        parse_options(parsed.sae)
    if parsed.train.encode_in != "full":
        from fast_sae.sae.build import build_sae  # loads torch, which only this question needs

        if build_sae(1, parsed.sae).keeps_largest is None:
            raise ParamsError(
                f"{PARAMS}: train.encode_in: {parsed.train.encode_in} needs an architecture that keeps the K largest, "
                f"found sae.architecture: {parsed.sae.architecture}; set train.encode_in: full"
            )
    return {"model": {"blocks": n_blocks, "d_in": d_in}}


def _broken_rules(parsed: Parsed) -> Iterator[str]:
    sae, extract = parsed.sae, parsed.extract
    if sae.layer not in extract.layers:
        yield f"sae.layer is {sae.layer}, but extract.layers is {list(extract.layers)}"
    if extract.template == "none" and parsed.data.text_field is None:
        yield "extract.template: none takes bare texts, but data.text_field is null"
    if parsed.hypotheses.enabled and parsed.data.label_field is None:
        yield "hypotheses.enabled is true, but data.label_field is null; set hypotheses.enabled: false"
    yield from _broken_latent_rules(parsed)
    yield from _broken_source_rules(parsed)


def _broken_latent_rules(parsed: Parsed) -> Iterator[str]:
    interpret, M = parsed.interpret, parsed.sae.M
    if interpret.latents == "label" and parsed.data.label_field is None:
        yield "interpret.latents is label, but data.label_field is null; set interpret.latents: prevalent"
    if interpret.latents == "label" and parsed.features.listed_labels == 0:
        yield "interpret.latents is label, but features.listed_labels is 0, so that no latent lists any; set it to 1"
    for section, listed in (("interpret", interpret.listed), ("steer", parsed.steer.listed)):
        if missing := [latent for latent in listed if latent >= M]:
            yield f"{section}.listed names latent {missing[0]}, but sae.M is {M}: there are latents 0 to {M - 1}"


def _broken_source_rules(parsed: Parsed) -> Iterator[str]:
    store, train, evaluate = parsed.extract.store, parsed.train, parsed.evaluate
    reads = {"train": (train.source, ("train", "validation")), "evaluate": (evaluate.source, ("validation", "test"))}
    for section, (source, splits) in reads.items():
        if source == "stored" and (missing := [split for split in splits if split not in store]):
            yield (
                f"{section}.source is stored, but extract.store lacks {missing[0]}; add it, or set "
                f"{section}.source: live"
            )
    if train.source == "live" and "train" in store:
        yield "train.source is live, but extract.store names train; take it out, or set train.source: stored"
    if evaluate.source == "live" and {"validation", "test"} <= {*store}:
        yield "evaluate.source is live, but extract.store names validation and test; set evaluate.source: stored"
    if train.source == "live" and train.buffer_tokens < 2 * train.batch_size:
        yield f"train.buffer_tokens is {train.buffer_tokens}; mixing takes at least two batches, {2 * train.batch_size}"


def _broken_model_rules(parsed: Parsed, config: Json, n_blocks: int) -> Iterator[str]:
    name, extract = parsed.model.name, parsed.extract
    if extract.layers[-1] > n_blocks:
        yield f"extract.layers: layer {extract.layers[-1]} does not exist; {name} has hidden_states 0 to {n_blocks}"
    positions = next((config[key] for key in _POSITIONS if isinstance(config.get(key), int)), None)
    fed = {"max_length": extract.max_length} | (
        {"block_size": extract.block_size} if extract.packing == "block" else {}
    )
    for key, tokens in fed.items():
        if isinstance(positions, int) and tokens > positions:
            yield f"extract.{key} is {tokens}, but {name} reads {positions} tokens"
    made_as = [str(architecture) for architecture in cast(list[object], config.get("architectures") or [])]
    if made_as and all(map(_HEADLESS.search, made_as)):
        asked = {
            "in_model.enabled: false": parsed.in_model.enabled,
            "features.logit_tokens: 0": parsed.features.logit_tokens > 0,
            "steer.enabled: false": parsed.steer.enabled,
        }
        if wanted := [setting for setting, needs_head in asked.items() if needs_head]:
            yield f"{name} is a {made_as[0]}, without an LM head; set {', '.join(wanted)}"


def read_model_config(model: ModelSettings) -> Json:
    """Read a model's config.json from its folder, the hub's cache, or the hub."""
    path = config_path(model)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist; set model.name and model.files to the folder of a model") from None
    except ValueError:
        raise ModelError(f"{path} is not JSON") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path} holds no JSON object")
    return cast(Json, config)


def model_width(config: Json, model: ModelSettings) -> int:
    """Return d_in, the width of a model's activations, as its config tells."""
    return _config_number(config, _WIDTH, model)


_BLOCKS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_POSITIONS = ("max_position_embeddings", "n_positions")
_HEADLESS = re.compile(r"(?<!LMHead)Model$|ForMaskedLM$")
"""Classes of `transformers` that predict no next token."""
_WIDTH = ("hidden_size", "n_embd", "d_model", "dim")


def _config_number(config: Json, names: tuple[str, ...], model: ModelSettings) -> int:
    inner = config.get("text_config")
    for place in (config, inner if isinstance(inner, dict) else {}):
        for name in names:
            if isinstance(place.get(name), int):
                return cast(int, place[name])
    raise ModelError(f"the config.json of {model.name} has none of {', '.join(names)}; is it a language model?")
