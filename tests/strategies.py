"""Hypothesis strategies made from the formats themselves: values that each can carry, and damaged bytes."""

from __future__ import annotations

import struct
from functools import singledispatch
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st

from wire.codec import codec
from wire.formats import blocks, netinfo, nibind, portmap, record, rpc, sup, xdr
from wire.formats.expressions import evaluate
from wire.formats.record import WireType, complete, of
from wire.formats.sup import SupParams

Strategy = st.SearchStrategy[Any]
Parameters = dict[str, Any]

PROGRAMS = (portmap.PORTMAP, netinfo.NETINFO, nibind.NIBIND)
SESSIONS = [
    SupParams(order, version, list_only)
    for order in "<>"
    for version in range(sup.OLDEST_VERSION, sup.NEWEST_VERSION + 1)
    for list_only in (False, True)
]
A_FEW_EACH = settings(max_examples=max(10, settings().max_examples // 5))
"""For a test of every format: there are a hundred of them, and `make fuzz` multiplies this."""

PLAIN: list[SupParams | None] = [None]
FORMATS: dict[str, tuple[WireType, list[SupParams | None]]] = {
    "rpc.Message": (of(rpc.Message), PLAIN),
    "rpc.FragmentHeader": (of(rpc.FragmentHeader), PLAIN),
    "netinfo.Object": (of(netinfo.Object), PLAIN),
    "sup.Probe": (of(sup.Probe), PLAIN),
    "hypers": (xdr.Array(xdr.HYPER, 3), PLAIN),
    "unsigned hypers": (xdr.Array(xdr.UHYPER, 3), PLAIN),
    **{
        f"{program.name}.{procedure.name} {side}": (getattr(procedure, side), PLAIN)
        for program in PROGRAMS
        for procedure in program.procedures
        for side in ("argument", "result")
    },
    **{f"sup.{number.name}": (of(cls), [*SESSIONS]) for number, cls in sup.MESSAGES.items()},
}
"""Every format there is, with all the parameters that it can be read with."""


@st.composite
def formats(draw: st.DrawFn, name: str) -> tuple[WireType, SupParams | None]:
    """The format *name* under some parameters."""
    kind, parameters = FORMATS[name]
    return kind, draw(st.sampled_from(parameters))


def values(kind: WireType, params: SupParams | None = None) -> Strategy:
    """Values that *kind* can carry, small ones."""
    return strategy(kind, attrs.asdict(params) if params is not None else {}, {})


@st.composite
def damaged(draw: st.DrawFn, kind: WireType, params: SupParams | None = None) -> bytes:
    """Bytes of a value with something done to them: cut, changed, put in, or a word replaced by a telling one."""
    data = bytearray(codec(kind, params).build(draw(values(kind, params))))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "byte", "insert", "word"])):
            case "cut":
                del data[at:]
            case "byte" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "insert":
                data[at:at] = draw(st.binary(max_size=8))
            case _:
                at &= ~3
                word = draw(st.sampled_from([0, 1, 2, 4, -1, -2, -3, 2**31 - 1, -(2**31), 65536, 16385]))
                order = params.order if params is not None else ">"
                data[at : at + 4] = struct.pack(order + "i", word)
    return bytes(data)


NUMBERS = {
    "I": st.integers(0, 2**32 - 1),
    "i": st.integers(-(2**31), 2**31 - 1),
    "q": st.integers(-(2**63), 2**63 - 1),
    "Q": st.integers(0, 2**64 - 1),
}
WORDS = NUMBERS["i"]


@singledispatch
def strategy(kind: object, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    raise TypeError(f"{kind!r} is not a wire type")


@strategy.register
def _(kind: xdr.Integer, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return NUMBERS[kind.letter]


@strategy.register(blocks.Word)
@strategy.register(blocks.Int)
def _(kind: WireType, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return WORDS


@strategy.register
def _(kind: xdr.Bool, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return st.booleans()


@strategy.register
def _(kind: xdr.EnumOf, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    numbers = strategy(kind.base, params, siblings).map(lambda number: kind.members.get(number, number))
    return st.one_of(st.sampled_from(list(kind.enum)), numbers)


@strategy.register
def _(kind: xdr.FlagsOf, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return st.one_of(st.integers(0, 15), strategy(kind.base, params, siblings))


@strategy.register
def _(kind: xdr.FixedOpaque, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return st.binary(min_size=kind.size, max_size=kind.size)


@strategy.register
def _(kind: xdr.Opaque, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return st.binary(max_size=min(kind.limit, 9))


@strategy.register
def _(kind: blocks.String, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    text = st.binary(max_size=min(kind.limit, 9))
    return st.none() | text if kind.nullable else text


@strategy.register(xdr.Array)
@strategy.register(xdr.LinkedList)
@strategy.register(blocks.UntilNull)
@strategy.register(blocks.Counted)
def _(kind: xdr.Array, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return st.lists(strategy(kind.item, params, {}), max_size=min(kind.limit, 3)).map(tuple)


@strategy.register
def _(kind: xdr.OptionalOf, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return st.none() | strategy(kind.item, params, {})


@strategy.register
def _(kind: xdr.Within, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return strategy(kind.item, params, {})


@strategy.register
def _(kind: record.Void, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return st.none()


@strategy.register(blocks.Const)
def _(kind: blocks.Const, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return st.just(kind.number)


@strategy.register
def _(kind: blocks.FileSize, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return st.integers(0, 2**31 - 1)


class Siblings(dict[str, Any]):
    """The fields drawn so far, as an expression's context sees them."""

    _params: Parameters


@strategy.register
def _(kind: record.When, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return strategy(kind.subcon, params, siblings) if evaluate(kind.condition, siblings) else st.none()


@strategy.register
def _(kind: record.Union, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    chosen = kind.arms.get(siblings[kind.discriminant], kind.default)
    return st.nothing() if chosen is None else strategy(chosen, params, {})


@strategy.register
def _(kind: record.Field, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    return strategy(kind.subcon, params, siblings)


@strategy.register
def _(kind: record.Record, params: Parameters, siblings: dict[str, Any]) -> Strategy:
    discriminants = {
        field.subcon.discriminant: list(field.subcon.arms)
        for field in kind.fields
        if isinstance(field.subcon, record.Union) and field.subcon.default is None
    }

    @st.composite
    def drawn(draw: st.DrawFn) -> Any:
        fields = Siblings()
        fields._params = params
        for field in kind.fields:
            if not field.anonymous:
                numbers = discriminants.get(field.name)
                source = strategy(field, params, fields) if numbers is None else st.sampled_from(numbers)
                fields[field.name] = draw(source)
        return kind.cls(**fields)

    return drawn()


complete(strategy)
