"""What bytes say, field by field: a format and bytes become a tree of fields with their byte ranges and meanings.

The tree is made by interpreted Construct while a tracer listens, so it needs no layout of its own. Truncated or damaged
bytes are explained up to the point of damage, which is named there.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from functools import singledispatch
from typing import Any

import attrs

from wire.codec import FormatError, codec
from wire.formats import blocks, record, xdr
from wire.formats.record import Field, Format, View, WireType, as_format, complete
from wire.formats.sup import SupParams


@attrs.define
class Node:
    """A field, a part of one, or a whole message.

    start, end: its first byte, and the one after its last, counted in the data that was explained.
    value: what the bytes stand for; None where they are damaged.  damage: what is wrong here, if anything is.
    """

    name: str
    kind: WireType
    field: Field | None
    start: int
    end: int
    value: Any = None
    children: list[Node] = attrs.field(factory=list)
    damage: FormatError | None = None

    @property
    def doc(self) -> str:
        """What the field is for, in a sentence; empty for a part such as a length."""
        if self.field is not None:
            return self.field.docs
        return (self.kind.cls.__doc__ or "").strip() if isinstance(self.kind, record.Record) else ""

    @property
    def meaning(self) -> str:
        """The value as a person reads it: names of numbers, addresses, times, flags, text."""
        if self.damage is not None:
            return f"damaged: {self.damage.kind.value}"
        return meaning(self.kind, self.value, self.field.view if self.field is not None else View.PLAIN)

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in the order of their bytes."""
        yield self
        for child in self.children:
            yield from child.walk()

    def leaves(self) -> Iterator[Node]:
        """The nodes that have no parts: together they cover every byte once."""
        return (node for node in self.walk() if not node.children)


class _Trace:
    """Builds the tree from what a parse tells (`wire.formats.record.Tracer`)."""

    def __init__(self, root: Node, base: int, size: int) -> None:
        self.base = base
        self.size = size
        self.open = [root]

    def enter(self, name: str, field: Field | None, kind: WireType, start: int) -> None:
        node = Node(name, kind, field, self.base + start, self.base + start)
        self.open[-1].children.append(node)
        self.open.append(node)

    def leave(self, end: int, value: Any) -> None:
        node = self.open.pop()
        node.end, node.value = self.base + end, value

    def fail(self, error: FormatError) -> None:
        node = self.open.pop()
        node.damage, node.end = error, self.size


def explain(fmt: Format, data: bytes, params: SupParams | None = None, start: int = 0) -> Node:
    """The tree of *data* from byte *start* on, read as *fmt*. Never raises FormatError: damage stands in the tree."""
    kind = as_format(fmt)
    name = kind.cls.__name__ if isinstance(kind, record.Record) else type(kind).__name__
    root = Node(name, kind, None, start, start)
    trace = _Trace(root, start, len(data))
    try:
        root.value = codec(kind, params).interpret(data[start:], tracer=trace)
        root.end = max((child.end for child in root.children), default=start)
        if not root.children:
            root.end = start + len(codec(kind, params).build(root.value))
    except FormatError as error:
        root.damage, root.end = error, len(data)
    root.children = [child for child in root.children if child.end > child.start or child.damage]
    _drop_empty(root)
    return root


def _drop_empty(node: Node) -> None:
    """Forget fields that take no bytes here: those that are absent under the session's parameters."""
    node.children = [child for child in node.children if child.end > child.start or child.damage]
    for child in node.children:
        _drop_empty(child)


# --- meanings -------------------------------------------------------------------------------------------------------

_PROTOCOLS = {6: "TCP", 17: "UDP"}
_PROGRAMS = {100000: "portmap", 200100000: "netinfo", 200100001: "nibind"}


def text(data: bytes) -> str:
    """Bytes as a person reads them: quoted, with escapes for what is not printable ASCII."""
    return '"' + repr(data)[2:-1].replace('"', '\\"').replace("\\'", "'") + '"'


