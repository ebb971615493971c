"""The programs that the tests of RPC serve and call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wire.formats.netinfo import NETINFO, LookupArgs, LookupBody, NiId, NiStatus, Result
from wire.formats.rpc import AUTH_NONE, Auth, AuthFlavor, AuthUnix, Procedure, Program
from wire.formats.xdr import U32, VOID, Opaque
from wire.transport.rpc_message import build_call
from wire.transport.rpc_server import IncomingCall
from wire.transport.tap import Address

HERE, THERE = Address("127.0.0.1", 877), Address("127.0.0.9", 40_000)

ECHO = Program(
    "echo",
    0x20000000,
    3,
    (
        Procedure(0, "NULL", VOID, VOID, "nothing"),
        Procedure(1, "ECHO", Opaque(1 << 20), Opaque(1 << 20), "what it is given"),
        Procedure(2, "MANY", U32, Opaque(0xFFFFFFFF), "as many bytes"),
        Procedure(3, "WAIT", U32, U32, "its argument, when the test says so"),
    ),
)
"""A program that has results of every length."""

FOUND = Result(NiStatus.NI_OK, LookupBody((5,), NiId(1, 1)))
LOOKUP = NETINFO.by_name["LOOKUP"]
WANTED = LookupArgs(NiId(0, 0), b"name", b"venus")
UNIX = Auth(AuthFlavor.AUTH_SYS, AuthUnix(7, b"venus", 0, 0, ()))


class Serving:
    """A service that does what a test says, and notes its calls."""

    def __init__(self, program: Program, serve: Callable[[IncomingCall], Any] = lambda call: None) -> None:
        self.program = program
        self.calls: list[IncomingCall] = []
        self._serve = serve

    def serve(self, call: IncomingCall) -> Any:
        self.calls.append(call)
        return self._serve(call)


def echo(call: IncomingCall) -> Any:
    if call.procedure.name == "MANY":
        return bytes(call.argument)
    return call.argument


def lookup(xid: int = 1, credential: Auth = AUTH_NONE) -> bytes:
    """A call of NetInfo's LOOKUP."""
    return build_call(xid, NETINFO, LOOKUP, WANTED, credential)


def echo_call(xid: int, name: str = "ECHO", argument: Any = b"") -> bytes:
    return build_call(xid, ECHO, ECHO.by_name[name], argument)
