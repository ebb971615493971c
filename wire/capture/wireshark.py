"""Wireshark's dissectors for NetInfo, nibind and SUP, as one Lua file.

One visitor over the vocabulary turns every wire type into the call of the Lua function that reads it, which
stand, written by hand once, in ``wireshark.lua`` beside this module; every field of every message becomes a
field that Wireshark filters by.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import singledispatchmethod
from importlib.resources import files
from typing import Any

import attrs

from wire.capture.values import DIRECTORY_NAMES
from wire.formats import blocks, record, rpc, sup, xdr
from wire.formats.expressions import Name, Not, Operation, shape
from wire.formats.netinfo import NETINFO
from wire.formats.nibind import NIBIND
from wire.formats.record import Field, View, WireType, as_format, complete, of
from wire.formats.rpc import Program
from wire.formats.sizes import smallest

RESERVED = range(600, 1024)
"""Ports that NetInfo's daemons take by themselves (NETINFO 1.1)."""
HEADER = "rpc"
"""What the fields of RPC's own header are named after: ``netinfo.rpc.xid``."""


@attrs.frozen
class Leaf:
    """How Wireshark keeps and shows a field: its kind of field, its base, and names of its numbers."""

    kind: str
    base: str = ""
    names: tuple[tuple[int, str], ...] = ()

    def declaration(self, abbreviation: str, name: str, doc: str) -> str:
        """The Lua that makes the field."""
        parts = [quoted(abbreviation), quoted(name)]
        if self.base:
            parts.append(self.base)
            parts.append(table_of(self.names) if self.names else "nil")
            if doc:
                parts += ["nil", quoted(doc)]
        return f"ProtoField.{self.kind}({', '.join(parts)})"


def quoted(text: str) -> str:
    """A Lua string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'


def table_of(names: tuple[tuple[int, str], ...]) -> str:
    """A Lua table from numbers to names."""
    return "{ " + ", ".join(f"[{number}] = {quoted(name)}" for number, name in names) + " }"


_BASES = {View.HEX: "base.HEX", View.MODE: "base.OCT"}
_KINDS = {"I": "uint32", "i": "int32", "q": "int64", "Q": "uint64"}


def leaf_of(kind: WireType, view: View) -> Leaf | None:
    """How a field of this wire type is kept; None for one that has fields of its own."""
    match kind:
        case xdr.EnumOf():
            base = leaf_of(kind.base, view)
            assert base is not None
            return attrs.evolve(base, names=tuple((int(member), member.name) for member in kind.enum))
        case xdr.FlagsOf():
            return Leaf("uint32", "base.HEX")
        case xdr.Integer() if view is View.IPV4:
            return Leaf("ipv4")
        case xdr.Integer():
            return Leaf(_KINDS[kind.letter], _BASES.get(view, "base.DEC"))
        case blocks.Int() | blocks.Word() | blocks.FileSize() | blocks.Const():
            return Leaf("uint32" if view in _BASES else "int32", _BASES.get(view, "base.DEC"))
        case xdr.Bool():
            return Leaf("uint32", "base.DEC", ((0, "no"), (1, "yes")))
        case xdr.Opaque() | blocks.String():
            return Leaf("bytes") if view is View.COMPLEMENT else Leaf("string")
        case xdr.FixedOpaque():
            return Leaf("bytes")
        case xdr.Array() | xdr.LinkedList() | blocks.UntilNull() | blocks.Counted() | xdr.OptionalOf():
            return leaf_of(kind.item, view)
        case record.When():
            return leaf_of(kind.subcon, view)
        case record.Union():
            arms = [leaf_of(arm, view) for arm in [*kind.arms.values(), kind.default] if arm is not None]
            return next((leaf for leaf in arms if leaf is not None), None)
        case _:
            return None


def fields_below(kind: WireType) -> Iterator[tuple[str, Field]]:
    """Every field in a format, with the name of its record; each record once."""
    seen: set[int] = set()

    def visit(kind: WireType) -> Iterator[tuple[str, Field]]:
        if id(kind) in seen:
            return
        seen.add(id(kind))
        match kind:
            case record.Record():
                for field in kind.fields:
                    yield kind.cls.__name__, field
                    yield from visit(field.subcon)
            case record.Union():
                for arm in [*kind.arms.values(), kind.default]:
                    if arm is not None:
                        yield from visit(arm)
            case record.When() | Field():
                yield from visit(kind.subcon)
            case xdr.Array() | xdr.LinkedList() | xdr.OptionalOf() | xdr.Within():
                yield from visit(kind.item)
            case blocks.UntilNull() | blocks.Counted():
                yield from visit(kind.item)

    return visit(kind)


class Names:
    """The abbreviations of a protocol's fields: ``netinfo.key``, or where one name means two things
    ``netinfo.entry.id``.
    """

    def __init__(
        self,
        prefix: str,
        formats: list[WireType],
        own: Mapping[tuple[str, str], tuple[str, Leaf]] | None = None,
    ) -> None:
        """*own*: fields, by record and name, which are kept under an abbreviation and in a way of their own."""
        found: dict[str, dict[str, tuple[Leaf, str]]] = {}
        for fmt in formats:
            for owner, field in fields_below(fmt):
                leaf = None if field.anonymous else leaf_of(field.subcon, field.view)
                if leaf is not None:
                    found.setdefault(field.name or "", {})[owner] = (leaf, field.docs)
        self._abbreviations: dict[tuple[str, str], str] = {}
        self.leaves: dict[str, tuple[Leaf, str, str]] = {}
        for (owner, name), (abbreviation, leaf) in (own or {}).items():
            _, doc = found[name].pop(owner)
            self._abbreviations[owner, name] = abbreviation
            self.leaves[abbreviation] = (leaf, name, doc)
        for name, owners in found.items():
            alike = len({leaf for leaf, _ in owners.values()}) == 1
            for owner, (leaf, doc) in owners.items():
                abbreviation = f"{prefix}.{name}" if alike else f"{prefix}.{owner.lower()}.{name}"
                self._abbreviations[owner, name] = abbreviation
                self.leaves.setdefault(abbreviation, (leaf, name, doc if len(owners) == 1 else ""))

    def get(self, owner: str, name: str) -> str | None:
        """The abbreviation of a record's field; None if it has fields of its own."""
        return self._abbreviations.get((owner, name))


