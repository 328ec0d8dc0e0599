"""What must be there before the pipeline runs, looked at whole: one failure hides no other."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import torch

from fast_sae.artifacts import Json
from fast_sae.chat.examples import Example
from fast_sae.errors import ModelError, UserError
from fast_sae.params import load_params
from fast_sae.pipeline.findings import Finding, look
from fast_sae.pipeline.model_files import FoundModel, Weights, count_weights, guess_weights, try_model
from fast_sae.pipeline.preset import Preset
from fast_sae.pipeline.resources import check_device, check_disk, check_memory
from fast_sae.pipeline.sizing import Amount, measure_amount, read_examples
from fast_sae.pipeline.stages import DueStage, due_stages
from fast_sae.pipeline.terminal import size
from fast_sae.preflight import Parsed, check, parse, read_model_config

_STAMP = Path("data/params_checked.json")
_COPIES = 5
"""Of the SAE's weights in training: themselves, gradient, Adam's two moments, the best ones."""


_IsDue = Callable[[str], bool]


@dataclass
class Survey:
    """What was found; what could not be found out is None."""

    findings: list[Finding] = field(default_factory=list)
    parsed: Parsed | None = None
    due: list[DueStage] | None = None
    model: FoundModel | None = None
    refusal: ModelError | None = None
    """Why there is no model."""
    weights: Weights | None = None
    facts: Json | None = None
    """What check_params will write down."""
    examples: list[Example] | None = None
    amount: Amount | None = None
    tell: Callable[[Finding], None] = lambda finding: None
    """Called with each finding as soon as it is there."""

    @property
    def d_in(self) -> int | None:
        """Width of one row of activations."""
        return cast(dict[str, int], self.facts["model"])["d_in"] if self.facts else None

    def is_due(self, name: str) -> bool:
        """Whether a stage will run, or may; yes where that is not known."""
        return self.due is None or any(stage.name == name for stage in self.due)

    def is_certain(self, name: str) -> bool:
        """Whether a stage will run; yes where that is not known."""
        return self.due is None or any(stage.name == name and stage.certain for stage in self.due)

    def look(self, name: str, check: Callable[[], str]) -> None:
        """Add a finding."""
        self._add(look(name, check))

    def weigh(self, name: str, check: Callable[[_IsDue], str]) -> None:
        """Add a finding that depends on what will run; it only warns if what surely runs can do without."""
        finding = look(name, lambda: check(self.is_due))
        if not finding.ok and look(name, lambda: check(self.is_certain)).ok:
            told = f"{finding.found}; it matters only if a stage runs that may not"
            finding = replace(finding, found=told, fatal=False)
        self._add(finding)

    def _add(self, finding: Finding) -> None:
        self.findings.append(finding)
        self.tell(finding)


def survey(preset: Preset | None = None, tell: Callable[[Finding], None] = lambda finding: None) -> Survey:
    """Look at params.yaml, the stages, data, model, disk, memory and device.

    Args:
        preset: Look as if it stood in params.yaml.
        tell: Called with each finding as soon as it is there.
    """
    seen = Survey(tell=tell)
    seen.look("params.yaml", lambda: _params(seen, preset))
    seen.look("stages", lambda: _stages(seen, preset))
    if seen.parsed is None:
        return seen  # the rest is about values that are not known
    seen.look("data", lambda: _data(seen))
    seen.weigh("model", lambda is_due: _model(seen, is_due))
    if seen.examples and seen.d_in:
        seen.weigh("tokens", lambda is_due: _amount(seen, is_due))
    seen.weigh("disk", lambda is_due: _disk(seen, is_due))
    seen.weigh("memory", lambda is_due: _memory(seen, is_due))
    seen.weigh("device", lambda is_due: _device(seen, is_due))
    return seen


def _params(seen: Survey, preset: Preset | None) -> str:
    params = preset.params if preset else load_params()
    seen.parsed = parse(params)
    found = preset.model if preset else try_model(seen.parsed.model)
    waiting = f"{len(params)} sections hold; the rules about the model wait for it"
    if isinstance(found, FoundModel):
        seen.model = found
    else:
        seen.refusal = found
        if not seen.parsed.model.is_local:
            return waiting
    try:
        seen.facts = check(params)  # a folder may hold the config and lack the rest
    except ModelError:
        if seen.model:
            raise
        return waiting
    return f"{len(params)} sections hold, also against the model's config"


def _stages(seen: Survey, preset: Preset | None) -> str:
    try:  # what follows check_params is left alone if it writes what is there already
        settled = ["check_params"] if json.loads(_STAMP.read_text(encoding="utf-8")) == seen.facts else []
    except (OSError, ValueError):
        settled = []
    with preset.in_place() if preset else nullcontext():  # DVC reads the file
        seen.due = due_stages(settled)
    certain = sum(stage.certain for stage in seen.due)
    more = len(seen.due) - certain
    if not seen.due:
        return "all up to date"
    return f"{certain} out of date" + (f", {more} may follow" if more else "")


def _data(seen: Survey) -> str:
    assert seen.parsed
    seen.examples = read_examples(seen.parsed.data)
    return f"{len(seen.examples):,} examples in {seen.parsed.data.path}"


def _model(seen: Survey, is_due: _IsDue) -> str:
    assert seen.parsed
    settings, deepest = seen.parsed.model, seen.parsed.extract.layers[-1]
    try:
        if seen.model is None:
            raise seen.refusal or ModelError(f"{settings.name} was not looked for")
        if seen.model.folder is None:
            seen.weights = guess_weights(read_model_config(settings), deepest)
            return f"{settings.name} can be had from the hub ({size(seen.model.download)} to be downloaded)"
        seen.weights = count_weights(seen.model.folder, deepest)
    except ModelError as error:
        assert seen.parsed
        reads_config = is_due("check_params") and seen.facts is None
        if _runs_model(seen.parsed, is_due) or reads_config:
            raise
        return f"not needed, as no stage that reads it is out of date ({error})"
    return f"{settings.name}: config, {seen.weights.all:,} weights, tokenizer"


def _amount(seen: Survey, is_due: _IsDue) -> str:
    assert seen.parsed
    assert seen.examples
    assert seen.d_in
    try:
        seen.amount = measure_amount(seen.examples, seen.parsed, seen.model, seen.d_in)
    except ModelError as error:
        if is_due("extract_activations"):
            raise
        return f"not known, nor needed ({error})"
    return f"about {seen.amount.plan.tokens:,} in {seen.amount.plan.examples:,} examples, {seen.amount.how}"


def _disk(seen: Survey, is_due: _IsDue) -> str:
    if not is_due("extract_activations"):
        return "no more is needed: the activations are there"
    if seen.amount is None:
        return "not known: it takes data and model to tell how much is needed"
    return check_disk(seen.amount.plan.bytes, seen.model.download if seen.model else 0)


def _memory(seen: Survey, is_due: _IsDue) -> str:
    assert seen.parsed
    if seen.weights is None or seen.d_in is None:
        return "not known: it takes the model to tell how much is needed"
    model = seen.weights.all * _itemsize(seen.parsed.model.dtype) if _runs_model(seen.parsed, is_due) else 0
    sae = _COPIES * 2 * seen.d_in * seen.parsed.sae.M * _itemsize(seen.parsed.train.dtype)
    return check_memory(model, (sae + _buffer(seen.parsed, seen.d_in)) if is_due("train_sae") else 0)


def _device(seen: Survey, is_due: _IsDue) -> str:
    assert seen.parsed
    weights = seen.weights.blocks if seen.weights and _runs_model(seen.parsed, is_due) else 0
    return check_device(seen.parsed.runtime, weights * _itemsize(seen.parsed.model.dtype))


def _runs_model(parsed: Parsed, is_due: _IsDue) -> bool:
    """Whether a stage runs that loads the language model."""
    live = {"train_sae": parsed.train.source == "live", "evaluate_sae": parsed.evaluate.source == "live"}
    return is_due("extract_activations") or any(is_due(stage) for stage, loads in live.items() if loads)


def _buffer(parsed: Parsed, d_in: int) -> int:
    """Bytes of the buffer that mixes live activations."""
    if parsed.train.source == "stored":
        return 0
    return parsed.train.buffer_tokens * d_in * _itemsize(parsed.extract.dtype)


def _itemsize(dtype: str) -> int:
    return getattr(torch, dtype).itemsize


def require_all(findings: list[Finding]) -> None:
    """End here if a check has failed.

    Raises:
        UserError: with the names of all that have.
    """
    if failed := [finding.name for finding in findings if not finding.ok and finding.fatal]:
        raise UserError(f"{len(failed)} of {len(findings)} prerequisites fail ({', '.join(failed)}); nothing was run")
