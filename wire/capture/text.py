"""Messages as text: one line each, or the field tree beside the bytes.

The lines of a format's values are made by one more visitor over the vocabulary, which turns each wire type
into a function from value to text once, so that a line costs little. Nothing a peer sent reaches the terminal
unescaped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, singledispatch
from operator import attrgetter
from typing import Any

from wire.capture.explanation import explanation
from wire.capture.messages import Message, Notice, SupMessage
from wire.capture.rpc import inner_procedure
from wire.codec import FormatError, codec
from wire.explain import Node, meaning, text
from wire.formats import blocks, netinfo, record, xdr
from wire.formats.portmap import CallitArgs
from wire.formats.record import Field, View, WireType, complete

ITEMS = 6
"""Items of a list that a line shows."""
TEXT = 60
"""Characters of a string that a line shows."""
VALUE = 100
"""Characters of a value that an explanation shows."""
SHORT = 16
"""Bytes of plain data that an explanation repeats as a field's meaning."""
HEX = 8
"""Bytes on a line of the explanation."""

Brief = Callable[[Any], str]
_CLEAR = re.compile(
    r"[A-Za-z0-9_./*+@%:-]+"
)  # strings that need no quotes to be told from what is around them


# ------------------------------------------------------------------------------------------- values in a line


@lru_cache(maxsize=4096)
def quoted(data: bytes) -> str:
    """Bytes as a line shows them: as they are if that is clear, else in quotes with escapes; cut if long."""
    word = data[: TEXT + 1].decode("latin-1")
    if not _CLEAR.fullmatch(word):
        word = repr(data[: TEXT + 1])[1:]
    return word if len(data) <= TEXT else f"{word[:TEXT]}… ({len(data)} bytes)"


def plain(text: str) -> str:
    """Text from a capture without what could steer a terminal."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)


@singledispatch
def brief(kind: object, view: View) -> Brief:
    """The function that writes values of a wire type in a line."""
    raise TypeError(f"{kind!r} is not a wire type")


@brief.register(xdr.Integer)
@brief.register(blocks.Word)
@brief.register(blocks.Int)
@brief.register(blocks.FileSize)
def _(kind: WireType, view: View) -> Brief:
    return str if view is View.PLAIN else lambda value: meaning(kind, value, view)


@brief.register
def _(kind: xdr.Bool, view: View) -> Brief:
    return lambda value: "yes" if value else "no"


@brief.register
def _(kind: xdr.EnumOf, view: View) -> Brief:
    names = {number: str(member.name) for number, member in kind.members.items()}
    return lambda value: names.get(value) or str(value)


@brief.register
def _(kind: xdr.FlagsOf, view: View) -> Brief:
    return lambda value: "+".join(str(flag.name) for flag in kind.flags if value & flag) or str(value)


@brief.register(xdr.FixedOpaque)
@brief.register(xdr.Opaque)
@brief.register(blocks.String)
def _(kind: WireType, view: View) -> Brief:
    return lambda value: "NULL" if value is None else quoted(value)


@brief.register(xdr.Array)
@brief.register(xdr.LinkedList)
@brief.register(blocks.UntilNull)
@brief.register(blocks.Counted)
def _(kind: Any, view: View) -> Brief:
    one = _item(kind.item, view)

    def items(value: tuple[Any, ...]) -> str:
        shown = ", ".join([one(each) for each in value[:ITEMS]])
        return f"[{shown}]" if len(value) <= ITEMS else f"[{shown}, … {len(value)} in all]"

    return items


def _item(kind: WireType, view: View) -> Brief:
    """How an item of a list is written: of most records, the first field says enough."""
    if isinstance(kind, record.Record) and kind.cls is not netinfo.Property:
        first = kind.fields[0]
        name, one = first.name or "", brief(first, view)
        return lambda value: one(getattr(value, name))
    return brief(kind, view)


@brief.register
def _(kind: xdr.OptionalOf, view: View) -> Brief:
    one = brief(kind.item, view)
    return lambda value: "none" if value is None else one(value)


@brief.register
def _(kind: xdr.Within, view: View) -> Brief:
    return brief(kind.item, view)


@brief.register
def _(kind: record.When, view: View) -> Brief:
    return brief(kind.subcon, view)


@brief.register
def _(kind: record.Union, view: View) -> Brief:
    arms = {number: brief(arm, view) for number, arm in kind.arms.items()}
    (one, *others) = arms.values()
    if others:
        return lambda value: "" if value is None else str(value)
    return lambda value: "" if value is None else one(value)


@brief.register
def _(kind: record.Void, view: View) -> Brief:
    return lambda value: ""


@brief.register
def _(kind: Field, view: View) -> Brief:
    return brief(kind.subcon, kind.view)


@brief.register
def _(kind: record.Record, view: View) -> Brief:
    if kind.cls is netinfo.NiId:
        return lambda value: f"{value.object}.{value.instance}"
    if kind.cls is netinfo.Property:
        values = brief(netinfo.NAMELIST, view)
        return lambda value: f"{quoted(value.name)}={values(value.values)}"
    if kind.cls is netinfo.Result:  # the status has a column of its own
        body = brief(kind.fields[1], view)
        return lambda value: body(value.body)
    named = [field for field in kind.fields if not field.anonymous]
    names = [field.name or "" for field in named]
    ones = [brief(field, field.view) for field in named]
    optional = {field.name for field in named if isinstance(field.subcon, record.When)}
    if len(named) > 1 and not optional:
        template, members = " ".join(f"{name}=%s" for name in names), attrgetter(*names)
        return lambda value: (
            template % tuple([one(member) for one, member in zip(ones, members(value), strict=True)])
        )

    def fields(value: Any) -> str:
        parts = []
        for name, one in zip(names, ones, strict=True):
            member = getattr(value, name)
            if member is not None or name not in optional:
                parts.append(f"{name}={one(member)}")
        return " ".join(parts)

    return fields


@brief.register
def _(kind: blocks.Const, view: View) -> Brief:
    return str


complete(brief)


@lru_cache(maxsize=512)
def _brief(kind: WireType) -> Brief:
    return brief(kind, View.PLAIN)


# ----------------------------------------------------------------------------------------- one line a message


def detail(message: Message) -> str:
    """Arguments, results or fields of a message, as far as a line shows them."""
    if isinstance(message, Notice):
        return plain(message.text)
    value = message.value
    if value is None:
        return ""
    fmt = message.format
    if fmt is None:
        return ""
    said = _brief(fmt)(value)
    if value.__class__ is CallitArgs:
        inner = inner_procedure(value)
        if inner is not None:
            said += f" = {inner.name} {_carried(inner.argument, value.arguments)}"
    return said


def _carried(fmt: WireType, data: bytes) -> str:
    """The arguments inside CALLIT's."""
    try:
        return _brief(fmt)(codec(fmt).parse_exact(data))
    except FormatError as damage:
        return f"(damaged: {damage})"


