"""A directory's properties: what "the property called so" means when several are (NETINFO 2.1)."""

from __future__ import annotations

from collections.abc import Sequence

from wire.formats.netinfo import Property


def values_of(properties: Sequence[Property], name: bytes) -> tuple[bytes, ...]:
    """The values of the first property called *name*; none if there is no such property."""
    for prop in properties:
        if prop.name == name:
            return prop.values
    return ()


def says(properties: Sequence[Property], name: bytes, word: bytes) -> bool:
    """Whether a setting has this *word*, such as b"yes", for its first value: in small letters, capitals, or both."""
    return values_of(properties, name)[:1] in ((word,), (word.title(),), (word.upper(),))
