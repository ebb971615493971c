"""The explanation of a whole message: every byte that was on the wire, record marks and file data included.

The trees of `wire.explain` are joined here: fragment headers, RPC header, arguments or results, what CALLIT
carries inside; a SUP message, the data of its file, its end mark. Positions count in the message's `raw`
bytes.
"""

from __future__ import annotations

from wire.capture.messages import Message, RpcMessage, SupMessage
from wire.capture.rpc import inner_procedure
from wire.explain import Node, explain
from wire.formats import portmap, rpc, sup
from wire.formats.record import Field, Record, WireType, of
from wire.formats.xdr import FixedOpaque


def explanation(message: Message) -> Node | None:
    """The field tree of *message*; None for a notice, which has no bytes to explain."""
    if isinstance(message, RpcMessage):
        return _rpc(message)
    if isinstance(message, SupMessage):
        return _sup(message)
    return None


def _bytes(name: str, doc: str, data: bytes, start: int, size: int) -> Node:
    """A field of plain bytes that stands in no format."""
    kind = FixedOpaque(size)
    return Node(name, kind, Field(name, kind, doc), start, start + size, data[start : start + size])


# -------------------------------------------------------------------------------------------------------- RPC


def _rpc(message: RpcMessage) -> Node:
    record = message.record
    root = explain(of(rpc.Message), record)
    if root.damage is None:
        root.children += _body(message)
        root.end = len(record)
    for node in root.walk():
        node.start, node.end = _place(message, node.start), _place(message, node.end - 1) + 1
    mark = of(rpc.FragmentHeader)
    marks = [explain(mark, message.raw[: at + 4], start=at) for at, _ in message.marks]
    for number, node in enumerate(marks, 1):
        node.name = "record mark" if len(marks) == 1 else f"record mark {number} of {len(marks)}"
    if not marks:
        return root
    return Node(
        root.name, root.kind, None, 0, len(message.raw), root.value, [*marks, *root.children], root.damage
    )


def _place(message: RpcMessage, offset: int) -> int:
    """Where a byte of the record is among the bytes on the wire, each fragment having a mark before it."""
    shift = 0
    for at, _ in message.marks:
        if at - shift > offset:
            break
        shift += 4
    return offset + shift


def _body(message: RpcMessage) -> list[Node]:
    """Arguments or results, and what follows them."""
    record, start = message.record, message.start
    called = message.kind == "call"
    name = "arguments" if called else "results"
    fmt = message.format
    succeeded = called or _succeeded(message)
    if fmt is None or not succeeded:
        if start == len(record):
            return []
        doc = (
            "in a layout that only the call would tell" if not called else "of a procedure not explained here"
        )
        return [_bytes(name, doc, record, start, len(record) - start)]
    node = explain(fmt, record, start=start)
    node.name = name
    nodes = [node] if node.end > start or node.damage is not None else []
    inner = _inner(message)
    if inner is not None:
        _unfold(node, inner, called)
    if node.damage is None and node.end < len(record):
        surplus = len(record) - node.end
        nodes.append(_bytes("surplus", "bytes after the end of the message", record, node.end, surplus))
    return nodes


def _succeeded(message: RpcMessage) -> bool:
    reply = message.header.body if message.header is not None else None
    return (
        isinstance(reply, rpc.Reply)
        and isinstance(reply.body, rpc.Accepted)
        and reply.body.status == rpc.AcceptStatus.SUCCESS
    )


def _inner(message: RpcMessage) -> rpc.Procedure | None:
    """The procedure whose arguments or results CALLIT carries."""
    if isinstance(message.body, portmap.CallitArgs):
        return inner_procedure(message.body)
    if isinstance(message.body, portmap.CallitResult) and message.call is not None:
        return message.call.inner
    return None


def _unfold(node: Node, inner: rpc.Procedure, called: bool) -> None:
    """Explains the bytes that CALLIT carries as what they are, inside their field."""
    field = node.children[-1]
    for part in field.children:
        if part.name == "bytes":
            part.children = [_within(inner.argument if called else inner.result, part, inner.name)]


def _within(fmt: WireType, part: Node, name: str) -> Node:
    inside = explain(fmt, part.value)
    inside.name = f"{name} {'arguments' if isinstance(inside.kind, Record) else 'value'}"
    for node in inside.walk():
        node.start += part.start
        node.end += part.start
    return inside


# -------------------------------------------------------------------------------------------------------- SUP


def _sup(message: SupMessage) -> Node:
    fmt = message.format
    assert fmt is not None
    if message.data_size is None:
        return explain(fmt, message.raw, message.params)
    start, kept = message.data_start, message.data_kept
    root = explain(fmt, message.raw[:start], message.params)
    root.name = fmt.cls.__name__ if isinstance(fmt, Record) else root.name
    if kept or message.data_size:
        doc = f"{message.data_size:,} bytes of file data"
        if message.unpacked is not None:
            doc += f", a gzip stream of {message.unpacked:,} bytes"
        if kept < message.data_size:
            doc += f"; the first {kept:,} are kept here"
        root.children.append(_bytes("data", doc, message.raw, start, kept))
    end = explain(sup.ENDING.subcon, message.raw[: start + kept + 4], message.params, start + kept)
    if start + kept < len(message.raw):
        end.name, end.field = "end", sup.ENDING
        root.children.append(end)
    root.end = len(message.raw)
    return root