class Generator:
    """Writes the Lua of one protocol's formats.

    Records become local variables, in the order in which they are needed.
    """

    def __init__(self, names: Names, title: str) -> None:
        self._names = names
        self._title = title
        self._done: dict[int, str] = {}
        self.lines: list[str] = []

    def lua(self, kind: WireType) -> str:
        """The Lua expression that reads *kind*."""
        return self._lua(kind)

    @singledispatchmethod
    def _lua(self, kind: object) -> str:
        raise TypeError(f"{kind!r} is not a wire type")

    @_lua.register
    def _(self, kind: xdr.Integer) -> str:
        return f"integer({kind.size}, {str(kind.letter.islower()).lower()})"

    @_lua.register
    def _(self, kind: xdr.Bool) -> str:
        return "bool()"

    @_lua.register
    def _(self, kind: xdr.EnumOf) -> str:
        return f"enum({table_of(tuple((int(one), one.name) for one in kind.enum))}, {self.lua(kind.base)})"

    @_lua.register
    def _(self, kind: xdr.FlagsOf) -> str:
        flags = ", ".join(f"{{ {int(flag)}, {quoted(str(flag.name))} }}" for flag in kind.flags)
        return f"flags({{ {flags} }}, {self.lua(kind.base)})"

    @_lua.register
    def _(self, kind: xdr.FixedOpaque) -> str:
        return f"fixed({kind.size})"

    @_lua.register
    def _(self, kind: xdr.Opaque) -> str:
        return f"opaque({kind.limit})"

    @_lua.register
    def _(self, kind: xdr.Array) -> str:
        return f"array({self.lua(kind.item)}, {kind.limit}, {smallest(kind.item)})"

    @_lua.register
    def _(self, kind: xdr.OptionalOf) -> str:
        return f"optional({self.lua(kind.item)})"

    @_lua.register
    def _(self, kind: xdr.LinkedList) -> str:
        return f"list({self.lua(kind.item)}, {kind.limit})"

    @_lua.register
    def _(self, kind: xdr.Within) -> str:
        return f"within({self.lua(kind.item)}, {kind.limit})"

    @_lua.register
    def _(self, kind: blocks.Word) -> str:
        return "word()"

    @_lua.register
    def _(self, kind: blocks.Const) -> str:
        return f"const({int(kind.number)})"

    @_lua.register
    def _(self, kind: blocks.Int) -> str:
        return "int()"

    @_lua.register
    def _(self, kind: blocks.String) -> str:
        return f"string_({str(kind.nullable).lower()}, {kind.limit})"

    @_lua.register
    def _(self, kind: blocks.UntilNull) -> str:
        return f"until_null({self.lua(kind.item)}, {kind.limit})"

    @_lua.register
    def _(self, kind: blocks.Counted) -> str:
        return f"counted({self.lua(kind.item)}, {kind.limit})"

    @_lua.register
    def _(self, kind: blocks.FileSize) -> str:
        return "file_size()"

    @_lua.register
    def _(self, kind: record.Void) -> str:
        return "void()"

    @_lua.register
    def _(self, kind: record.When) -> str:
        return f"when(function(it, params) return {condition(kind.condition)} end, {self.lua(kind.subcon)})"

    @_lua.register
    def _(self, kind: record.Union) -> str:
        arms = ", ".join(f"[{int(number)}] = {self.lua(arm)}" for number, arm in kind.arms.items())
        default = "nil" if kind.default is None else self.lua(kind.default)
        return f"union({quoted(kind.discriminant)}, {{ {arms} }}, {default})"

    @_lua.register
    def _(self, kind: Field) -> str:
        return self.lua(kind.subcon)

    @_lua.register
    def _(self, kind: record.Record) -> str:
        if id(kind) not in self._done:
            owner = kind.cls.__name__
            rows = []
            for field in kind.fields:
                abbreviation = None if field.anonymous else self._names.get(owner, field.name or "")
                shown = f"F[{quoted(abbreviation)}]" if abbreviation else "nil"
                rows.append(
                    f"    {{ {quoted(field.name or '')}, {self.lua(field)}, {shown}, {quoted(field.docs)} }},"
                )
            name = f"{self._title}.{owner}{len(self._done) or ''}"
            self.lines += [f"{name} = record({quoted(owner)}, {{", *rows, "})"]
            self._done[id(kind)] = name
        return self._done[id(kind)]


