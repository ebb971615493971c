"""Secrets blanked: machine names of AUTH_UNIX, in which NetInfo hides passwords (NETINFO 3.3), and SUP's
LOGIN (SUP 2.6).

A blanked string keeps its length, so that every other byte keeps its place and its meaning.
"""

from __future__ import annotations

import attrs

from wire.capture.messages import Message, RpcMessage, SupMessage
from wire.capture.rpc import read_head
from wire.codec import FormatError, codec
from wire.formats import rpc, sup
from wire.formats.rpc import Auth, AuthUnix

BLANK = b"*"
_HEADER = codec(rpc.Message)
_FIXED = 24
"""Bytes of a call before its credential: xid, type, RPC version, program, version, procedure."""


def redacted(message: Message) -> Message:
    """*message* with its secrets blanked; itself if it has none."""
    if isinstance(message, RpcMessage):
        record = redact_record(message.record)
        if record is not message.record:
            head = read_head(record) if message.head is not None else None
            return attrs.evolve(message, record=record, raw=_marked(message, record), head=head, asked=head)
    if isinstance(message, SupMessage) and message.type == sup.MessageType.LOGIN.name:
        raw, content = _login(message)
        return attrs.evolve(message, raw=raw, content=content)
    return message


def redact_record(record: bytes) -> bytes:
    """An RPC record or datagram, with the machine names of its credentials blanked; itself if it has none."""
    if int.from_bytes(record[4:8], "big") != rpc.MsgType.CALL:
        return record
    try:
        header, end = _HEADER.parse(record)
    except FormatError:
        return record[:_FIXED] + BLANK * (len(record) - _FIXED) if len(record) > _FIXED else record
    call = header.body
    if not isinstance(call, rpc.Call):
        return record
    credential, verifier = _auth(call.credential), _auth(call.verifier)
    if (credential, verifier) == (call.credential, call.verifier):
        return record
    clean = rpc.Call(call.rpc_version, call.program, call.version, call.procedure, credential, verifier)
    return _HEADER.build(rpc.Message(header.xid, header.type, clean)) + record[end:]


def redact_login(message: sup.Login) -> sup.Login:
    """A LOGIN with all its strings blanked."""
    strings = (message.logcrypt, message.user, message.password)
    return sup.Login(*(text if text is None else BLANK * len(text) for text in strings))


def _auth(auth: Auth) -> Auth:
    body = auth.body
    if not isinstance(body, AuthUnix):
        return auth
    machine = BLANK * len(body.machine)
    return Auth(auth.flavor, AuthUnix(body.stamp, machine, body.uid, body.gid, body.gids))


def _login(message: SupMessage) -> tuple[bytes, sup.Login | None]:
    if isinstance(message.content, sup.Login):
        content = redact_login(message.content)
        return codec(sup.Login, message.params).build(content), content
    return message.raw[:4] + BLANK * max(0, len(message.raw) - 4), None


def _marked(message: RpcMessage, record: bytes) -> bytes:
    """The record with the marks that it had on the wire."""
    if not message.marks:
        return record
    raw, taken = bytearray(), 0
    for at, size in message.marks:
        raw += message.raw[at : at + 4] + record[taken : taken + size]
        taken += size
    return bytes(raw)
