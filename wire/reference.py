"""The reference tables of the docs, made from the formats themselves: every message, number and procedure of a module
of `wire.formats` as MyST Markdown.

One more visitor over the vocabulary says what each wire type is called in the protocol's own terms. `docs/conf.py`
puts the tables into the pages while they are built, so that nothing about a layout is written there by hand.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from enum import IntEnum, IntFlag
from functools import singledispatch
from types import ModuleType
from typing import Any

from wire.formats import blocks, record, xdr
from wire.formats.expressions import Name, Not, Operation, shape
from wire.formats.record import Field, Record, View, WireType, complete
from wire.formats.rpc import Procedure, Program

_XDR_NUMBERS = {"I": "unsigned int", "i": "int", "q": "hyper", "Q": "unsigned hyper"}


def _label(cls: type[Any]) -> str:
    """The name by which any page can link to the table of *cls*."""
    return f"{cls.__module__.rpartition('.')[2]}-{cls.__name__}".lower()


def _link(cls: type[Any]) -> str:
    return f"[{cls.__name__}](#{_label(cls)})"


# --- names of wire types --------------------------------------------------------------------------------------------


@singledispatch
def name_of(kind: object) -> str:
    """What a wire type is called, in Markdown; a message is a link to its own table."""
    raise TypeError(f"{kind!r} is not a wire type")


@name_of.register
def _(kind: xdr.Integer) -> str:
    return _XDR_NUMBERS[kind.letter]


@name_of.register
def _(kind: xdr.Bool) -> str:
    return "bool"


@name_of.register
def _(kind: xdr.EnumOf) -> str:
    return f"{name_of(kind.base)}, {_link(kind.enum)}"


@name_of.register
def _(kind: xdr.FlagsOf) -> str:
    return f"{name_of(kind.base)}, bits of {_link(kind.flags)}"


@name_of.register
def _(kind: xdr.FixedOpaque) -> str:
    return f"`opaque[{kind.size}]`"


@name_of.register
def _(kind: xdr.Opaque) -> str:
    return f"`opaque<{kind.limit}>`"


@name_of.register
def _(kind: xdr.Array) -> str:
    return f"array of at most {kind.limit:,}: {name_of(kind.item)}"


@name_of.register
def _(kind: xdr.OptionalOf) -> str:
    return f"optional: {name_of(kind.item)}"


@name_of.register
def _(kind: xdr.LinkedList) -> str:
    return f"linked list: {name_of(kind.item)}"


@name_of.register
def _(kind: xdr.Within) -> str:
    return f"`opaque<{kind.limit}>` that holds {name_of(kind.item)}"


@name_of.register
def _(kind: blocks.Word) -> str:
    return "bare number"


@name_of.register
def _(kind: blocks.Const) -> str:
    return f"bare number {int(kind.number)}"


@name_of.register
def _(kind: blocks.Int) -> str:
    return "INT"


@name_of.register
def _(kind: blocks.String) -> str:
    return "STRING or NULL" if kind.nullable else "STRING"


@name_of.register
def _(kind: blocks.UntilNull) -> str:
    return f"{name_of(kind.item)}, again and again; then NULL"


@name_of.register
def _(kind: blocks.Counted) -> str:
    return f"INT, and so many: {name_of(kind.item)}"


@name_of.register
def _(kind: blocks.FileSize) -> str:
    return "count of a FILE"


@name_of.register
def _(kind: record.When) -> str:
    return name_of(kind.subcon)


@name_of.register
def _(kind: record.Union) -> str:
    arms = [f"{_arm(number)}: {name_of(arm)}" for number, arm in kind.arms.items()]
    if kind.default is not None:
        arms.append(f"else {name_of(kind.default)}")
    return f"by `{kind.discriminant}`: " + "; ".join(arms)


def _arm(number: int) -> str:
    return number.name if isinstance(number, IntEnum) else str(number)


@name_of.register
def _(kind: record.Void) -> str:
    return "nothing"


@name_of.register
def _(kind: Field) -> str:
    return name_of(kind.subcon)


@name_of.register
def _(kind: Record) -> str:
    link = _link(kind.cls)
    if kind is record.of(kind.cls):
        return link
    *_, body = kind.fields  # the same class with a part of its own, as `result(body)` makes it
    return f"{link} with {_body(body.subcon)}"


def _body(kind: Any) -> str:
    return name_of(next(iter(kind.arms.values()))) if isinstance(kind, record.Union) else name_of(kind)


complete(name_of)


# --- when a field is there ------------------------------------------------------------------------------------------


def condition_of(kind: WireType) -> str:
    """When a field of that wire type is there, as an expression of field names and session parameters."""
    return _words(shape(kind.condition)) if isinstance(kind, record.When) else ""


def _words(node: Any) -> str:
    match node:
        case Name(name, parameter):
            return f"session's {name}" if parameter else name
        case Not(operand):
            return f"not ({_words(operand)})" if isinstance(operand, Operation) else f"not {_words(operand)}"
        case Operation("&", left, right, _) if node.condition:
            return f"{_words(left)} and {_words(right)}"
        case Operation("&", left, right, _):
            return f"({_words(left)} & {_words(right)})"
        case Operation("!=", left, None, _):
            return f"{_words(left)} is not NULL"
        case Operation(symbol, left, right, _):
            return f"{_words(left)} {symbol} {_words(right)}"
        case int() if node > 0o7777:
            return f"{node:#o}"
        case _:
            return str(node)


# --- tables ---------------------------------------------------------------------------------------------------------


def pages(module: ModuleType) -> Iterator[str]:
    """The lines of a module's reference: its programs, its messages in their order, and the numbers that have names."""
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    own = [cls for cls in classes if cls.__module__ == module.__name__]
    for program in (value for value in vars(module).values() if isinstance(value, Program)):
        yield from _program(program)
    yield from ("## Messages", "")
    for cls in own:
        if isinstance(getattr(cls, "FORMAT", None), Record):
            yield from _message(cls)
    enums = [cls for cls in own if issubclass(cls, IntEnum | IntFlag)]
    if enums:
        yield from ("## Numbers with names", "")
    for enum in enums:
        yield from _enum(enum)


