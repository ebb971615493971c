"""The bytes of calls and replies, for clients and servers alike, without sockets: a header of RFC 5531 section 9, and
the arguments or results of a procedure after it.
"""

from __future__ import annotations

from typing import Any

from wire.codec import codec
from wire.formats.errors import FormatError
from wire.formats.rpc import (
    AUTH_NONE,
    RPC_VERSION,
    Accepted,
    AcceptStatus,
    Auth,
    AuthStatus,
    Call,
    Message,
    Mismatch,
    MsgType,
    Procedure,
    Program,
    Rejected,
    RejectStatus,
    Reply,
    ReplyStatus,
)
from wire.transport.errors import RpcAcceptError, RpcDenied, RpcProtocolError

HEADER = codec(Message)
XID = 4
"""Bytes of the transaction number, which begins every message."""


def build_call(
    xid: int, program: Program, procedure: Procedure, argument: Any, credential: Auth = AUTH_NONE
) -> bytes:
    """A call. Raises FormatError where *argument* or *credential* does not fit its format."""
    call = Call(RPC_VERSION, program.number, program.version, procedure.number, credential, AUTH_NONE)
    return HEADER.build(Message(xid, MsgType.CALL, call)) + codec(procedure.argument).build(argument)


def read_reply(procedure: Procedure, reply: bytes) -> Any:
    """The result in a reply; bytes after it are ignored. Raises RpcDenied, RpcAcceptError and RpcProtocolError."""
    end = read_reply_header(procedure, reply)
    try:
        result, _ = codec(procedure.result).parse(reply, end)
    except FormatError as error:
        raise RpcProtocolError(f"The result of {procedure.name} is damaged: {error}.") from error
    return result


def read_reply_header(procedure: Procedure, reply: bytes) -> int:
    """Where in a reply the result begins. Raises like `read_reply`."""
    try:
        message, end = HEADER.parse(reply)
    except FormatError as error:
        raise RpcProtocolError(f"The reply to {procedure.name} is damaged: {error}.") from error
    if not isinstance(message.body, Reply):
        raise RpcProtocolError(f"A call came where the reply to {procedure.name} was expected.")
    body = message.body.body
    if isinstance(body, Rejected):
        raise RpcDenied(body.status, body.body)
    if body.status != AcceptStatus.SUCCESS:
        raise RpcAcceptError(body.status, procedure.name, body.body)
    return end


def accepted(status: AcceptStatus, body: Mismatch | None = None) -> bytes:
    """A reply's header after the transaction number, for a call that was accepted."""
    return _after_xid(Reply(ReplyStatus.MSG_ACCEPTED, Accepted(AUTH_NONE, status, body)))


def denied(status: RejectStatus, body: Mismatch | AuthStatus) -> bytes:
    """A reply's header after the transaction number, for a call that was not."""
    return _after_xid(Reply(ReplyStatus.MSG_DENIED, Rejected(status, body)))


def _after_xid(reply: Reply) -> bytes:
    return HEADER.build(Message(0, MsgType.REPLY, reply))[XID:]
