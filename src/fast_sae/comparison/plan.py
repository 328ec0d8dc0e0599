"""A plan: two ways to feed training, on some models, with some architectures and seeds; one run of each.

A plan is a YAML file whose values are overrides of params.yaml, such as `train.epochs: 20`:

    about: text                                   what the numbers below were chosen for
    common: overrides                             of every run
    models: name → about, overrides, control_of   the first model, and others
    packings: name → overrides                    two: the one asked about, and the one it is compared with
    architectures: name → overrides
    seeds: numbers                                values of train.seed
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field, model_validator

from fast_sae.errors import ParamsError
from fast_sae.params import PARAMS, Section, Settings, load_params, parse_section

Scalar = str | int | float | bool | None
Value = Scalar | list[Scalar]
Overrides = dict[str, Value]
"""Values by their key in params.yaml, such as `sae.K`."""

_EXTRACTION = ("data", "model", "extract")
"""Sections of params.yaml that decide activations."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What may stand in the name of an experiment, which is a git reference."""


class PlannedModel(Settings):
    """One language model."""

    about: str
    """What it is, and what it cannot show: a paragraph of the report."""
    overrides: Overrides
    """At least model.name and model.files."""
    control_of: str | None
    """The model of the plan whose results this one is to check; null for none."""


class Plan(Settings):
    """What is run; every pair of a model and an architecture is run with both packings and all seeds."""

    about: str
    """A paragraph of the report: what the values were chosen for."""
    common: Overrides
    """Of every run."""
    models: Annotated[dict[str, PlannedModel], Field(min_length=1)]
    """By name."""
    packings: Annotated[dict[str, Overrides], Field(min_length=2, max_length=2)]
    """The one asked about, then the one it is compared with."""
    architectures: Annotated[dict[str, Overrides], Field(min_length=1)]
    """By name."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    """Values of train.seed; equal seeds of the two packings make a pair."""

    @model_validator(mode="after")
    def _names_can_be_told_apart(self) -> "Plan":
        for name in [*self.models, *self.packings, *self.architectures]:
            if not _NAME.fullmatch(name):
                raise ValueError(f"names are of letters, digits, - and _, found {name!r}")
        for name, model in self.models.items():
            if model.control_of is not None and (model.control_of == name or model.control_of not in self.models):
                raise ValueError(f"models.{name}.control_of must name another model, found {model.control_of!r}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ, found {list(self.seeds)}")
        return self

    def cells(self) -> Iterator[tuple[str, str]]:
        """Yield each model with each architecture."""
        yield from product(self.models, self.architectures)


@dataclass(frozen=True)
class Run:
    """One experiment."""

    plan: str
    """Name of the plan."""
    model: str
    packing: str
    architecture: str
    seed: int
    overrides: Mapping[str, Value]

    @property
    def name(self) -> str:
        """Name of the experiment; it ends with a digest of the overrides, so that other overrides make another."""
        digest = hashlib.sha256(json.dumps(self.overrides, sort_keys=True).encode()).hexdigest()[:6]
        return f"{self.plan}-{self.model}-{self.packing}-{self.architecture}-{self.seed}-{digest}"

    @property
    def extraction(self) -> str:
        """What decides its activations: runs that are equal in it read the same ones."""
        return json.dumps({k: v for k, v in self.overrides.items() if k.split(".")[0] in _EXTRACTION}, sort_keys=True)

    def flags(self) -> list[str]:
        """Return the flags of `dvc exp run`, values as Hydra reads them.

        >>> Run("p", "m", "fast", "topk", 1, {"sae.K": 8, "model.revision": None, "extract.layers": [5]}).flags()
        ['-S', 'sae.K=8', '-S', 'model.revision=null', '-S', 'extract.layers=[5]']
        """
        return [word for key, value in self.overrides.items() for word in ("-S", f"{key}={_for_hydra(value)}")]


def read_plan(path: Path, params: Path = PARAMS) -> Plan:
    """Read a plan and hold its keys against params.yaml.

    Raises:
        ParamsError: if it does not exist, does not parse, or names what params.yaml does not have.
    """
    if not path.exists():
        raise ParamsError(f"{path} does not exist; a plan is written as experiments/fast_vs_block.yaml is")
    if not _NAME.fullmatch(path.stem):
        raise ParamsError(f"{path}: the name of a plan is of letters, digits, - and _")
    try:
        plan = parse_section({"plan": load_params(path)}, "plan", Plan)
    except ParamsError as error:
        raise ParamsError(f"{path}: {str(error).removeprefix(f'{PARAMS}: ').removeprefix(f'{path} ')}") from None
    known = sorted(_keys(load_params(params)))
    for run in runs(plan, path.stem):
        for key in run.overrides:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                raise ParamsError(f"{path}: {key} is not in {params}" + (f"; did you mean {near[0]}?" if near else ""))
    return plan


def runs(plan: Plan, name: str) -> list[Run]:
    """List the runs of a plan; what is more special overrides what is more general."""
    return [
        Run(name, model, packing, architecture, seed, _overrides(plan, model, packing, architecture, seed))
        for (model, architecture), packing, seed in product(plan.cells(), plan.packings, plan.seeds)
    ]


def _overrides(plan: Plan, model: str, packing: str, architecture: str, seed: int) -> Overrides:
    chosen = (plan.common, plan.models[model].overrides, plan.packings[packing], plan.architectures[architecture])
    return {key: value for part in (*chosen, {"train.seed": seed}) for key, value in part.items()}


def _for_hydra(value: Value) -> str:
    r"""Write a value in Hydra's grammar, where a backslash stands for itself unless a quote follows.

    >>> print(_for_hydra('C:\\x "y"'), _for_hydra([None, True, 2]))
    "C:\x \"y\"" [null,true,2]
    """
    if isinstance(value, list):
        return f"[{','.join(map(_for_hydra, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    inside = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), value)
    return f'"{inside}"'


def _keys(section: Section, prefix: str = "") -> Iterator[str]:
    for key, value in section.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys(cast(Section, value), f"{prefix}{key}.")
