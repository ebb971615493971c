"""Messages as a typed table: one Parquet file a capture, for DuckDB, pandas, Spark, Dask (extra `table`, pyarrow).

Every message is a row. What it says stands, as the formats have it, in nested columns: ``netinfo.LOOKUP.argument.key``,
``netinfo.LOOKUP.result.status``, ``sup.RECV.name``. One more visitor over the vocabulary makes the type of each and
the function from value to cell, so that the schema is the same for every capture. Names, as in JSON, are text in
which backslash and everything that is not UTF-8 are escaped.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from functools import cache, singledispatch
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import attrs
import pyarrow as pa
from pyarrow import parquet

from wire.capture.messages import Message, Notice, RpcMessage, SupMessage
from wire.capture.rpc import PROGRAMS
from wire.capture.values import text_of
from wire.formats import blocks, record, rpc, xdr
from wire.formats.record import Field, View, WireType, complete, of
from wire.formats.sup import MESSAGES

ROWS, BYTES = 5_000, 8 << 20
"""Messages, or bytes of them, that are written together."""


@attrs.frozen
class Cell:
    """How values of a wire type are kept: the column's type, and the function from a value that is not None."""

    type: Any
    of: Callable[[Any], Any]


def _as_it_is(value: Any) -> Any:
    return value


@singledispatch
def cell(kind: object, view: View) -> Cell | None:
    """How values of a wire type are kept; None if it has no value."""
    raise TypeError(f"{kind!r} is not a wire type")


_TIME = Cell(pa.timestamp("ms", "UTC"), lambda seconds: seconds * 1000)  # Parquet counts no whole seconds
_INTEGERS = {"I": pa.uint32(), "i": pa.int32(), "q": pa.int64(), "Q": pa.uint64()}


@cell.register
def _(kind: xdr.Integer, view: View) -> Cell:
    if view is View.IPV4:
        return Cell(pa.string(), lambda value: str(IPv4Address(value)))
    return _TIME if view is View.TIME else Cell(_INTEGERS[kind.letter], _as_it_is)


@cell.register(blocks.Word)
@cell.register(blocks.Int)
@cell.register(blocks.FileSize)
@cell.register(blocks.Const)
def _(kind: WireType, view: View) -> Cell:
    return _TIME if view is View.TIME else Cell(pa.int32(), _as_it_is)


@cell.register
def _(kind: xdr.Bool, view: View) -> Cell:
    return Cell(pa.bool_(), _as_it_is)


@cell.register
def _(kind: xdr.EnumOf, view: View) -> Cell:
    names = {number: str(member.name) for number, member in kind.members.items()}
    return Cell(pa.string(), lambda value: names.get(value) or str(int(value)))


@cell.register
def _(kind: xdr.FlagsOf, view: View) -> Cell:
    return Cell(pa.int64(), int)


@cell.register(xdr.FixedOpaque)
@cell.register(xdr.Opaque)
@cell.register(blocks.String)
def _(kind: WireType, view: View) -> Cell:
    return Cell(pa.string(), text_of)


@cell.register(xdr.Array)
@cell.register(xdr.LinkedList)
@cell.register(blocks.UntilNull)
@cell.register(blocks.Counted)
def _(kind: Any, view: View) -> Cell:
    one = cell(kind.item, view)
    assert one is not None
    items = pa.list_(pa.field("element", one.type))  # the name that Parquet itself gives it
    return Cell(items, lambda value: [one.of(item) for item in value])


@cell.register(xdr.OptionalOf)
@cell.register(xdr.Within)
def _(kind: Any, view: View) -> Cell | None:
    return cell(kind.item, view)


@cell.register
def _(kind: record.When, view: View) -> Cell | None:
    return cell(kind.subcon, view)


@cell.register
def _(kind: record.Union, view: View) -> Cell | None:
    """The one arm that has a value; or a column for each, named after what it holds."""
    arms = {_name_of(arm): cell(arm, view) for arm in [*kind.arms.values(), kind.default] if arm is not None}
    cells = {name: each for name, each in arms.items() if each is not None}
    if len(cells) < 2:
        return next(iter(cells.values()), None)

    def chosen(value: Any) -> dict[str, Any]:
        name = "bytes" if isinstance(value, bytes) else type(value).__name__
        return {name: cells[name].of(value)} if name in cells else {}

    return Cell(pa.struct([(name, each.type) for name, each in cells.items()]), chosen)


def _name_of(kind: WireType) -> str:
    if isinstance(kind, xdr.Within):
        return _name_of(kind.item)
    if isinstance(kind, xdr.EnumOf):
        return kind.enum.__name__
    return kind.cls.__name__ if isinstance(kind, record.Record) else "bytes"


@cell.register
def _(kind: record.Void, view: View) -> None:
    return None


@cell.register
def _(kind: Field, view: View) -> Cell | None:
    return cell(kind.subcon, kind.view)


@cell.register
def _(kind: record.Record, view: View) -> Cell | None:
    cells = {field.name or "": cell(field, view) for field in kind.fields if not field.anonymous}
    return _struct({name: each for name, each in cells.items() if each is not None})


def _struct(cells: dict[str, Cell]) -> Cell | None:
    """Named cells together; None if there are none, since Parquet has no empty structure."""
    if not cells:
        return None

    def fields(value: Any) -> dict[str, Any]:
        found = ((name, each, getattr(value, name)) for name, each in cells.items())
        return {name: None if member is None else each.of(member) for name, each, member in found}

    return Cell(pa.struct([(name, each.type) for name, each in cells.items()]), fields)


