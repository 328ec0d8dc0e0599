"""The role of a token: whose turn of the rendered chat it stands in."""

from enum import IntEnum


class Role(IntEnum):
    """Whose turn a token belongs to; a turn reaches from behind the end of the one before to its own end.

    So the header that names a turn, and the space before it, have the role of the turn that they open; the token that
    closes a turn has the role of the turn that it closes. A turn that the template writes by itself, such as a default
    system text, has the role that its header names.
    """

    NONE = 0
    """In no turn: begin-of-text, what follows the end of the last turn, and bare texts without a template."""
    SYSTEM = 1
    USER = 2
    ASSISTANT = 3
    TOOL = 4


ROLE_NAMES: tuple[str, ...] = tuple(role.name.lower() for role in Role)
