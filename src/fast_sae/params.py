"""params.yaml, read once and parsed strictly; this file knows no room.

Every room owns the frozen class of its own section, a subclass of `Settings`. There are no defaults in those classes:
params.yaml is the one place where a value is written, so that it shows every knob and DVC tracks every knob.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from fast_sae.errors import ParamsError

PARAMS = Path("params.yaml")

Section = Mapping[str, object]


class Settings(BaseModel):
    """One section of params.yaml: unknown keys, wrong types and missing values are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @classmethod
    def arrange(cls, section: Section) -> Section:
        """Return the section as this class's fields expect it; override where the two differ in shape."""
        return section


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars, as DVC reads and writes them: 5e-05 is a number, `on`, 1:30 and 2024-07-26 are text."""


_SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
}
"""Pattern and first characters of each scalar of YAML 1.2's core schema."""

_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [*_first, ""])


def _integer(_: yaml.SafeLoader, node: yaml.Node) -> int:
    text = str(node.value)
    return int(text, base=0 if text[:2] in ("0o", "0x") else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)

SettingsT = TypeVar("SettingsT", bound=Settings)


def load_params(path: Path = PARAMS) -> dict[str, object]:
    """Read params.yaml into a mapping of sections, unparsed."""
    try:
        params = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist; run this from the root of the repository") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, dict):
        raise ParamsError(f"{path} holds no sections")
    return cast(dict[str, object], params)


def parse_section(params: Section, name: str, settings: type[SettingsT]) -> SettingsT:
    """Parse the section `name` into its settings class, or say in one line what is wrong with it.

    >>> class Toy(Settings):
    ...     K: int
    >>> parse_section({"toy": {"K": "eight"}}, "toy", Toy)
    Traceback (most recent call last):
    fast_sae.errors.ParamsError: params.yaml: toy.K must be a whole number, found 'eight'
    """
    section = params.get(name)
    if not isinstance(section, dict):
        raise ParamsError(f"{PARAMS}: section {name!r} is missing")
    section = settings.arrange(cast(Section, section))
    try:
        return settings.model_validate_json(json.dumps(section))  # JSON, so that a YAML list may fill a tuple
    except ValidationError as error:
        found = "; ".join(_explain(e, name, settings) for e in error.errors())
        raise ParamsError(f"{PARAMS}: {found}") from None


_WANTED = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "finite_number": "must be finite",
    "model_type": "must be a mapping",
}


def _explain(error: ErrorDetails, name: str, settings: type[Settings]) -> str:
    where = ".".join([name, *(str(part) for part in error["loc"])])
    if error["type"] == "missing":
        return f"{where} is missing"
    if error["type"] == "extra_forbidden":
        near = _nearest(str(error["loc"][-1]), settings.model_fields)
        return f"{where} is not a parameter" + (f"; did you mean {near!r}?" if near else "")
    if error["type"] == "value_error":  # raised by a validator, whose text names the key
        return f"{name}: {error['ctx']['error']}" if "ctx" in error else where
    wanted = _WANTED.get(error["type"]) or error["msg"].replace("Input should be", "must be")
    return f"{where} {wanted}, found {error['input']!r}"


def _nearest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word most like this one, whatever its case."""
    by_fold = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), by_fold, n=1)
    return by_fold[near[0]] if near else None