complete(cell)


# ---------------------------------------------------------------------------------------------------- the table

_GENERAL: list[tuple[str, Any, Callable[[Message], Any]]] = [
    ("number", pa.int64(), lambda m: m.number),
    ("conversation", pa.int64(), lambda m: m.conversation.number),
    ("time", pa.timestamp("us", "UTC"), lambda m: round(m.time * 1e6)),
    ("frame", pa.int64(), lambda m: m.frame),
    ("transport", pa.string(), lambda m: m.conversation.transport or None),
    ("client", pa.string(), lambda m: m.conversation.client_text if m.conversation.number else None),
    ("server", pa.string(), lambda m: m.conversation.server_text if m.conversation.number else None),
    ("from_client", pa.bool_(), lambda m: m.from_client),
    ("service", pa.string(), lambda m: m.conversation.service or None),
    ("protocol", pa.string(), lambda m: m.protocol or None),
    ("kind", pa.string(), lambda m: m.kind),
    ("name", pa.string(), lambda m: m.name or None),
    ("status", pa.string(), lambda m: m.status or None),
    ("failed", pa.bool_(), lambda m: m.failed),
    ("latency", pa.float64(), lambda m: m.latency),
    ("size", pa.int64(), lambda m: m.size),
    ("xid", pa.uint32(), lambda m: m.xid if isinstance(m, RpcMessage) else None),
    ("call", pa.int64(), lambda m: m.call.number if isinstance(m, RpcMessage) and m.call is not None else None),
    ("data_size", pa.int64(), lambda m: m.data_size if isinstance(m, SupMessage) else None),
    ("unpacked", pa.int64(), lambda m: m.unpacked if isinstance(m, SupMessage) else None),
    ("text", pa.string(), lambda m: m.text if isinstance(m, Notice) else None),
    ("notes", pa.list_(pa.field("element", pa.string())), lambda m: list(m.notes)),
    ("damage", pa.string(), lambda m: None if m.damage is None else str(m.damage)),
]  # fmt: skip

_CREDENTIAL = cell(of(rpc.Auth), View.PLAIN)


def _program(procedures: Iterable[rpc.Procedure]) -> dict[str, dict[str, Cell]]:
    """For each procedure of a program, its argument and its result."""
    found = {}
    for procedure in procedures:
        both = {
            "argument": cell(procedure.argument, View.PLAIN),
            "result": cell(procedure.result, View.PLAIN),
        }
        found[procedure.name] = {name: each for name, each in both.items() if each is not None}
    return {name: cells for name, cells in found.items() if cells}


@cache
def _nested() -> dict[str, dict[str, dict[str, Cell]]]:
    """By protocol, procedure, and whether it is argument or result: how values are kept."""
    return {program.name: _program(program.procedures) for program in PROGRAMS.values()}


@cache
def _sup() -> dict[str, Cell]:
    """How each type of SUP message is kept."""
    cells = {number.name: cell(of(cls), View.PLAIN) for number, cls in MESSAGES.items()}
    return {name: each for name, each in cells.items() if each is not None}


@cache
def schema() -> Any:
    """The schema of every table."""
    assert _CREDENTIAL is not None
    columns = [
        ("file", pa.string()),
        *((name, kind) for name, kind, _ in _GENERAL),
        ("credential", _CREDENTIAL.type),
    ]
    for protocol, procedures in _nested().items():
        parts = [
            (name, pa.struct([(side, each.type) for side, each in cells.items()]))
            for name, cells in procedures.items()
        ]
        columns.append((protocol, pa.struct(parts)))
    columns.append(("sup", pa.struct([(name, each.type) for name, each in _sup().items()])))
    return pa.schema(columns)


def row(file: str, message: Message) -> dict[str, Any]:
    """One message as a row of the table."""
    made = {"file": text_of(os.fsencode(file))} | {name: get(message) for name, _, get in _GENERAL}
    value = message.value
    if isinstance(message, RpcMessage):
        if message.head is not None and isinstance(message.head.body, rpc.Call):
            assert _CREDENTIAL is not None
            made["credential"] = _CREDENTIAL.of(message.head.body.credential)
        side = "argument" if message.kind == "call" else "result"
        kept = _nested().get(message.protocol, {}).get(message.name, {}).get(side)
        if kept is not None and value is not None:
            made[message.protocol] = {message.name: {side: kept.of(value)}}
    elif isinstance(message, SupMessage) and value is not None and message.name in _sup():
        made["sup"] = {message.name: _sup()[message.name].of(value)}
    return made


def write_table(path: Path, file: str, messages: Iterable[Message]) -> None:
    """Writes messages of the capture *file* as the Parquet file *path*, all of it or nothing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, place = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with (
            os.fdopen(descriptor, "wb") as opened,
            parquet.ParquetWriter(opened, schema(), compression="zstd") as writer,
        ):
            rows: list[dict[str, Any]] = []
            held = 0
            for message in messages:
                rows.append(row(file, message))
                held += message.size
                if len(rows) >= ROWS or held >= BYTES:
                    writer.write_batch(pa.RecordBatch.from_pylist(rows, schema()))
                    rows, held = [], 0
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema()))
        os.replace(place, path)
    except BaseException:
        os.unlink(place)
        raise