def _program(program: Program) -> Iterator[str]:
    yield from (
        "## Procedures",
        "",
        f"Program {program.number} (`{program.number:#010x}`), version {program.version}.",
        "",
    )
    yield from _table(
        ("", "procedure", "arguments", "results", "what it does"),
        [
            (str(each.number), f"`{each.name}`", name_of(each.argument), name_of(each.result), _does(each))
            for each in program.procedures
        ],
    )


def _does(procedure: Procedure) -> str:
    return f"{procedure.doc} *(a write)*" if procedure.mutates else procedure.doc


def _message(cls: type[Any]) -> Iterator[str]:
    fields = record.of(cls).fields
    yield from (f"({_label(cls)})=", f"### {cls.__name__}", "", inspect.getdoc(cls) or "", "")
    if not fields:
        return
    rows = [(f"`{field.name}`", name_of(field), _view(field), field.docs, _only(field)) for field in fields]
    titles = ["field", "on the wire", "shown as", "meaning", "only if"]
    columns = [
        index for index, title in enumerate(titles) if title == "field" or any(row[index] for row in rows)
    ]
    yield from _table(
        [titles[index] for index in columns], [[row[index] for index in columns] for row in rows]
    )


def _view(field: Field) -> str:
    return "" if field.view is View.PLAIN else field.view.value


def _only(field: Field) -> str:
    condition = condition_of(field.subcon)
    return f"`{condition}`" if condition else ""


def _enum(enum: type[IntEnum] | type[IntFlag]) -> Iterator[str]:
    doc = enum.__doc__ or ""
    yield from (f"({_label(enum)})=", f"### {enum.__name__}", "")
    if doc and not doc.startswith("An enumeration"):
        yield from (inspect.cleandoc(doc), "")
    shown = "{:#x}" if issubclass(enum, IntFlag) else "{:d}"
    yield from _table(("number", "name"), [(shown.format(int(each)), f"`{each.name}`") for each in enum])


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield "|" + " --- |" * len(titles)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


# --- pages ----------------------------------------------------------------------------------------------------------

_PLACE = re.compile(r"^<!-- messages: ([a-z]+) -->$", re.MULTILINE)


def expand(page: str) -> str:
    """*page* with every line ``<!-- messages: MODULE -->`` replaced by the reference of that module of `wire.formats`.

    Raises ModuleNotFoundError for one that does not exist.
    """
    from importlib import import_module

    def reference(place: re.Match[str]) -> str:
        return "\n".join(pages(import_module(f"wire.formats.{place[1]}")))

    return _PLACE.sub(reference, page)


__all__ = ["condition_of", "expand", "name_of", "pages"]
