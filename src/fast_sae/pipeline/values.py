"""New values put into the text of params.yaml: comments, order and all else stay as they are."""

from dataclasses import dataclass

import yaml
from dvc.utils.serialize import dumps_yaml

from fast_sae.errors import ParamsError
from fast_sae.params import PARAMS


@dataclass(frozen=True)
class Change:
    """One value that a preset changes."""

    section: str
    """The section, or a sub-section such as sae.jumprelu."""
    key: str
    old: object
    new: object

    def line(self) -> str:
        """Say what changes.

        >>> Change("sae", "K", 8, None).line()
        'sae.K: 8 → null'
        """
        return f"{self.section}.{self.key}: {_told(self.old)} → {_told(self.new)}"


def write_values(text: str, changes: list[Change]) -> str:
    """Put new values into the text of params.yaml and leave the rest of it alone.

    Raises:
        ParamsError: if a key cannot be found in the text.

    >>> write_values("a:\\n  b: 1  # one\\n  c:\\n  - 2\\n  # three\\n", [Change("a", "c", [2], None)])
    'a:\\n  b: 1  # one\\n  c:\\n  # three\\n'
    """
    for change in changes:
        text = _put(text, change)
    return text


def _put(text: str, change: Change) -> str:
    """Replace one value in the text, from the colon behind its key to its last character."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    section = root
    for name in change.section.split("."):
        section = _value(section, name)
    for key, value in section.value if isinstance(section, yaml.MappingNode) else ():
        if key.value == change.key:
            start = text.index(":", key.end_mark.index) + 1
            return text[:start] + _written(change, key.start_mark.column) + text[max(start, _end(value)) :]
    raise ParamsError(f"{PARAMS}: {change.section}.{change.key} cannot be found")


def _value(mapping: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = mapping.value if isinstance(mapping, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _end(node: yaml.Node) -> int:
    """Find where a value ends; a block's own mark stands behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _written(change: Change, column: int) -> str:
    """Write a value as DVC does, in block style, behind a key at this column."""
    block = dumps_yaml({change.section: {change.key: change.new}}).rstrip("\n").split("\n")[1:]
    first = block[0].removeprefix(f"  {change.key}:").rstrip()
    return "\n".join([first, *(" " * column + line[2:] for line in block[1:])])


def _told(value: object) -> str:
    return "null" if value is None else str(value)
