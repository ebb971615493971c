"""The smallest number of bytes that a format can take, so that a count can be checked before anything is allocated."""

from __future__ import annotations

from functools import cache, singledispatch

from wire.formats import blocks, record, xdr
from wire.formats.record import WireType, complete


@cache
def smallest(kind: WireType) -> int:
    """Bytes that every value of *kind* takes at least, whatever the parameters of the parse."""
    return _smallest(kind)


@singledispatch
def _smallest(kind: object) -> int:
    raise TypeError(f"{kind!r} is not a wire type")


@_smallest.register
def _(kind: xdr.Integer) -> int:
    return kind.size


@_smallest.register
def _(kind: xdr.FixedOpaque) -> int:
    return kind.size + xdr.padding(kind.size)


@_smallest.register(xdr.Bool)
@_smallest.register(xdr.Opaque)
@_smallest.register(xdr.Array)
@_smallest.register(xdr.OptionalOf)
@_smallest.register(xdr.LinkedList)
@_smallest.register(blocks.Word)
@_smallest.register(blocks.Const)
@_smallest.register(blocks.String)
@_smallest.register(blocks.UntilNull)
@_smallest.register(blocks.FileSize)
def _(kind: WireType) -> int:
    return 4


@_smallest.register(blocks.Int)
@_smallest.register(blocks.Counted)
def _(kind: WireType) -> int:
    return 8


@_smallest.register
def _(kind: xdr.Within) -> int:
    return 4 + smallest(kind.item)


@_smallest.register(xdr.EnumOf)
@_smallest.register(xdr.FlagsOf)
def _(kind: xdr.EnumOf | xdr.FlagsOf) -> int:
    return smallest(kind.base)


@_smallest.register(record.When)
@_smallest.register(record.Void)
def _(kind: WireType) -> int:
    return 0


@_smallest.register
def _(kind: record.Field) -> int:
    return smallest(kind.subcon)


@_smallest.register
def _(kind: record.Union) -> int:
    arms = [*kind.arms.values()] + ([kind.default] if kind.default is not None else [])
    return min(smallest(arm) for arm in arms)


@_smallest.register
def _(kind: record.Record) -> int:
    return sum(smallest(field) for field in kind.fields)


complete(_smallest)
