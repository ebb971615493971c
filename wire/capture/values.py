"""Messages as plain values: what `--json` prints, and the one list of names that filters may use.

Byte strings become text in which backslash and everything that is not UTF-8 are escaped (``\\\\xff``), so
that nothing is lost; numbers with names become the names.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import attrs

from wire.capture.explanation import explanation
from wire.capture.messages import Message, Notice, RpcMessage, SupMessage
from wire.capture.text import doc_of, says_of, summary
from wire.explain import Node
from wire.formats import netinfo, nibind, rpc


def text_of(data: bytes) -> str:
    """Bytes as text, without loss."""
    return data.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def plain_value(value: Any) -> Any:
    """A value of a format as dictionaries, lists, strings, numbers, booleans and None."""
    if isinstance(value, bytes):
        return text_of(value)
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, tuple):
        return [plain_value(item) for item in value]
    if attrs.has(type(value)):
        return {field.name: plain_value(getattr(value, field.name)) for field in attrs.fields(type(value))}
    return value


def as_dict(message: Message, explain: bool = False) -> dict[str, Any]:
    """One message for JSON; with its bytes and field tree if *explain*."""
    conversation = message.conversation
    made: dict[str, Any] = {
        "number": message.number,
        "conversation": conversation.number,
        "time": round(message.time, 6),
        "frame": message.frame,
        "transport": conversation.transport,
        "source": message.source if conversation.number else None,
        "destination": message.destination if conversation.number else None,
        "service": conversation.service or None,
        "protocol": message.protocol or None,
        "kind": message.kind,
        "name": message.name or None,
        "status": message.status or None,
        "latency": None if message.latency is None else round(message.latency, 6),
        "size": message.size,
    }
    if isinstance(message, RpcMessage):
        made |= _rpc(message)
    elif isinstance(message, SupMessage):
        made |= {
            "value": plain_value(message.value),
            "data_size": message.data_size,
            "unpacked": message.unpacked,
        }
    elif isinstance(message, Notice):
        made["text"] = message.text
    made["notes"] = list(message.notes)
    made["damage"] = None if message.damage is None else str(message.damage)
    if explain:
        tree = explanation(message)
        made["hex"] = message.raw.hex()
        made["fields"] = None if tree is None else fields(tree)
    return made


def _rpc(message: RpcMessage) -> dict[str, Any]:
    made: dict[str, Any] = {"xid": message.xid}
    if message.head is not None and isinstance(message.head.body, rpc.Call):
        made["credential"] = plain_value(message.head.body.credential)
    if message.call is not None:
        made["call"] = message.call.number
    made["value"] = plain_value(message.value)
    return made


def fields(node: Node) -> dict[str, Any]:
    """A field tree: names, byte ranges, meanings, and the sentence that says what each field is for."""
    made: dict[str, Any] = {"name": node.name, "start": node.start, "end": node.end}
    says, doc = says_of(node), doc_of(node)
    if says:
        made["meaning"] = says
    if doc:
        made["doc"] = doc
    if node.damage is not None:
        made["damage"] = str(node.damage)
    if node.children:
        made["fields"] = [fields(child) for child in node.children]
    return made


# ------------------------------------------------------------------------------------------ names for filters


def _named(*names: str) -> Callable[[Message], str | None]:
    """The first of these attributes that the message's value has, as text."""

    def get(message: Message) -> str | None:
        for name in names:
            found = getattr(_said(message), name, None)
            if isinstance(found, bytes):
                return text_of(found)
        return None

    return get


def _said(message: Message) -> Any:
    """The arguments, the result's body, or the SUP message."""
    value = message.value
    return value.body if isinstance(value, netinfo.Result) else value


def _tag(message: Message) -> str | None:
    """The domain tag in a message; some of the binder's arguments are nothing else."""
    said = _said(message)
    if isinstance(said, bytes) and message.protocol == nibind.NIBIND.name:
        return text_of(said)
    return _named("tag", "server_tag")(message)


DIRECTORY_NAMES = ("id", "parent", "self_id")
"""Fields, in order of preference, that name the directory which a NetInfo message is about."""


def _directory(message: Message) -> int | None:
    """The number of the directory that a NetInfo message is about."""
    value = _said(message)
    for name in DIRECTORY_NAMES:
        found = getattr(value, name, None)
        if isinstance(found, netinfo.NiId):
            return found.object
    return value.object if isinstance(value, netinfo.NiId) else None


def _uid(message: Message) -> int | None:
    head = message.head if isinstance(message, RpcMessage) else None
    if head is not None and isinstance(head.body, rpc.Call):
        body = head.body.credential.body
        return body.uid if isinstance(body, rpc.AuthUnix) else None
    return None


@attrs.frozen
class Name:
    """A name that filters may use: its type, where its value comes from, and what it is."""

    type: type
    get: Callable[[Message], Any]
    doc: str


NAMES: dict[str, Name] = {
    "number": Name(float, lambda m: m.number, "number of the message, as the summary shows it"),
    "conversation": Name(float, lambda m: m.conversation.number, "number of its conversation"),
    "time": Name(float, lambda m: m.time, "seconds since 1970"),
    "frame": Name(float, lambda m: m.frame, "number of the packet that completed it"),
    "latency": Name(float, lambda m: m.latency, "seconds since the message it answers"),
    "size": Name(float, lambda m: m.size, "bytes on the wire"),
    "protocol": Name(str, lambda m: m.protocol or None, "netinfo, nibind, portmap, rpc or sup"),
    "transport": Name(str, lambda m: m.conversation.transport or None, "tcp or udp"),
    "kind": Name(str, lambda m: m.kind, "call, reply, message, notice or damaged"),
    "procedure": Name(str, lambda m: m.name if isinstance(m, RpcMessage) else None, "RPC procedure"),
    "type": Name(str, lambda m: m.name if isinstance(m, SupMessage) else None, "type of a SUP message"),
    "status": Name(str, lambda m: m.status or None, "how an answer ended, such as NI_STALE"),
    "failed": Name(bool, lambda m: m.failed, "whether it reports a failure"),
    "source": Name(str, lambda m: m.source, "host:port it came from"),
    "destination": Name(str, lambda m: m.destination, "host:port it went to"),
    "client": Name(str, lambda m: m.conversation.client_text, "host:port of the conversation's client"),
    "server": Name(str, lambda m: m.conversation.server_text, "host:port of its server"),
    "service": Name(str, lambda m: m.conversation.service or None, "service, where the recording names it"),
    "xid": Name(float, lambda m: getattr(m, "xid", None), "RPC transaction number"),
    "uid": Name(float, _uid, "user number in an AUTH_UNIX credential"),
    "directory": Name(float, _directory, "number of the NetInfo directory it is about"),
    "name": Name(str, _named("name"), "name of a file, or of a property"),
    "key": Name(str, _named("key"), "property that LOOKUP compares"),
    "value": Name(str, _named("value"), "value that LOOKUP seeks"),
    "tag": Name(str, _tag, "NetInfo domain tag"),
    "collection": Name(str, _named("collection"), "SUP collection"),
    "reason": Name(str, _named("reason", "error"), "reason in GOAWAY, DONE or LOGACK"),
    "note": Name(str, lambda m: "; ".join(m.notes) or None, "what is remarkable about it"),
    "damaged": Name(bool, lambda m: m.damage is not None, "whether it is damaged"),
    "text": Name(str, lambda m: summary(m, m.time), "its whole line in the summary"),
}
"""What a filter may ask about; a name that does not apply to a message is null there."""
