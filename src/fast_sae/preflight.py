"""What is checked in seconds before anything costly runs: every section, and every rule between them.

Torch is not loaded unless an architecture has options of its own, so that a wrong parameter is told at once.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import Json
from fast_sae.chat.settings import DataSettings
from fast_sae.errors import ModelError, ParamsError, UserError
from fast_sae.evaluation.settings import EvaluateSettings
from fast_sae.params import PARAMS, Section, Settings, parse_section
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.settings import SAESettings
from fast_sae.training.settings import TrainSettings

SECTIONS: dict[str, type[Settings]] = {
    "data": DataSettings,
    "model": ModelSettings,
    "extract": ExtractSettings,
    "sae": SAESettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "runtime": RuntimeSettings,
}


@dataclass(frozen=True)
class Checked:
    """The parsed sections, and what the model's config says."""

    extract: ExtractSettings
    sae: SAESettings
    model: ModelSettings
    n_blocks: int
    d_in: int

    def stamp(self) -> Json:
        """Return what is worth writing down: the facts of the model, and nothing of the parameters."""
        return {"model": {"blocks": self.n_blocks, "d_in": self.d_in}}


def check(params: Section) -> Checked:
    """Parse every section and apply every rule between sections.

    Raises:
        ParamsError: for the first section or rule that does not hold.
        ModelError: if the model's config cannot be read.
    """
    if unknown := sorted(set(params) - set(SECTIONS)):
        raise ParamsError(f"{PARAMS}: {unknown[0]!r} is not a section; there are {', '.join(SECTIONS)}")
    parsed = {name: parse_section(params, name, settings) for name, settings in SECTIONS.items()}
    extract, sae = cast(ExtractSettings, parsed["extract"]), cast(SAESettings, parsed["sae"])
    model, data = cast(ModelSettings, parsed["model"]), cast(DataSettings, parsed["data"])
    if sae.layer not in extract.layers:
        raise ParamsError(f"{PARAMS}: sae.layer is {sae.layer}, but extract.layers is {list(extract.layers)}")
    if extract.template == "none" and data.text_field is None:
        raise ParamsError(f"{PARAMS}: extract.template: none takes bare texts, but data.text_field is null")
    runtime, train = cast(RuntimeSettings, parsed["runtime"]), cast(TrainSettings, parsed["train"])
    if runtime.device == "mps" and "float64" in (model.dtype, train.dtype):
        raise ParamsError(f"{PARAMS}: runtime.device: mps has no float64; set model.dtype and train.dtype to float32")
    config = read_model_config(model)
    n_blocks, d_in = (_config_number(config, names, model) for names in (_BLOCKS, _WIDTH))
    if extract.layers[-1] > n_blocks:
        raise ParamsError(
            f"{PARAMS}: extract.layers: layer {extract.layers[-1]} does not exist; "
            f"{model.name} has hidden_states 0 to {n_blocks}"
        )
    if sae.options:
        from fast_sae.sae.build import architecture_module  # loads torch: seconds, and most have no options

        architecture_module(sae)
    return Checked(extract, sae, model, n_blocks, d_in)


def read_model_config(model: ModelSettings) -> Json:
    """Read a model's config.json from its folder, the hub's cache, or the hub."""
    path = Path(model.name) / "config.json"
    if not model.is_local:
        path = _from_hub(model)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist; set model.name and model.files to the folder of a model") from None
    except ValueError:
        raise ModelError(f"{path} is not JSON") from None
    return cast(Json, config)


def refuse_shallow_queue(root: Path) -> None:
    """Refuse a queued or temporary experiment of a shallow clone: DVC would run it and lose it without a word."""
    if Path.cwd() != root.resolve() and (root / ".git" / "shallow").exists():
        raise UserError(f"{root} is a shallow clone, where DVC loses queued experiments; run: git fetch --unshallow")


def check_environment() -> None:
    """Check what the run itself needs, whatever the parameters."""
    if root := os.environ.get("DVC_ROOT"):
        refuse_shallow_queue(Path(root))


_BLOCKS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_WIDTH = ("hidden_size", "n_embd", "d_model", "dim")


def _config_number(config: Json, names: tuple[str, ...], model: ModelSettings) -> int:
    inner = config.get("text_config")
    for place in (config, inner if isinstance(inner, dict) else {}):
        for name in names:
            if isinstance(place.get(name), int):
                return cast(int, place[name])
    raise ModelError(f"the config.json of {model.name} has none of {', '.join(names)}; is it a language model?")


def _from_hub(model: ModelSettings) -> Path:
    from huggingface_hub import hf_hub_download  # here, because a local model needs none of it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(model.name, "config.json", revision=model.revision))
    except LocalEntryNotFoundError:
        raise ModelError(f"{model.name} is not in the hub's cache, and the hub cannot be reached") from None
    except (HfHubHTTPError, HFValidationError) as error:
        raise ModelError(f"{model.name} cannot be had from the hub: {str(error).splitlines()[0]}") from None
