"""Formats as straight-line builders: the mirror of `wire.codec.parsing`.

A builder makes the bytes of a value that fits. For one that does not it raises anything at all; `Codec.build` then asks
interpreted Construct, which names the field.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any

from wire.codec.source import Constant, Source, expression
from wire.formats import blocks, record, xdr
from wire.formats.record import WireType, complete

PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
"""By a length's remainder modulo four (RFC 4506 3)."""


class Builder(Source):
    """A builder under construction."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        self.params = params
        self.order = params.get("order", ">")
        self.scopes: list[dict[str, str]] = []
        self.pending: list[tuple[str, str]] = []
        self.constants["PADDING"] = PADDING

    def put(self, letter: str, value: str) -> None:
        """The number that the expression *value* gives."""
        self.pending.append((letter, value))

    def flush(self) -> None:
        if not self.pending:
            return
        pack = self.constant(
            "pack", struct.Struct(self.order + "".join(letter for letter, _ in self.pending)).pack
        )
        self.line(f"append({pack}({', '.join(value for _, value in self.pending)}))")
        self.pending.clear()

    def require(self, condition: str) -> None:
        self.line(f"if not ({condition}): raise ValueError")

    def write(self, kind: WireType, value: str) -> None:
        """Write what appends the bytes of the expression *value*, which is evaluated more than once."""
        build(kind, self, value)


def make_builder(kind: WireType, params: Mapping[str, Any], title: str) -> Callable[[Any], bytes]:
    """``build(value) -> bytes``; raises anything for a value that does not fit."""
    builder = Builder(params)
    builder.line("out = []")
    builder.line("append = out.append")
    builder.write(kind, "value")
    builder.flush()
    builder.line("return b''.join(out)")
    function: Callable[[Any], bytes] = builder.function("build(value)", f"build {title}")
    return function


@singledispatch
def build(kind: object, to: Builder, value: str) -> None:
    raise TypeError(f"{kind!r} is not a wire type")


@build.register
def _(kind: xdr.Integer, to: Builder, value: str) -> None:
    to.put(kind.letter, value)


@build.register
def _(kind: xdr.Bool, to: Builder, value: str) -> None:
    to.require(f"{value} is True or {value} is False")
    to.put("I", value)


@build.register(xdr.EnumOf)
@build.register(xdr.FlagsOf)
def _(kind: xdr.EnumOf | xdr.FlagsOf, to: Builder, value: str) -> None:
    to.write(kind.base, value)


@build.register
def _(kind: xdr.FixedOpaque, to: Builder, value: str) -> None:
    to.require(f"{value}.__class__ is bytes and len({value}) == {kind.size}")
    to.put(f"{kind.size}s{xdr.padding(kind.size)}x", value)


@build.register
def _(kind: xdr.Opaque, to: Builder, value: str) -> None:
    size, data = to.name("n"), to.name("s")
    to.line(f"{data} = {value}")
    to.line(f"{size} = len({data})")
    to.require(f"{data}.__class__ is bytes and {size} <= {kind.limit}")
    to.put("I", size)
    to.flush()
    to.line(f"append({data})")
    to.line(f"if {size} & 3: append(PADDING[{size} & 3])")


def _items(to: Builder, item: WireType, items: str, before: Callable[[], None] | None = None) -> None:
    """Write the loop over the elements of the variable *items*."""
    each = to.name("x")
    with to.block(f"for {each} in {items}:"):
        if before is not None:
            before()
        to.write(item, each)
        to.flush()
        if isinstance(item, record.Void):
            to.line("pass")


def _sequence(to: Builder, value: str, limit: int) -> str:
    items = to.name("items")
    to.line(f"{items} = {value}")
    to.require(f"{items}.__class__ is tuple and len({items}) <= {limit}")
    return items


@build.register
def _(kind: xdr.Array, to: Builder, value: str) -> None:
    items = _sequence(to, value, kind.limit)
    to.put("I", f"len({items})")
    to.flush()
    if isinstance(kind.item, xdr.Integer):
        pack = to.constant("pack", struct.pack)
        to.line(f"append({pack}(f'>{{len({items})}}{kind.item.letter}', *{items}))")
    else:
        _items(to, kind.item, items)


@build.register
def _(kind: xdr.OptionalOf, to: Builder, value: str) -> None:
    item = to.name("x")
    to.line(f"{item} = {value}")
    to.put("I", f"{item} is not None")
    to.flush()
    with to.block(f"if {item} is not None:"):
        to.write(kind.item, item)
        to.flush()
        to.line("pass")


@build.register
def _(kind: xdr.LinkedList, to: Builder, value: str) -> None:
    items = _sequence(to, value, kind.limit)
    to.flush()
    _items(to, kind.item, items, before=lambda: to.put("I", "1"))
    to.put("I", "0")


@build.register
def _(kind: xdr.Within, to: Builder, value: str) -> None:
    outer, data, size = to.name("append"), to.name("data"), to.name("n")
    to.flush()
    to.line(f"{outer}, {data} = append, []")
    to.line(f"append = {data}.append")
    to.write(kind.item, value)
    to.flush()
    to.line(f"append, {data} = {outer}, b''.join({data})")
    to.line(f"{size} = len({data})")
    to.require(f"{size} <= {kind.limit}")
    to.put("I", size)
    to.flush()
    to.line(f"append({data} + PADDING[{size} & 3])")


@build.register
def _(kind: record.Void, to: Builder, value: str) -> None:
    to.require(f"{value} is None")


@build.register
def _(kind: record.Field, to: Builder, value: str) -> None:
    to.write(kind.subcon, value)


@build.register
def _(kind: record.Record, to: Builder, value: str) -> None:
    me = to.name("r")
    to.line(f"{me} = {value}")
    to.require(f"isinstance({me}, {to.constant('cls', kind.cls)})")
    scope = {field.name: f"{me}.{field.name}" for field in kind.fields if not field.anonymous}
    to.scopes.append(scope)
    for condition, fields in record.runs(kind.fields):
        pairs = [(field.subcon, scope.get(field.name, "None")) for field in fields]
        test = Constant(True) if condition is None else expression(condition, scope, to.params)
        if isinstance(test, Constant):
            for item, value in pairs if test.value else ():
                to.write(item, value)
            continue
        to.flush()
        with to.block(f"if {test}:"):
            for item, value in pairs:
                to.write(item, value)
            to.flush()
    to.scopes.pop()


@build.register
def _(kind: record.When, to: Builder, value: str) -> None:
    to.write(kind.subcon, value)


@build.register
def _(kind: record.Union, to: Builder, value: str) -> None:
    number = to.scopes[-1][kind.discriminant]
    to.flush()
    word = "if"
    for member, arm in kind.arms.items():
        with to.block(f"{word} {number} == {int(member)}:"):
            to.write(arm, value)
            to.flush()
            to.line("pass")
        word = "elif"
    with to.block("else:"):
        if kind.default is None:
            to.line("raise ValueError")
        else:
            to.write(kind.default, value)
            to.flush()
            to.line("pass")


@build.register
def _(kind: blocks.Word, to: Builder, value: str) -> None:
    to.put("i", value)


@build.register
def _(kind: blocks.Const, to: Builder, value: str) -> None:
    to.put("i", str(int(kind.number)))


@build.register
def _(kind: blocks.Int, to: Builder, value: str) -> None:
    to.put("i", "4")
    to.put("i", value)


@build.register
def _(kind: blocks.FileSize, to: Builder, value: str) -> None:
    to.require(f"{value} >= 0")
    to.put("i", value)


@build.register
def _(kind: blocks.String, to: Builder, value: str) -> None:
    size, data = to.name("n"), to.name("s")
    to.line(f"{data} = {value}")
    if kind.nullable:
        to.flush()
        to.line(
            f"if {data} is None: append({to.constant('null', struct.pack(to.order + 'i', blocks.NULL_COUNT))})"
        )
        heading = "else:"
    else:
        heading = "if True:"
    with to.block(heading):
        to.line(f"{size} = len({data})")
        to.require(f"{data}.__class__ is bytes and {size} <= {kind.limit}")
        to.put("i", size)
        to.flush()
        to.line(f"append({data})")


@build.register
def _(kind: blocks.UntilNull, to: Builder, value: str) -> None:
    items = _sequence(to, value, kind.limit)
    to.flush()
    _items(to, kind.item, items)
    to.put("i", str(blocks.NULL_COUNT))


@build.register
def _(kind: blocks.Counted, to: Builder, value: str) -> None:
    items = _sequence(to, value, kind.limit)
    to.write(blocks.INT, f"len({items})")
    to.flush()
    _items(to, kind.item, items)


complete(build)
