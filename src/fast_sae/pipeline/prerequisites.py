"""What must be there before the pipeline runs, looked at whole: one failure hides no other."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch

from fast_sae.artifacts import Json
from fast_sae.chat.examples import Example
from fast_sae.errors import ModelError, UserError
from fast_sae.params import load_params
from fast_sae.pipeline.findings import Finding, look
from fast_sae.pipeline.model_files import FoundModel, Weights, count_weights, find_model, guess_weights
from fast_sae.pipeline.resources import check_device, check_disk, check_memory
from fast_sae.pipeline.sizing import Amount, measure_amount, read_examples
from fast_sae.pipeline.stages import DueStage, due_stages
from fast_sae.pipeline.terminal import size
from fast_sae.preflight import Parsed, check, parse, read_model_config

_READ_MODEL = {"check_params", "extract_activations"}
"""Stages that open the language model."""
_STAMP = Path("data/params_checked.json")
_COPIES = 5
"""Of the SAE's weights in training: themselves, gradient, Adam's two moments, the best ones."""


@dataclass
class Survey:
    """What was found; what could not be found out is None."""

    findings: list[Finding] = field(default_factory=list)
    parsed: Parsed | None = None
    due: list[DueStage] | None = None
    model: FoundModel | None = None
    weights: Weights | None = None
    facts: Json | None = None
    """What check_params will write down."""
    examples: list[Example] | None = None
    amount: Amount | None = None

    @property
    def d_in(self) -> int | None:
        """Width of one row of activations."""
        return cast(dict[str, int], self.facts["model"])["d_in"] if self.facts else None

    def is_due(self, *stages: str) -> bool:
        """Whether one of the stages will run, or may; yes where that is not known."""
        return self.due is None or any(stage.name in stages for stage in self.due)

    def look(self, name: str, check: Callable[[], str]) -> None:
        """Add a finding."""
        self.findings.append(look(name, check))


def survey() -> Survey:
    """Look at params.yaml, the stages, data, model, disk, memory and device."""
    seen = Survey()
    seen.look("params.yaml", lambda: _params(seen))
    seen.look("stages", lambda: _stages(seen))
    if seen.parsed is None:
        return seen  # the rest is about values that are not known
    seen.look("data", lambda: _data(seen))
    seen.look("model", lambda: _model(seen))
    if seen.examples and seen.d_in:
        seen.look("tokens", lambda: _amount(seen))
    seen.look("disk", lambda: _disk(seen))
    seen.look("memory", lambda: _memory(seen))
    seen.look("device", lambda: _device(seen))
    return seen


def _params(seen: Survey) -> str:
    params = load_params()
    seen.parsed = parse(params)
    try:
        seen.model = find_model(seen.parsed.model)
    except ModelError:
        return f"{len(params)} sections hold; the rules about the model wait for it"
    seen.facts = check(params)
    return f"{len(params)} sections hold, also against the model's config"


def _stages(seen: Survey) -> str:
    try:  # what follows check_params is left alone if it writes what is there already
        settled = ["check_params"] if json.loads(_STAMP.read_text(encoding="utf-8")) == seen.facts else []
    except (OSError, ValueError):
        settled = []
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


def _model(seen: Survey) -> str:
    assert seen.parsed
    settings, deepest = seen.parsed.model, seen.parsed.extract.layers[-1]
    try:
        found = seen.model or find_model(settings)
        if found.folder is None:
            seen.weights = guess_weights(read_model_config(settings), deepest)
            return f"{settings.name} can be had from the hub ({size(found.download)} to be downloaded)"
        seen.weights = count_weights(found.folder, deepest)
    except ModelError as error:
        if seen.is_due(*_READ_MODEL):
            raise
        return f"not needed, as no stage that reads it is out of date ({error})"
    return f"{settings.name}: config, {seen.weights.all:,} weights, tokenizer"


def _amount(seen: Survey) -> str:
    assert seen.parsed
    assert seen.examples
    assert seen.d_in
    seen.amount = measure_amount(seen.examples, seen.parsed, seen.model, seen.d_in)
    return f"about {seen.amount.plan.tokens:,} in {seen.amount.plan.examples:,} examples, {seen.amount.how}"


def _disk(seen: Survey) -> str:
    if not seen.is_due("extract_activations"):
        return "no more is needed: the activations are there"
    if seen.amount is None:
        return "not known: it takes data and model to tell how much is needed"
    return check_disk(seen.amount.plan.bytes, seen.model.download if seen.model else 0)


def _memory(seen: Survey) -> str:
    assert seen.parsed
    if seen.weights is None or seen.d_in is None:
        return "not known: it takes the model to tell how much is needed"
    model = seen.weights.all * _itemsize(seen.parsed.model.dtype) if seen.is_due("extract_activations") else 0
    sae = _COPIES * 2 * seen.d_in * seen.parsed.sae.M * _itemsize(seen.parsed.train.dtype)
    return check_memory(model, sae)


def _device(seen: Survey) -> str:
    assert seen.parsed
    weights = seen.weights.blocks if seen.weights and seen.is_due("extract_activations") else 0
    return check_device(seen.parsed.runtime, weights * _itemsize(seen.parsed.model.dtype))


def _itemsize(dtype: str) -> int:
    return getattr(torch, dtype).itemsize


def require_all(findings: list[Finding]) -> None:
    """End here if a check has failed.

    Raises:
        UserError: with the names of all that have.
    """
    if failed := [finding.name for finding in findings if not finding.ok]:
        raise UserError(f"{len(failed)} of {len(findings)} prerequisites fail ({', '.join(failed)}); nothing was run")
