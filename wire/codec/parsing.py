"""Formats as straight-line parsers: a visitor over the vocabulary writes the Python one would write over `struct`.

Numbers that follow each other are read by one `unpack`, and checked afterwards in their order, so that damage is named
exactly as interpreted Construct names it. In a streaming parser each element of a long list is a point to which
the parser commits; when bytes run out it yields how far it has come and goes on from there with more.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import singledispatch
from typing import Any

import attrs

from wire.codec.source import Constant, Source, expression
from wire.formats import blocks, record, xdr
from wire.formats.errors import Damage, FormatError
from wire.formats.record import WireType, complete
from wire.formats.sizes import smallest


@attrs.frozen
class Item:
    """One number of a group: its `struct` letter, its field, and what must not be true of it."""

    letter: str
    size: int
    path: str
    flaw: Flaw | None


@attrs.frozen
class Flaw:
    """How a damaged number is told: by comparing it with a constant."""

    damage: Damage
    symbol: str
    number: int

    def of(self, variable: str) -> str:
        """The test as source."""
        return f"{variable} {self.symbol} {self.number}"

    def in_value(self, value: Any) -> bool:
        return bool(_COMPARE[self.symbol](value, self.number))


_COMPARE = {">": operator.gt, "<": operator.lt, "!=": operator.ne}


@attrs.frozen
class Group:
    """Numbers read by one unpack."""

    order: str
    items: tuple[Item, ...]

    def damage(self, data: bytes, pos: int, end: int, indices: tuple[int, ...]) -> FormatError:
        """Which of the numbers at *pos* is damaged, the first in order."""
        for item in self.items:
            path = item.path.format(*indices)
            if pos + item.size > end:
                return FormatError(Damage.TRUNCATED, path, pos)
            (value,) = struct.unpack_from(self.order + item.letter, data, pos)
            if item.flaw is not None and item.flaw.in_value(value):
                return FormatError(item.flaw.damage, path, pos)
            pos += item.size
        raise AssertionError("the group is not damaged")


class Parser(Source):
    """A parser under construction."""

    def __init__(self, params: Mapping[str, Any], streaming: bool) -> None:
        super().__init__()
        self.params = params
        self.order = params.get("order", ">")
        self.streaming = streaming
        self.conditional = 0
        self.scopes: list[dict[str, str]] = []
        self.indices: list[str] = []
        self.raw: dict[str, str] = {}
        self.pending: list[tuple[str, Item]] = []
        self.deferred: list[str] = []
        self.constants.update(FormatError=FormatError, Damage=Damage)

    def take(self, letter: str, path: str, flaw: Flaw | None = None) -> str:
        """A variable that holds the next number."""
        variable = self.name("v")
        self.pending.append((variable, Item(letter, struct.calcsize("=" + letter), path, flaw)))
        return variable

    def defer(self, line: str) -> None:
        """A line that may use what was taken: written after the next unpack."""
        self.deferred.append(line)

    def flush(self) -> None:
        """Write the unpack of what was taken, and the lines deferred until then."""
        if self.pending:
            self._unpack()
        for line in self.deferred:
            self.line(line)
        self.deferred.clear()

    def _unpack(self) -> None:
        variables = ", ".join(variable for variable, _ in self.pending)
        items = tuple(item for _, item in self.pending)
        tests = " or ".join(item.flaw.of(variable) for variable, item in self.pending if item.flaw)
        self.pending.clear()
        layout = struct.Struct(self.order + "".join(item.letter for item in items))
        unpack = self.constant("unpack", layout.unpack_from)
        group = self.constant("group", Group(self.order, items))
        indices = self.index_tuple()
        self.line(f"if pos + {layout.size} > end: raise {group}.damage(data, pos, end, {indices})")
        self.line(f"{variables}{',' if len(items) == 1 else ''} = {unpack}(data, pos)")
        if tests:
            self.line(f"if {tests}: raise {group}.damage(data, pos, end, {indices})")
        self.line(f"pos += {layout.size}")

    def index_tuple(self) -> str:
        return "(" + "".join(f"{index}, " for index in self.indices) + ")"

    def fail(self, damage: Damage, path: str, offset: str) -> str:
        return f"raise FormatError(Damage.{damage.name}, {path!r}.format(*{self.index_tuple()}), {offset})"

    def value(self, kind: WireType, path: str) -> str:
        """Write what reads *kind*; the expression of its value, evaluated where it is used."""
        return str(parse(kind, self, path))

    def settled(self, kind: WireType, path: str, variable: str) -> None:
        """Write what reads *kind* and assigns it to *variable*."""
        value = self.value(kind, path)
        self.flush()
        self.line(f"{variable} = {value}")

    @contextmanager
    def branch(self, heading: str) -> Iterator[None]:
        """A block that may not be run: nothing in it is committed to."""
        self.conditional += 1
        with self.block(heading):
            yield
        self.conditional -= 1

    @contextmanager
    def choice(self) -> Iterator[Callable[[str], AbstractContextManager[None]]]:
        """Blocks of which exactly one is run. A streaming parser has committed to what is before them, and commits
        in them."""
        if not self.commits:
            self.flush()
            yield self.branch
            return
        self.close_commit()
        yield self._chosen
        self.open_commit()

    @contextmanager
    def _chosen(self, heading: str) -> Iterator[None]:
        with self.block(heading):
            self.open_commit()
            yield
            self.close_commit()

    @contextmanager
    def loop(self, heading: str, items: str) -> Iterator[None]:
        """A block that reads one element of the list *items* and appends it; nothing in it is committed to."""
        self.indices.append(f"len({items})")
        with self.branch(heading):
            yield
        self.indices.pop()

    @contextmanager
    def elements(self, items: str) -> Iterator[None]:
        """A loop that reads elements of the list *items* until it breaks. A streaming parser commits to each."""
        commits = self.commits
        if commits:
            self.close_commit()
        self.flush()
        self.line(f"{items} = []")
        self.indices.append(f"len({items})")
        self.conditional += 1
        if commits:
            self.open_commit()
            yield
            self.close_commit("continue")
        else:
            with self.block("while True:"):
                yield
        self.conditional -= 1
        self.indices.pop()
        if commits:
            self.open_commit()

    @property
    def commits(self) -> bool:
        """Whether what is written now is run exactly once, so that a streaming parser may commit to it."""
        return self.streaming and not self.conditional

    def open_commit(self) -> None:
        if self.streaming:
            self.line("while True:")
            self.line("    mark = pos")
            self.line("    try:")
            self.depth += 2

    def close_commit(self, leave: str = "break") -> None:
        self.flush()
        if self.streaming:
            self.line(leave)
            self.depth -= 1
            self.line("except FormatError as error:")
            self.line("    if error.kind is not Damage.TRUNCATED: raise")
            self.line("data, pos, end = yield mark")
            self.depth -= 1


def make_parser(kind: WireType, params: Mapping[str, Any], title: str) -> Callable[..., tuple[Any, int]]:
    """``parse(data: bytes, pos: int = 0) -> (value, position after it)``; raises FormatError."""
    parser = Parser(params, streaming=False)
    parser.line("end = len(data)")
    value = parser.value(kind, "")
    parser.flush()
    parser.line(f"return {value}, pos")
    function: Callable[..., tuple[Any, int]] = parser.function("parse(data, pos=0)", f"parse {title}")
    return function


def make_resumable(kind: WireType, params: Mapping[str, Any], title: str) -> Callable[..., Any]:
    """``resume(data, pos, end)``: a generator that yields the position it has committed to whenever it needs more
    bytes, is sent ``(data, pos, end)``, and returns ``(value, position after it)``."""
    parser = Parser(params, streaming=True)
    parser.open_commit()
    value = parser.value(kind, "")
    parser.close_commit()
    parser.line(f"return {value}, pos")
    function: Callable[..., Any] = parser.function("resume(data, pos, end)", f"stream {title}")
    return function


@singledispatch
def parse(kind: object, to: Parser, path: str) -> str:
    raise TypeError(f"{kind!r} is not a wire type")


@parse.register
def _(kind: xdr.Integer, to: Parser, path: str) -> str:
    return to.take(kind.letter, path)


@parse.register
def _(kind: xdr.Bool, to: Parser, path: str) -> str:
    return f"({to.take('I', path, Flaw(Damage.BOOL, '>', 1))} == 1)"


@parse.register
def _(kind: xdr.EnumOf, to: Parser, path: str) -> str:
    number = to.value(kind.base, path)
    value = f"{to.constant('member', kind.members.get)}({number}, {number})"
    to.raw[value] = number
    return value


@parse.register
def _(kind: xdr.FlagsOf, to: Parser, path: str) -> str:
    return to.value(kind.base, path)


@parse.register
def _(kind: xdr.FixedOpaque, to: Parser, path: str) -> str:
    return to.take(f"{kind.size}s", path) if not xdr.padding(kind.size) else _padded(kind.size, to, path)


def _padded(size: int, to: Parser, path: str) -> str:
    return f"{to.take(f'{size + xdr.padding(size)}s', path)}[:{size}]"


@parse.register
def _(kind: xdr.Opaque, to: Parser, path: str) -> str:
    size, value = to.take("I", path), to.name("v")
    to.flush()
    to.line(f"if {size} > {kind.limit}: {to.fail(Damage.LIMIT, path, 'pos - 4')}")
    to.line(f"{value} = data[pos:pos + {size}]")
    to.line(f"pos += {size} + (-{size} & 3)")
    to.line(f"if pos > end: {to.fail(Damage.TRUNCATED, path, f'pos - {size} - (-{size} & 3) - 4')}")
    return value


@parse.register
def _(kind: xdr.Array, to: Parser, path: str) -> str:
    count = to.take("I", path)
    to.flush()
    to.line(f"if {count} > {kind.limit}: {to.fail(Damage.LIMIT, path, 'pos - 4')}")
    too_many = f"{count} * {smallest(kind.item)} > end - pos"
    to.line(f"if {too_many}: {to.fail(Damage.TRUNCATED, path, 'pos - 4')}")
    if isinstance(kind.item, xdr.Integer):
        numbers = to.name("v")
        unpack = to.constant("unpack", struct.unpack_from)
        to.line(f"{numbers} = {unpack}(f'>{{{count}}}{kind.item.letter}', data, pos)")
        to.line(f"pos += {count} * {kind.item.size}")
        return numbers
    items = to.name("items")
    to.line(f"{items} = []")
    with to.loop(f"for _ in range({count}):", items):
        value = to.value(kind.item, f"{path}[{{{len(to.indices) - 1}}}]")
        to.flush()
        to.line(f"{items}.append({value})")
    return f"tuple({items})"


@parse.register
def _(kind: xdr.OptionalOf, to: Parser, path: str) -> str:
    present, value = to.value(xdr.BOOL, path), to.name("v")
    to.flush()
    to.line(f"{value} = None")
    with to.branch(f"if {present}:"):
        to.settled(kind.item, path, value)
    return value


@parse.register
def _(kind: xdr.LinkedList, to: Parser, path: str) -> str:
    items = to.name("items")
    with to.elements(items):
        here = f"{path}[{{{len(to.indices) - 1}}}]"
        more = to.value(xdr.BOOL, here)
        to.flush()
        to.line(f"if not {more}: break")
        to.line(f"if len({items}) == {kind.limit}: {to.fail(Damage.LIMIT, path, 'pos - 4')}")
        value = to.value(kind.item, here)
        to.flush()
        to.line(f"{items}.append({value})")
    return f"tuple({items})"


@parse.register
def _(kind: xdr.Within, to: Parser, path: str) -> str:
    size, outer, padded, value = to.take("I", path), to.name("end"), to.name("padded"), to.name("v")
    to.flush()
    to.line(f"if {size} > {kind.limit}: {to.fail(Damage.LIMIT, path, 'pos - 4')}")
    to.line(f"{padded} = pos + {size} + (-{size} & 3)")
    to.line(f"if {padded} > end: {to.fail(Damage.TRUNCATED, path, 'pos - 4')}")
    to.line(f"{outer}, end = end, pos + {size}")
    to.conditional += 1  # a committing parser would take its data's end for the item's
    to.settled(kind.item, path, value)
    to.conditional -= 1
    to.line(f"if pos != end: {to.fail(Damage.TRAILING, path, 'pos')}")
    to.line(f"pos, end = {padded}, {outer}")
    return value


@parse.register
def _(kind: record.Void, to: Parser, path: str) -> str:
    return "None"


@parse.register
def _(kind: record.Field, to: Parser, path: str) -> str:
    return to.value(kind.subcon, record.child(path, kind.name))


@parse.register
def _(kind: record.Record, to: Parser, path: str) -> str:
    scope: dict[str, str] = {}
    to.scopes.append(scope)
    values = []
    for condition, fields in record.runs(kind.fields):
        for field, value in zip(fields, _under(condition, fields, to, path), strict=True):
            if not field.anonymous:
                scope[field.name] = to.raw.get(value, value)
                values.append(value)
    to.scopes.pop()
    made = to.name("r")
    to.defer(f"{made} = {to.constant('thawed', kind.cls.THAWED)}({', '.join(values)})")
    to.defer(f"{made}.__class__ = {to.constant('cls', kind.cls)}")
    return made


def _under(condition: Any, fields: list[record.Field], to: Parser, path: str) -> Iterator[str]:
    """Write what reads neighbouring fields that are there under one condition (None: always), one value at a time:
    a union needs the fields before it in scope."""
    test = Constant(True) if condition is None else expression(condition, to.scopes[-1], to.params)
    places = [(record.child(path, field.name), _present(field)) for field in fields]
    if isinstance(test, Constant):
        for here, kind in places:
            yield to.value(kind, here) if test.value else "None"
        return
    variables = [to.name("v") for _ in fields]
    to.flush()
    to.line(f"{' = '.join(variables)} = None")
    with to.branch(f"if {test}:"):
        values = [to.value(kind, here) for here, kind in places]
        to.flush()
        to.line(f"{', '.join(variables)} = {', '.join(values)}")
    yield from variables


def _present(field: record.Field) -> WireType:
    """What *field* is when it is there."""
    return field.subcon.subcon if isinstance(field.subcon, record.When) else field.subcon


@parse.register
def _(kind: record.When, to: Parser, path: str) -> str:
    raise TypeError("When stands only directly in a field of a record")


@parse.register
def _(kind: record.Union, to: Parser, path: str) -> str:
    number, value = to.scopes[-1][kind.discriminant], to.name("v")
    with to.choice() as block:
        word = "if"
        for member, arm in kind.arms.items():
            with block(f"{word} {number} == {int(member)}:"):
                to.settled(arm, path, value)
            word = "elif"
        with block("else:"):
            if kind.default is None:
                to.line(to.fail(Damage.UNION, path, "pos"))
            else:
                to.settled(kind.default, path, value)
    return value


@parse.register
def _(kind: blocks.Word, to: Parser, path: str) -> str:
    return to.take("i", path)


@parse.register
def _(kind: blocks.Const, to: Parser, path: str) -> str:
    return to.take("i", path, Flaw(Damage.CONST, "!=", int(kind.number)))


@parse.register
def _(kind: blocks.Int, to: Parser, path: str) -> str:
    to.take("i", path, Flaw(Damage.COUNT, "!=", 4))
    return to.take("i", path)


@parse.register
def _(kind: blocks.FileSize, to: Parser, path: str) -> str:
    return to.take("i", path, Flaw(Damage.COUNT, "<", 0))


@parse.register
def _(kind: blocks.String, to: Parser, path: str) -> str:
    size, value = to.take("i", path), to.name("v")
    to.flush()
    with to.branch(f"if {size} >= 0:"):
        to.line(f"if {size} > {kind.limit}: {to.fail(Damage.LIMIT, path, 'pos - 4')}")
        to.line(f"{value} = data[pos:pos + {size}]")
        to.line(f"pos += {size}")
        to.line(f"if pos > end: {to.fail(Damage.TRUNCATED, path, f'pos - {size} - 4')}")
    if kind.nullable:
        to.line(f"elif {size} == {blocks.NULL_COUNT}: {value} = None")
    to.line(f"else: {to.fail(Damage.COUNT, path, 'pos - 4')}")
    return value


@parse.register
def _(kind: blocks.UntilNull, to: Parser, path: str) -> str:
    items = to.name("items")
    null = to.constant("null", struct.pack(to.order + "i", blocks.NULL_COUNT))
    with to.elements(items):
        here = f"{path}[{{{len(to.indices) - 1}}}]"
        to.line(f"if pos + 4 > end: {to.fail(Damage.TRUNCATED, here, 'pos')}")
        with to.block(f"if data[pos:pos + 4] == {null}:"):
            to.line("pos += 4")
            to.line("break")
        to.line(f"if len({items}) == {kind.limit}: {to.fail(Damage.LIMIT, path, 'pos')}")
        value = to.value(kind.item, here)
        to.flush()
        to.line(f"{items}.append({value})")
    return f"tuple({items})"


@parse.register
def _(kind: blocks.Counted, to: Parser, path: str) -> str:
    count, items = to.value(blocks.INT, path), to.name("items")
    to.flush()
    to.line(f"if {count} < 0: {to.fail(Damage.COUNT, path, 'pos - 8')}")
    to.line(f"if {count} > {kind.limit}: {to.fail(Damage.LIMIT, path, 'pos - 8')}")
    to.line(f"{items} = []")
    with to.loop(f"for _ in range({count}):", items):
        value = to.value(kind.item, f"{path}[{{{len(to.indices) - 1}}}]")
        to.flush()
        to.line(f"{items}.append({value})")
    return f"tuple({items})"


complete(parse)
