"""Messages as servers' taps tell them, for tests of those who listen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wire.codec import codec
from wire.formats import rpc, sup
from wire.formats.netinfo import NETINFO
from wire.formats.sup import SupParams
from wire.transport.tap import Address, Kind, TapEvent

SERVER = Address("127.0.0.1", 10877)
CLIENT = Address("127.0.0.1", 40000)


def event(
    kind: Kind, data: bytes = b"", *, outgoing: bool = False, udp: bool = False, time: float = 1e9
) -> TapEvent:
    """What the tap of domain `network` tells."""
    return TapEvent(kind, "udp" if udp else "tcp", SERVER, CLIENT, outgoing, data, time, "netinfod network")


def call(
    name: bytes,
    argument: Any = None,
    xid: int = 1,
    credential: rpc.Auth = rpc.AUTH_NONE,
    marked: bool = False,
) -> bytes:
    """A call to NetInfo."""
    procedure = NETINFO.by_name[name.decode()]
    body = rpc.Call(2, NETINFO.number, NETINFO.version, procedure.number, credential, rpc.AUTH_NONE)
    record = codec(rpc.Message).build(rpc.Message(xid, rpc.MsgType.CALL, body))
    return _marked(record + codec(procedure.argument).build(argument), marked)


def reply(name: bytes, result: Any = None, xid: int = 1, marked: bool = False) -> bytes:
    """The reply to such a call."""
    procedure = NETINFO.by_name[name.decode()]
    body = rpc.Reply(
        rpc.ReplyStatus.MSG_ACCEPTED, rpc.Accepted(rpc.AUTH_NONE, rpc.AcceptStatus.SUCCESS, None)
    )
    record = codec(rpc.Message).build(rpc.Message(xid, rpc.MsgType.REPLY, body))
    return _marked(record + codec(procedure.result).build(result), marked)


def _marked(record: bytes, marked: bool) -> bytes:
    return (0x80000000 | len(record)).to_bytes(4, "big") + record if marked else record


def sup_session() -> Iterator[TapEvent]:
    """The beginning of a session with the file server."""
    params = SupParams("<", 8, False)

    def build(message: Any) -> bytes:
        return codec(type(message), params).build(message)

    yield event("open")
    yield event("data", sup.PROBE_LITTLE + build(sup.Signon(8, 13, b"4.3 BSD")))
    yield event("data", build(sup.SignonAck(8, 13, b"4.3 BSD", 4711)), outgoing=True)
    yield event("data", build(sup.Setup(0, None, b"demo", 0, None, 1, 2, 0, 0, None)))
    yield event("data", build(sup.SetupAck(sup.SetupCode.OK)), outgoing=True)
    yield event("data", build(sup.Login(None, b"ann", b"pencil")))
    yield event("close")