def _number(value: int, view: View) -> str:
    match view:
        case View.HEX:
            return f"{value:#010x}"
        case View.IPV4:
            return str(ipaddress.IPv4Address(value & 0xFFFFFFFF))
        case View.TIME:
            return f"{value} ({time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(value))} UTC)"
        case View.MODE:
            return f"{value:#o}"
        case View.PROGRAM:
            return f"{value} ({_PROGRAMS[value]})" if value in _PROGRAMS else str(value)
        case View.PROTOCOL:
            return f"{value} ({_PROTOCOLS[value]})" if value in _PROTOCOLS else str(value)
        case _:
            return str(value)


def _bytes(value: bytes, view: View) -> str:
    if view is View.COMPLEMENT:
        return f"{text(value)} (inverted: {text(bytes(byte ^ 0xFF for byte in value))})"
    return text(value)


@singledispatch
def meaning(kind: object, value: Any, view: View) -> str:
    """*value* of the wire type *kind* as a person reads it."""
    raise TypeError(f"{kind!r} is not a wire type")


@meaning.register(xdr.Integer)
@meaning.register(blocks.Word)
@meaning.register(blocks.Int)
def _(kind: WireType, value: int, view: View) -> str:
    return _number(value, view)


@meaning.register
def _(kind: xdr.Bool, value: bool, view: View) -> str:
    return "yes" if value else "no"


@meaning.register
def _(kind: xdr.EnumOf, value: int, view: View) -> str:
    return f"{kind.members[value].name} ({int(value)})" if value in kind.members else f"{value} (no name)"


@meaning.register
def _(kind: xdr.FlagsOf, value: int, view: View) -> str:
    names = [str(flag.name) for flag in kind.flags if value & flag]
    return f"{value:#x} ({' '.join(names)})" if names else f"{value:#x}"


@meaning.register
def _(kind: xdr.FixedOpaque, value: bytes, view: View) -> str:
    return value.hex(" ")


@meaning.register(xdr.Opaque)
@meaning.register(blocks.String)
def _(kind: WireType, value: bytes | None, view: View) -> str:
    return "NULL" if value is None else _bytes(value, view)


@meaning.register(xdr.Array)
@meaning.register(xdr.LinkedList)
@meaning.register(blocks.UntilNull)
@meaning.register(blocks.Counted)
def _(kind: WireType, value: tuple[Any, ...], view: View) -> str:
    return "empty" if not value else f"{len(value)} item{'s' if len(value) > 1 else ''}"


@meaning.register(xdr.OptionalOf)
def _(kind: xdr.OptionalOf, value: Any, view: View) -> str:
    return "absent" if value is None else meaning(kind.item, value, view)


@meaning.register
def _(kind: xdr.Within, value: Any, view: View) -> str:
    return meaning(kind.item, value, view)


@meaning.register
def _(kind: record.When, value: Any, view: View) -> str:
    return (
        "absent"
        if value is None and not isinstance(kind.subcon, blocks.String)
        else meaning(kind.subcon, value, view)
    )


@meaning.register
def _(kind: record.Union, value: Any, view: View) -> str:
    if attrs.has(type(value)):
        return type(value).__name__
    if isinstance(value, bytes):
        return _bytes(value, view)
    return "nothing" if value is None else f"{len(value)} items" if isinstance(value, tuple) else str(value)


@meaning.register
def _(kind: record.Void, value: None, view: View) -> str:
    return "nothing"


@meaning.register
def _(kind: record.Field, value: Any, view: View) -> str:
    return meaning(kind.subcon, value, kind.view)


@meaning.register
def _(kind: record.Record, value: Any, view: View) -> str:
    return kind.cls.__name__


@meaning.register
def _(kind: blocks.Const, value: int, view: View) -> str:
    return str(int(kind.number))


@meaning.register
def _(kind: blocks.FileSize, value: int, view: View) -> str:
    return f"{value} bytes follow"


complete(meaning)
