"""What a flat format is: lines out of property lists, and items out of lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum

import attrs

from netinfo.properties import values_of
from wire.formats.netinfo import Property

Properties = Sequence[Property]


class Dialect(Enum):
    """Whose `nidump` and `niload`: NeXT's or Apple's."""

    NEXT = "next"
    APPLE = "apple"


class FlatError(ValueError):
    """A line that the format cannot take; the sentence names it."""


@attrs.frozen
class Item:
    """One directory as a flat file has it."""

    properties: tuple[Property, ...]
    removed: frozenset[bytes] = frozenset()
    """Properties that the file says are not there: NeXT's loader removes them from a directory it finds
    (NETINFO 6.4)."""

    @property
    def name(self) -> bytes:
        """The first value of `name`; empty if there is none."""
        return first(self.properties, b"name")


Dump = Callable[[Properties, Dialect], Iterable[bytes]]
"""The lines of one directory, without newlines."""
Load = Callable[[Iterable[bytes], Dialect], Iterator[Item]]
"""The items in a file's lines. Raises `FlatError`."""


@attrs.frozen
class FlatFormat:
    """One flat file. A format without `load` can only be dumped."""

    name: str
    directory: bytes
    dump: Dump
    load: Load | None = None
    header: tuple[bytes, ...] = ()
    """Lines before the first."""
    is_single: bool = False
    """`directory` itself is what is dumped, not its children."""


def first(properties: Properties, name: bytes, default: bytes = b"") -> bytes:
    """The first value of a property, or *default*."""
    return next(iter(values_of(properties, name)), default)


def rest(properties: Properties, name: bytes) -> tuple[bytes, ...]:
    """The values after the first."""
    return values_of(properties, name)[1:]


def properties_of(*pairs: tuple[bytes, bytes | Sequence[bytes]]) -> tuple[Property, ...]:
    """Properties from (name, value or values) pairs."""
    return tuple(
        Property(name, (value,) if isinstance(value, bytes) else tuple(value)) for name, value in pairs
    )


def uncommented(lines: Iterable[bytes], marks: bytes = b"#") -> Iterator[bytes]:
    """Lines that are not empty, without what follows a `#`."""
    for line in lines:
        text = line.split(marks, 1)[0].rstrip() if marks else line.rstrip(b"\r\n")
        if text:
            yield text


def joined(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their continuations: a backslash at the end, or a blank or tab at the beginning of the
    next."""
    whole = b""
    open_end = False
    for line in lines:
        line = line.rstrip(b"\r\n")
        if whole and (open_end or line[:1] in (b" ", b"\t")):
            whole += b" " + line.lstrip()
        else:
            if whole.strip():
                yield whole
            whole = line
        open_end = whole.endswith(b"\\")
        if open_end:
            whole = whole[:-1].rstrip()
    if whole.strip():
        yield whole
