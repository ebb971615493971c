"""ONC RPC version 2 (RFC 5531): calls, both kinds of reply, credentials, record marking; and what a program is.

A message's header stands here; the arguments or results that follow it are the program's, found through its one table
of procedures (`Program`), which the server's dispatch, the client's calls, the dissector and the docs all read.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import cached_property

import attrs

from wire.formats.record import View, WireType
from wire.formats.xdr import U32, VOID, Array, EnumOf, Opaque, Union, Within, message, of, wire

RPC_VERSION = 2
AUTH_LIMIT = 400
"""Longest body of a credential or verifier, in bytes (RFC 5531 8.2)."""


class MsgType(IntEnum):
    CALL = 0
    REPLY = 1


class ReplyStatus(IntEnum):
    MSG_ACCEPTED = 0
    MSG_DENIED = 1


class AcceptStatus(IntEnum):
    SUCCESS = 0
    PROG_UNAVAIL = 1
    PROG_MISMATCH = 2
    PROC_UNAVAIL = 3
    GARBAGE_ARGS = 4
    SYSTEM_ERR = 5


class RejectStatus(IntEnum):
    RPC_MISMATCH = 0
    AUTH_ERROR = 1


class AuthStatus(IntEnum):
    AUTH_OK = 0
    AUTH_BADCRED = 1
    AUTH_REJECTEDCRED = 2
    AUTH_BADVERF = 3
    AUTH_REJECTEDVERF = 4
    AUTH_TOOWEAK = 5
    AUTH_INVALIDRESP = 6
    AUTH_FAILED = 7


class AuthFlavor(IntEnum):
    AUTH_NONE = 0
    AUTH_SYS = 1
    AUTH_SHORT = 2
    AUTH_DH = 3
    RPCSEC_GSS = 6


@message
class AuthUnix:
    """AUTH_SYS, once AUTH_UNIX: who the caller says it is (RFC 5531 appendix A).

    NetInfo carries a password in it (NETINFO 3.3).
    """

    stamp: int = wire(U32, "an arbitrary number, by custom the time", view=View.TIME)
    machine: bytes = wire(
        Opaque(255), "the caller's machine name; NetInfo's password, every bit inverted", view=View.COMPLEMENT
    )
    uid: int = wire(U32, "the caller's user number")
    gid: int = wire(U32, "the caller's group number")
    gids: tuple[int, ...] = wire(Array(U32, 16), "further group numbers")


@message
class Auth:
    """A credential or verifier, opaque_auth (RFC 5531 8.2). A flavor that is not known keeps its bytes."""

    flavor: AuthFlavor = wire(EnumOf(AuthFlavor), "how the caller identifies itself")
    body: AuthUnix | bytes = wire(
        Union("flavor", {AuthFlavor.AUTH_SYS: Within(AuthUnix, AUTH_LIMIT)}, default=Opaque(AUTH_LIMIT)),
        "the identification, as the flavor lays it out",
    )


AUTH_NONE = Auth(AuthFlavor.AUTH_NONE, b"")


@message
class Call:
    """The header of a call (RFC 5531 9, call_body); the procedure's arguments follow it."""

    rpc_version: int = wire(U32, "version of ONC RPC itself, 2")
    program: int = wire(U32, "the program called", view=View.PROGRAM)
    version: int = wire(U32, "the program's version")
    procedure: int = wire(U32, "the procedure's number in the program's table")
    credential: Auth = wire(of(Auth), "who is calling")
    verifier: Auth = wire(of(Auth), "proof of the credential; empty in the flavors of this time")


@message
class Mismatch:
    """The range of versions that a server does speak (RFC 5531 9, mismatch_info)."""

    low: int = wire(U32, "lowest version served")
    high: int = wire(U32, "highest version served")


@message
class Accepted:
    """A reply to a call whose credentials were accepted (RFC 5531 9); after SUCCESS the procedure's results follow."""

    verifier: Auth = wire(of(Auth), "the server's proof of who it is; empty in the flavors of this time")
    status: AcceptStatus = wire(EnumOf(AcceptStatus), "what came of the call")
    body: Mismatch | None = wire(
        Union("status", {AcceptStatus.PROG_MISMATCH: of(Mismatch)}, default=VOID),
        "versions served, after PROG_MISMATCH",
    )


@message
class Rejected:
    """A reply to a call that was not accepted (RFC 5531 9)."""

    status: RejectStatus = wire(EnumOf(RejectStatus), "why the call was denied")
    body: Mismatch | AuthStatus = wire(
        Union(
            "status", {RejectStatus.RPC_MISMATCH: of(Mismatch), RejectStatus.AUTH_ERROR: EnumOf(AuthStatus)}
        ),
        "versions of ONC RPC served, or what is wrong with the credential",
    )


@message
class Reply:
    """The header of a reply (RFC 5531 9, reply_body)."""

    status: ReplyStatus = wire(EnumOf(ReplyStatus), "accepted or denied")
    body: Accepted | Rejected = wire(
        Union("status", {ReplyStatus.MSG_ACCEPTED: of(Accepted), ReplyStatus.MSG_DENIED: of(Rejected)}),
        "the accepted or the denied arm",
    )


@message
class Message:
    """An RPC message (RFC 5531 9, rpc_msg). Calls and replies find each other by `xid`."""

    xid: int = wire(U32, "transaction number, copied from the call into its reply", view=View.HEX)
    type: MsgType = wire(EnumOf(MsgType), "call or reply")
    body: Call | Reply = wire(
        Union("type", {MsgType.CALL: of(Call), MsgType.REPLY: of(Reply)}), "the header's rest"
    )


@message
class FragmentHeader:
    """Record marking on TCP (RFC 5531 11): before each fragment of a record."""

    word: int = wire(
        U32, "top bit: last fragment of the record; the rest: bytes in this fragment", view=View.HEX
    )

    @property
    def last(self) -> bool:
        return bool(self.word & LAST_FRAGMENT)

    @property
    def length(self) -> int:
        """Bytes in the fragment, 0 to 2**31 - 1."""
        return self.word & ~LAST_FRAGMENT


LAST_FRAGMENT = 0x80000000


@attrs.frozen
class Procedure:
    """One row of a program's table: number, name, what it takes, what it gives, whether it changes anything."""

    number: int
    name: str
    argument: WireType
    result: WireType
    doc: str
    mutates: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen(slots=False)
class Program:
    """An RPC program: its numbers and its table of procedures."""

    name: str
    number: int
    version: int
    procedures: tuple[Procedure, ...]

    @cached_property
    def by_number(self) -> Mapping[int, Procedure]:
        return {procedure.number: procedure for procedure in self.procedures}

    @cached_property
    def by_name(self) -> Mapping[str, Procedure]:
        return {procedure.name: procedure for procedure in self.procedures}
