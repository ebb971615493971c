"""The portmapper, version 2 (RFC 1833 3): which port a program listens on.

NetInfo clients ask it first (NETINFO 1.1).
"""

from __future__ import annotations

from wire.formats.record import View
from wire.formats.rpc import Procedure, Program
from wire.formats.xdr import BOOL, U32, VOID, LinkedList, Opaque, message, of, wire

IPPROTO_TCP = 6
IPPROTO_UDP = 17
MAPPING_LIMIT = 65_536
"""Longest DUMP that is read, in mappings."""
CALLIT_LIMIT = 65_507
"""Longest arguments or results carried by CALLIT, in bytes: what a datagram can hold."""


@message
class Mapping:
    """A program's port for one protocol (RFC 1833 3.1)."""

    program: int = wire(U32, "the program", view=View.PROGRAM)
    version: int = wire(U32, "its version")
    protocol: int = wire(U32, "6 for TCP, 17 for UDP", view=View.PROTOCOL)
    port: int = wire(U32, "the port; ignored where it is being asked for")


@message
class CallitArgs:
    """A call to be passed on to a program on the portmapper's host (RFC 1833 3.1, call_args)."""

    program: int = wire(U32, "the program", view=View.PROGRAM)
    version: int = wire(U32, "its version")
    procedure: int = wire(U32, "the procedure's number")
    arguments: bytes = wire(Opaque(CALLIT_LIMIT), "the procedure's arguments, already in XDR")


@message
class CallitResult:
    """What came back from a call passed on (RFC 1833 3.1, call_result); nothing is sent after a failure."""

    port: int = wire(U32, "the port the program listens on")
    results: bytes = wire(Opaque(CALLIT_LIMIT), "the procedure's results, still in XDR")


PORTMAP = Program(
    "portmap",
    100000,
    2,
    (
        Procedure(0, "NULL", VOID, VOID, "does nothing; shows that somebody answers"),
        Procedure(
            1, "SET", of(Mapping), BOOL, "registers a mapping; false if the program has one", mutates=True
        ),
        Procedure(
            2, "UNSET", of(Mapping), BOOL, "removes a program's mappings for every protocol", mutates=True
        ),
        Procedure(3, "GETPORT", of(Mapping), U32, "the port of a program; 0 if it is not registered"),
        Procedure(4, "DUMP", VOID, LinkedList(Mapping, MAPPING_LIMIT), "all mappings"),
        Procedure(
            5,
            "CALLIT",
            of(CallitArgs),
            of(CallitResult),
            "passes a call on; silent if it fails (NETINFO 4.4)",
        ),
    ),
)