complete(Generator.__dict__["_lua"].dispatcher)


def condition(expression: Any) -> str:
    """A `this` expression as Lua, over ``it`` (the fields before) and ``params``."""
    return _condition(shape(expression))


_SYMBOLS = {"!=": "~="}


def _condition(node: Any) -> str:
    match node:
        case Name(name, parameter):
            return f"{'params' if parameter else 'it'}.{name}"
        case Not(operand):
            return f"(not {_condition(operand)})"
        case Operation(symbol, left, right):
            first, second = _condition(left), _condition(right)
            if symbol == "&":
                return f"({first} and {second})" if node.condition else f"has({first}, {second})"
            return f"({first} {_SYMBOLS.get(symbol, symbol)} {second})"
        case None:
            return "nil"
        case literal:
            return str(int(literal))


# -------------------------------------------------------------------------------------------------- protocols


def plugin() -> str:
    """The whole Lua file."""
    runtime = files("wire.capture").joinpath("wireshark.lua").read_text(encoding="utf-8")
    parts = [runtime, "local F = {}\n"]
    parts += [_rpc_protocol(program, title) for program, title in ((NETINFO, "NetInfo"), (NIBIND, "nibind"))]
    parts.append(_sup_protocol())
    parts += [
        f'ask_first("{transport}", {RESERVED.start}, {RESERVED.stop - 1})' for transport in ("tcp", "udp")
    ]
    parts.append("ask_last()\n")
    return "\n".join(parts)


def rpc_names(program: Program) -> tuple[Names, Names]:
    """The abbreviations of a program's own fields, and of RPC's header before them."""
    formats = [fmt for procedure in program.procedures for fmt in (procedure.argument, procedure.result)]
    procedures = tuple((procedure.number, procedure.name) for procedure in program.procedures)
    called = (f"{program.name}.procedure", Leaf("uint32", "base.DEC", procedures))
    header = Names(f"{program.name}.{HEADER}", [of(rpc.Message)], {("Call", "procedure"): called})
    return Names(program.name, formats), header


def sup_names() -> Names:
    """The abbreviations of SUP's fields."""
    return Names("sup", [as_format(message) for message in sup.MESSAGES.values()])


def bare_name(kind: WireType, called: bool) -> str:
    """What arguments or results are named that are no record: a status, or just argument and result."""
    return "status" if isinstance(kind, xdr.EnumOf) else "argument" if called else "result"


