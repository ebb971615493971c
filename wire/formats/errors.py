"""The one error that damaged bytes (or a value that no bytes can carry) raise, whichever way they came in."""

from __future__ import annotations

from enum import Enum


class Damage(Enum):
    """What is wrong with a field; the value is the sentence a person reads."""

    TRUNCATED = "the bytes end inside this field"
    LIMIT = "longer than this field may be"
    BOOL = "neither 0 nor 1"
    UNION = "no arm of the union has this number"
    CONST = "not the number that stands here in every such message"
    COUNT = "not a count that this field can have"
    TRAILING = "bytes are left over where the value should end"
    VALUE = "not a value that this field can carry"


class FormatError(ValueError):
    """Damage in a message.

    kind: what is wrong.  path: the field, outermost first, such as ``properties[3].name``; empty for the message.
    offset: the byte, from the start of what was parsed (or of what was built so far), at which that field begins.
    """

    def __init__(self, kind: Damage, path: str, offset: int) -> None:
        super().__init__(kind, path, offset)
        self.kind = kind
        self.path = path
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.path or 'message'}, byte {self.offset}: {self.kind.value}"