def remarks(message: Message) -> str:
    """What is remarkable about a message: notes and damage."""
    notes = [plain(note) for note in message.notes]
    if message.damage is not None:
        notes.append(f"damaged: {message.damage}")
    if isinstance(message, SupMessage) and message.data_size is not None:
        unpacked = f", {message.unpacked:,} unpacked" if message.unpacked is not None else ""
        notes.insert(0, f"{message.data_size:,} bytes of data{unpacked}")
    return "; ".join(notes)


def duration(seconds: float) -> str:
    """A latency in the unit that suits it."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.3f} ms" if seconds < 0.00995 else f"{seconds * 1000:.1f} ms"
    return f"{seconds:.2f} s"


def summary(message: Message, start: float) -> str:
    """One line for one message; *start* is the capture's first moment."""
    conversation = message.conversation
    way = conversation.ways[message.from_client]
    line = "%5d %10.6f %4d %-41s " % (message.number, message.time - start, conversation.number, way)  # noqa: UP031
    kind = message.kind
    if kind == "notice":
        return f"{line}{'*':8}{detail(message)}" if conversation.number else f"{line[:22]}* {detail(message)}"
    line += _what(message.protocol, message.name, kind)
    status, said, latency = message.status, detail(message), message.latency
    if status:
        line = f"{line} {status} {said}" if said else f"{line} {status}"
    elif said:
        line = f"{line} {said}"
    if latency is not None:
        line = f"{line} ({duration(latency)})"
    noted = remarks(message) if message.notes or message.damage is not None or kind == "message" else ""
    return f"{line} [{noted}]" if noted else line


@lru_cache(maxsize=512)
def _what(protocol: str, name: str, kind: str) -> str:
    what = f"{protocol:8}{name}" + ("" if kind == "message" else f" {kind}")
    return f"{what:26}"


def moment(seconds: float) -> str:
    """A time of a capture, in UTC."""
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1e6):06} UTC"


# -------------------------------------------------------------------------------------------------- explained


def explained(message: Message) -> Iterator[str]:
    """The lines of a message's explanation: each field beside its bytes, its meaning, and what it is for."""
    tree = explanation(message)
    if tree is None:
        return
    yield from field_lines(tree, message.raw)
    size = message.size - len(message.raw)
    if size:
        yield f"      … {size:,} bytes of file data are not kept"


def field_lines(node: Node, raw: bytes, depth: int = 0) -> Iterator[str]:
    """The lines of one field and all below it; positions count in *raw*, the message's bytes."""
    indent = "  " * depth
    if node.children:
        says = f"{indent}{node.name}  {_cut(says_of(node))}".rstrip()
        yield _line(node.start, b"", says, doc_of(node))
        for child in node.children:
            yield from field_lines(child, raw, depth + 1)
        return
    data = raw[node.start : node.end]
    says = f"{indent}{node.name}  {_cut(says_of(node))}"
    yield _line(node.start, data[:HEX], says, doc_of(node))
    for start in range(HEX, min(len(data), 64), HEX):
        yield _line(node.start + start, data[start : start + HEX], "", "")
    if len(data) > 64:
        yield f"      … {len(data) - 64:,} more bytes of this field"


def doc_of(node: Node) -> str:
    """What a field is for, as one line."""
    return " ".join(node.doc.partition("\n\n")[0].split())


def _cut(says: str) -> str:
    """A long value without its end: its bytes stand beside it."""
    return says if len(says) <= VALUE else f"{says[: VALUE - 1]}…"


def says_of(node: Node) -> str:
    """What a field means; nothing for a record whose fields tell it, text for the bytes of a string."""
    if node.damage is None:
        if isinstance(node.kind, record.Record) or (node.children and isinstance(node.kind, record.Union)):
            return ""
        if isinstance(node.value, bytes) and isinstance(node.kind, xdr.FixedOpaque):
            if node.name == "bytes":
                return text(node.value)
            if len(node.value) > SHORT:
                return f"{node.value[:SHORT].hex(' ')} … ({len(node.value):,} bytes)"
    return plain(node.meaning)


def _line(start: int, data: bytes, says: str, doc: str) -> str:
    line = f"{start:5}  {data.hex(' '):{HEX * 3}} {says}"
    return f"{line}  — {doc}" if doc else line.rstrip()
