"""Messages as text: one line each, or the field tree beside the bytes. Nothing a peer sent reaches the terminal
unescaped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from wire.capture.brief import Brief, brief
from wire.capture.explanation import explanation
from wire.capture.messages import Head, Message, Notice, RpcMessage, SupMessage
from wire.capture.rpc import inner_procedure
from wire.codec import FormatError, codec
from wire.explain import Node, text
from wire.formats import record, xdr
from wire.formats.portmap import CallitArgs
from wire.formats.record import WireType

VALUE = 100
"""Characters of a value that an explanation shows."""
SHORT = 16
"""Bytes of plain data that an explanation repeats as a field's meaning."""
HEX = 8
"""Bytes on a line of the explanation."""


def plain(text: str) -> str:
    """Text from a capture without what could steer a terminal."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)


# ----------------------------------------------------------------------------------------- one line a message


def detail(message: Message) -> str:
    """Arguments, results or fields of a message, as far as a line shows them."""
    if isinstance(message, Notice):
        return plain(message.text)
    fmt, value = message.format, message.value
    return "" if fmt is None or value is None else _said(brief(fmt), value)


def _said(write: Brief, value: Any) -> str:
    said = write(value)
    if value.__class__ is CallitArgs:
        inner = inner_procedure(value)
        if inner is not None:
            said += f" = {inner.name} {_carried(inner.argument, value.arguments)}"
    return said


def _carried(fmt: WireType, data: bytes) -> str:
    """The arguments inside CALLIT's."""
    try:
        return brief(fmt)(codec(fmt).parse_exact(data))
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
    place = conversation.columns[message.from_client]
    line = "%5d %10.6f %s" % (message.number, message.time - start, place)  # noqa: UP031  (the quickest)
    if isinstance(message, Notice):
        said = detail(message)
        return f"{line} {'*':8}{said}" if conversation.number else f"{line[:21]} * {said}"
    if isinstance(message, RpcMessage) and message.asked is not None:
        title, write = _of_rpc(message.asked, message.kind)
    else:
        title, write = _shown(message.protocol, message.name, message.kind, message.format)
    line = f"{line} {title}"
    status, value, latency = message.status, message.value, message.latency
    if status:
        line = f"{line} {status}"
    if value is not None and write is not None:
        said = _said(write, value)
        if said:
            line = f"{line} {said}"
    if latency is not None:
        line = f"{line} ({duration(latency)})"
    if message.notes or message.damage is not None or isinstance(message, SupMessage):
        noted = remarks(message)
        if noted:
            line = f"{line} [{noted}]"
    return line


@lru_cache(maxsize=1024)
def _of_rpc(asked: Head, kind: str) -> tuple[str, Brief | None]:
    """`_shown`, found by the header of the call alone."""
    return _shown(asked.protocol, asked.name, kind, asked.format(kind))


@lru_cache(maxsize=1024)
def _shown(protocol: str, name: str, kind: str, fmt: WireType | None) -> tuple[str, Brief | None]:
    """The column that says what a message is, and the function that writes its value."""
    title = f"{protocol:8}{name}" + ("" if kind == "message" else f" {kind}")
    return f"{title:26}", None if fmt is None else brief(fmt)


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