def _declared(proto: str, leaves: dict[str, tuple[Leaf, str, str]]) -> list[str]:
    lines = [
        f"F[{quoted(abbreviation)}] = {leaf.declaration(abbreviation, name, doc)}"
        for abbreviation, (leaf, name, doc) in leaves.items()
    ]
    lines.append(
        f"{proto}.fields = {{ {', '.join(f'F[{quoted(abbreviation)}]' for abbreviation in leaves)} }}"
    )
    return lines


def _rpc_protocol(program: Program, title: str) -> str:
    own, header = rpc_names(program)
    name = program.name
    bare = {
        f"{name}.{bare_name(kind, called)}": (leaf, bare_name(kind, called), "")
        for procedure in program.procedures
        for kind, called in ((procedure.argument, True), (procedure.result, False))
        if (leaf := leaf_of(kind, View.PLAIN)) is not None
    }
    leaves = header.leaves | own.leaves
    leaves |= {key: found for key, found in bare.items() if key not in leaves}
    leaves |= {
        f"{name}.directory": (Leaf("uint32", "base.DEC"), "directory", "number of the directory it is about"),
        f"{name}.mark": (Leaf("uint32", "base.HEX"), "record mark", "before each fragment of a record"),
        f"{name}.call": (Leaf("framenum", "base.NONE"), "call", ""),
        f"{name}.latency": (Leaf("relative_time"), "time since the call", ""),
    }
    lines = [
        "do",
        f"local proto = Proto({quoted(name)}, {quoted(title)})",
        *_declared("proto", leaves),
        "local damaged = ProtoExpert.new("
        + quoted(f"{name}.damaged")
        + ', "Damaged", expert.group.PROTOCOL, expert.severity.NOTE)',
        "proto.experts = { damaged }",
        f"local {HEADER}, own = {{}}, {{}}",
    ]
    heads = Generator(header, HEADER)
    message = heads.lua(of(rpc.Message))
    bodies = Generator(own, "own")
    rows = []
    for procedure in program.procedures:
        pair = f"{bodies.lua(procedure.argument)}, {bodies.lua(procedure.result)}"
        fields = [
            f"F[{quoted(f'{name}.{bare_name(kind, called)}')}]"
            if leaf_of(kind, View.PLAIN) is not None
            else "nil"
            for kind, called in ((procedure.argument, True), (procedure.result, False))
        ]
        rows.append(
            f"    [{procedure.number}] = {{ {quoted(procedure.name)}, {pair}, {', '.join(fields)} }},"
        )
    lines += [*heads.lines, *bodies.lines, "rpc_dissector({"]
    lines += [
        f"    proto = proto, number = {program.number}, version = {program.version}, title = {quoted(title)},",
        f"    header = {message}, damaged = damaged, directory = {{ {', '.join(map(quoted, DIRECTORY_NAMES))} }},",
        "    fields = {",
        *(
            f"        {key} = F[{quoted(f'{name}.{key}')}],"
            for key in ("procedure", "directory", "mark", "call", "latency")
        ),
        "    },",
        "    procedures = {",
        *(f"    {row}" for row in rows),
        "    },",
        "})",
        "end",
        "",
    ]
    return "\n".join(lines)


def _sup_protocol() -> str:
    names = sup_names()
    types = tuple((int(number), number.name) for number in sup.MESSAGES)
    leaves = names.leaves | {
        "sup.type": (Leaf("int32", "base.DEC", types), "type", "type of the message"),
        "sup.data": (Leaf("bytes"), "data", "data of a file"),
        "sup.probe": (Leaf("bytes"), "probe", inspect.getdoc(sup.Probe) or ""),
    }
    generator = Generator(names, "sup")
    rows = [
        f"    [{int(number)}] = {{ {quoted(number.name)}, {generator.lua(as_format(message))} }},"
        for number, message in sup.MESSAGES.items()
    ]
    lines = [
        "do",
        'local proto = Proto("sup", "Software Upgrade Protocol")',
        *_declared("proto", leaves),
        'local damaged = ProtoExpert.new("sup.damaged", "Damaged", expert.group.PROTOCOL, expert.severity.NOTE)',
        "proto.experts = { damaged }",
        "local sup = {}",
        *generator.lines,
        "sup_dissector({",
        "    proto = proto, damaged = damaged,",
        '    fields = { type = F["sup.type"], data = F["sup.data"], probe = F["sup.probe"] },',
        "    messages = {",
        *(f"    {row}" for row in rows),
        "    },",
        "})",
        "end",
        "",
    ]
    return "\n".join(lines)
