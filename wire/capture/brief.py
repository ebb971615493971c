"""Values of the formats in a line of text: `name=members id=0.5`.

One more visitor over the vocabulary writes, for every format once, the function from a value to its text: an f-string
over the value's fields, compiled on first use, since a summary calls one for every message of a capture.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, singledispatch
from typing import Any

from wire.codec.source import Source
from wire.explain import meaning
from wire.formats import blocks, netinfo, record, xdr
from wire.formats.record import Field, View, WireType, complete

ITEMS = 6
"""Items of a list that a line shows."""
TEXT = 60
"""Characters of a string that a line shows."""

Brief = Callable[[Any], str]
_CLEAR = re.compile(
    rb"[A-Za-z0-9_./*+@%:-]+"
)  # strings that need no quotes to be told from what is around them


@lru_cache(maxsize=4096)
def quoted(data: bytes) -> str:
    """Bytes as a line shows them: as they are if that is clear, else in quotes with escapes; cut if long."""
    shown = data[: TEXT + 1]
    word = shown.decode("ascii") if _CLEAR.fullmatch(shown) else repr(shown)[1:]
    return word if len(data) <= TEXT else f"{word[:TEXT]}… ({len(data)} bytes)"


@lru_cache(maxsize=512)
def brief(kind: WireType, view: View = View.PLAIN, absent: str | None = None) -> Brief:
    """The function that writes values of a wire type in a line; *absent* is what it writes for None."""
    source = Source()
    if absent is not None:
        source.line(f"if it is None: return {absent!r}")
    source.line(f'return f"{_text(kind, view, "it", source)}"')
    made: Brief = source.function("brief(it)", f"brief {type(kind).__name__}")
    return made


@singledispatch
def _text(kind: object, view: View, it: str, source: Source) -> str:
    """What an f-string holds that writes the value which the expression *it* gives; functions that it calls become
    constants of *source*."""
    raise TypeError(f"{kind!r} is not a wire type")


def _call(function: Brief, it: str, source: Source) -> str:
    return f"{{{source.constant('f', function)}({it})}}"


@_text.register(xdr.Integer)
@_text.register(blocks.Word)
@_text.register(blocks.Int)
@_text.register(blocks.FileSize)
def _(kind: WireType, view: View, it: str, source: Source) -> str:
    if view is View.PLAIN:
        return f"{{{it}}}"
    return _call(lambda value: meaning(kind, value, view), it, source)


@_text.register
def _(kind: xdr.Bool, view: View, it: str, source: Source) -> str:
    return _call(lambda value: "yes" if value else "no", it, source)


@_text.register
def _(kind: xdr.EnumOf, view: View, it: str, source: Source) -> str:
    names = {number: str(member.name) for number, member in kind.members.items()}
    return _call(lambda value: names.get(value) or str(value), it, source)


@_text.register
def _(kind: xdr.FlagsOf, view: View, it: str, source: Source) -> str:
    def flags(value: int) -> str:
        return "+".join(str(flag.name) for flag in kind.flags if value & flag) or str(value)

    return _call(flags, it, source)


@_text.register(xdr.FixedOpaque)
@_text.register(xdr.Opaque)
def _(kind: WireType, view: View, it: str, source: Source) -> str:
    return _call(quoted, it, source)


@_text.register
def _(kind: blocks.String, view: View, it: str, source: Source) -> str:
    return _call(lambda value: "NULL" if value is None else quoted(value), it, source)


@_text.register(xdr.Array)
@_text.register(xdr.LinkedList)
@_text.register(blocks.UntilNull)
@_text.register(blocks.Counted)
def _(kind: Any, view: View, it: str, source: Source) -> str:
    one = _item(kind.item, view)

    def items(value: tuple[Any, ...]) -> str:
        shown = ", ".join([one(each) for each in value[:ITEMS]])
        return f"[{shown}]" if len(value) <= ITEMS else f"[{shown}, … {len(value)} in all]"

    return _call(items, it, source)


def _item(kind: WireType, view: View) -> Brief:
    """How an item of a list is written: of most records, the first field says enough."""
    if isinstance(kind, record.Record) and kind.cls is not netinfo.Property:
        first = kind.fields[0]
        name, one = first.name or "", brief(first, view)
        return lambda value: one(getattr(value, name))
    return brief(kind, view)


@_text.register
def _(kind: xdr.OptionalOf, view: View, it: str, source: Source) -> str:
    return _call(brief(kind.item, view, "none"), it, source)


@_text.register
def _(kind: xdr.Within, view: View, it: str, source: Source) -> str:
    return _text(kind.item, view, it, source)


@_text.register
def _(kind: record.When, view: View, it: str, source: Source) -> str:
    return _text(kind.subcon, view, it, source)


@_text.register
def _(kind: record.Union, view: View, it: str, source: Source) -> str:
    (one, *others) = kind.arms.values()
    if others:
        return _call(lambda value: "" if value is None else str(value), it, source)
    return _call(brief(one, view, ""), it, source)


@_text.register
def _(kind: record.Void, view: View, it: str, source: Source) -> str:
    return ""


@_text.register
def _(kind: Field, view: View, it: str, source: Source) -> str:
    return _text(kind.subcon, kind.view, it, source)


@_text.register
def _(kind: record.Record, view: View, it: str, source: Source) -> str:
    if kind.cls is netinfo.NiId:
        return f"{{{it}.object}}.{{{it}.instance}}"
    if kind.cls is netinfo.Property:
        name, values = (_text(field, view, f"{it}.{field.name}", source) for field in kind.fields)
        return f"{name}={values}"
    if kind.cls is netinfo.Result:  # the status has a column of its own
        return _text(kind.fields[1], view, f"{it}.body", source)
    named = [field for field in kind.fields if not field.anonymous]
    if any(isinstance(field.subcon, record.When) for field in named):
        return _call(_some(named), it, source)
    return " ".join(f"{field.name}={_text(field, view, f'{it}.{field.name}', source)}" for field in named)


def _some(fields: list[Field]) -> Brief:
    """Writes a record of which some fields may be absent."""
    rows = [(field.name or "", brief(field), isinstance(field.subcon, record.When)) for field in fields]

    def write(value: Any) -> str:
        found = [(name, one, getattr(value, name), optional) for name, one, optional in rows]
        return " ".join(
            f"{name}={one(member)}"
            for name, one, member, optional in found
            if member is not None or not optional
        )

    return write


@_text.register
def _(kind: blocks.Const, view: View, it: str, source: Source) -> str:
    return f"{{{it}}}"


complete(_text)
