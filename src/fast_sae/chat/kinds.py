"""The kind of a token: what part of the rendered chat it stands in."""

from enum import IntEnum


class Kind(IntEnum):
    """Part of a rendered chat; the number is what the activation store holds."""

    BEGIN_OF_TEXT = 0
    """The model's begin-of-text token (for an encoder, its class token) at the start."""
    SCAFFOLD = 1
    """All that the template writes and no other kind names."""
    ROLE_NAME = 2
    """The name of a turn's role as the template spells it."""
    CONTENT = 3
    """What the data hold."""
    END_OF_TURN = 4
    """The special token that closes a turn (for an encoder, its separator at the end)."""


KIND_NAMES: tuple[str, ...] = tuple(kind.name.lower() for kind in Kind)
SPECIAL_KINDS = (Kind.SCAFFOLD, Kind.ROLE_NAME, Kind.END_OF_TURN)
"""The positions of MSE_st: special tokens and template text, without begin-of-text (FAST's list has none)."""
