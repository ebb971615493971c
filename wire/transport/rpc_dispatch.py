"""From the bytes of a call to the bytes of its reply, without sockets: what an ONC RPC server does between the two.

Headers are parsed once: calls on one connection differ in their transaction number and their arguments, so the rest of
the header is remembered as bytes together with what it led to (`Route`). Every protocol error is answered as RFC 5531
section 9 says; what is no call at all is `Junk`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from inspect import isawaitable
from typing import Any, Final, Protocol

import attrs
from twisted.logger import Logger

from wire.codec import codec
from wire.formats.errors import FormatError
from wire.formats.rpc import (
    AUTH_NONE,
    RPC_VERSION,
    AcceptStatus,
    Auth,
    AuthFlavor,
    AuthStatus,
    Call,
    Message,
    Mismatch,
    MsgType,
    Procedure,
    Program,
    RejectStatus,
)
from wire.transport.rpc_message import HEADER, XID, accepted, denied
from wire.transport.tap import Address, Transport

log = Logger()

NO_AUTH = 2 * codec(Auth).build(AUTH_NONE)
FIXED = len(HEADER.build(Message(0, MsgType.CALL, Call(RPC_VERSION, 0, 0, 0, AUTH_NONE, AUTH_NONE)))) - len(
    NO_AUTH
)
"""Bytes of a call before its credential and verifier."""
LONG = 64 * 1024
"""A result of more bytes is not copied into its reply, but sent in pieces of so many: it may be for others, too, and
only what a client reads shall cost memory."""
ROUTES_PER_CONNECTION = 64
SUCCESS = accepted(AcceptStatus.SUCCESS)
SYSTEM_ERR = accepted(AcceptStatus.SYSTEM_ERR)
GARBAGE_ARGS = accepted(AcceptStatus.GARBAGE_ARGS)
RPC_MISMATCH = denied(RejectStatus.RPC_MISMATCH, Mismatch(RPC_VERSION, RPC_VERSION))
KNOWN_FLAVORS = (AuthFlavor.AUTH_NONE, AuthFlavor.AUTH_SYS)


# --- what a service sees and says -----------------------------------------------------------------------------------


@attrs.define
class IncomingCall:
    """A call, as a service gets it. One is made for each call, so it is not frozen (that would treble its cost)."""

    procedure: Procedure
    argument: Any
    credential: Auth
    peer: Address
    """One object for all calls of a connection, and for none of another."""
    local: Address
    """The address the call came in on; its host is the wildcard for a UDP server that listens on all."""
    transport: Transport
    xid: bytes = b""
    """The transaction number, as its four bytes came."""


class Reject(Exception):
    """Raised by a service: deny the call, as ``MSG_DENIED``/``AUTH_ERROR`` with this status."""

    def __init__(self, status: AuthStatus) -> None:
        super().__init__(status)
        self.reply = denied(RejectStatus.AUTH_ERROR, status)


class AcceptError(Exception):
    """Raised by a service: answer the call with this status instead of a result, without a log line."""

    def __init__(self, status: AcceptStatus) -> None:
        super().__init__(status)
        self.reply = accepted(status)


class NoReply(Enum):
    """The type of `NO_REPLY`."""

    NO_REPLY = "no reply"


NO_REPLY: Final = NoReply.NO_REPLY
"""Returned by a service: the caller hears nothing (NETINFO 1.1: "answer only if served")."""


@attrs.frozen
class Encoded:
    """A result that a service has built already, as its XDR bytes."""

    data: bytes


@attrs.frozen
class Streamed:
    """A long result, as chunks of its XDR bytes, which are taken only as fast as the caller reads them."""

    chunks: Iterable[bytes]


Recall = Callable[[bytes], bytes | None]
"""From the bytes of an argument to those of the result that `serve` would give, if the service has them at hand;
otherwise None, and the call is served."""


class Service(Protocol):
    """What serves an RPC program.

    It may also define these, which are found when the server is made:

    ``admit(procedure: int, transport, peer) -> None`` raises Reject or AcceptError for calls that are refused before
    their arguments are looked at (NETINFO 1.1, the UDP filter); asked once for each procedure on a connection.

    ``recall(procedure, credential, peer) -> Recall | None``: a short cut for such calls; asked once for each header on
    a connection.

    ``accept_tcp(peer, local) -> bool``: whether a TCP connection from there is served at all.
    """

    program: Program

    def serve(self, call: IncomingCall) -> Any:
        """The procedure's result value, or an awaitable of it; or Encoded, Streamed, NO_REPLY.

        Raises Reject and AcceptError; any other exception is logged and answered SYSTEM_ERR. Calls of one connection
        are served one after another, in order (NETINFO 1.1).
        """


# --- the bytes of one call --------------------------------------------------------------------------------------------


class Junk(Exception):
    """Bytes that are no call, and get no reply."""


class Refusal(Exception):
    """A call that the protocol itself answers; `reply` is its reply's header after the transaction number."""

    def __init__(self, reply: bytes) -> None:
        super().__init__()
        self.reply = reply


class Route:
    """What a call's header led to, and where in the record its arguments begin."""

    __slots__ = ("build", "credential", "end", "parse", "procedure", "recall", "serve")

    def __init__(
        self,
        serve: Callable[[IncomingCall], Any],
        recall: Recall | None,
        procedure: Procedure,
        credential: Auth,
        end: int,
    ) -> None:
        self.serve = serve
        self.recall = recall
        self.procedure = procedure
        self.credential = credential
        self.end = end
        self.parse = codec(procedure.argument).parse
        self.build = codec(procedure.result).build


class _Kind(Enum):
    VALUE = "a result to be built"
    ENCODED = "a result built already"
    SILENT = "no reply"
    STREAMED = "chunks"
    LATER = "an awaitable"


_kinds: dict[type, _Kind] = {Encoded: _Kind.ENCODED, NoReply: _Kind.SILENT, Streamed: _Kind.STREAMED}


def _kind_of(result: Any) -> _Kind:
    """What to do with what a service returned; remembered by type, of which programs have few."""
    kind = _Kind.LATER if isawaitable(result) else _Kind.VALUE
    if len(_kinds) < 1024:
        _kinds[type(result)] = kind
    return kind


@attrs.frozen
class Later:
    """A call whose result is awaited; `Caller.finish` makes its reply."""

    route: Route
    xid: bytes
    result: Any


@attrs.frozen
class Flow:
    """A reply sent in chunks: its header, with which it may begin, then the chunks of its result."""

    header: bytes
    chunks: Iterable[bytes]
    whole: bytes = b""
    """The result that it is cut from; empty where each chunk is made when it is taken."""


Outcome = bytes | None | Later | Flow
"""A reply; no reply; a reply that is not known yet; a reply in chunks."""


class Dispatcher:
    """The programs a server has, by number and version."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.programs: dict[int, dict[int, Service]] = {}
        for service in services:
            self.programs.setdefault(service.program.number, {})[service.program.version] = service

    def route(self, record: bytes, transport: Transport, peer: Address) -> Route:
        """Parse a call's header and find what serves it. Raises Refusal, Reject, AcceptError and Junk."""
        call, end = self._header(record)
        versions = self.programs.get(call.program)
        if versions is None:
            raise Refusal(accepted(AcceptStatus.PROG_UNAVAIL))
        service = versions.get(call.version)
        if service is None:
            raise Refusal(accepted(AcceptStatus.PROG_MISMATCH, Mismatch(min(versions), max(versions))))
        admit = getattr(service, "admit", None)
        if admit is not None:
            admit(call.procedure, transport, peer)
        procedure = service.program.by_number.get(call.procedure)
        if procedure is None:
            raise Refusal(accepted(AcceptStatus.PROC_UNAVAIL))
        short_cut = getattr(service, "recall", None)
        recall = short_cut(procedure, call.credential, peer) if short_cut is not None else None
        return Route(service.serve, recall, procedure, call.credential, end)

    def _header(self, record: bytes) -> tuple[Call, int]:
        damaged = ""
        try:
            message, end = HEADER.parse(record)
        except FormatError as error:
            damaged = error.path
            try:  # the same call without credentials: is it one at all, and of our version?
                message, end = HEADER.parse_exact(record[:FIXED] + NO_AUTH), FIXED
            except FormatError:
                raise Junk(str(error)) from None
        call = message.body
        if not isinstance(call, Call):
            raise Junk("a reply where a call should be")
        if call.rpc_version != RPC_VERSION:
            raise Refusal(RPC_MISMATCH)
        if damaged:
            status = (
                AuthStatus.AUTH_BADVERF if damaged.startswith("body.verifier") else AuthStatus.AUTH_BADCRED
            )
            raise Reject(status)
        if call.credential.flavor not in KNOWN_FLAVORS:
            raise Reject(AuthStatus.AUTH_REJECTEDCRED)
        return call, end


class Caller:
    """One connection, or the sender of one datagram: where calls come from, with the headers it has used."""

    __slots__ = ("_dispatcher", "_ends", "_routes", "local", "peer", "transport")

    def __init__(self, dispatcher: Dispatcher, transport: Transport, peer: Address, local: Address) -> None:
        self._dispatcher = dispatcher
        self.transport: Transport = transport
        self.peer = peer
        self.local = local
        self._routes: dict[bytes, Route] = {}
        self._ends: tuple[int, ...] = ()

    def answer(self, record: bytes) -> Outcome:
        """Serve one call. Raises Junk if it is none."""
        routes = self._routes
        for end in self._ends:  # a header tells its own length, so none can be the beginning of another
            route = routes.get(record[XID:end])
            if route is not None:
                break
        else:
            try:
                route = self._learn(record)
                end = route.end
            except (Refusal, Reject, AcceptError) as error:
                return record[:XID] + error.reply
            except Junk:
                raise
            except Exception as error:
                return self._failed(record[:XID], None, error)
        xid = record[:XID]
        if route.recall is not None:  # most calls: nothing is parsed, nothing is built
            known = route.recall(record[end:])
            if known is not None:
                return b"".join((xid, SUCCESS, known)) if len(known) <= LONG else _in_pieces(xid, known)
        try:
            argument, _ = route.parse(record, route.end)
        except FormatError:
            return xid + GARBAGE_ARGS
        try:
            result = route.serve(
                IncomingCall(
                    route.procedure, argument, route.credential, self.peer, self.local, self.transport, xid
                )
            )
            kind = _kinds.get(result.__class__) or _kind_of(result)
            if kind is _Kind.ENCODED:
                return _reply(xid, result.data)
            if kind is _Kind.VALUE:
                return _reply(xid, route.build(result))
        except Exception as error:
            return self._failed(xid, route, error)
        if kind is _Kind.LATER:
            return Later(route, xid, result)
        return self._special(xid, kind, result)

    async def finish(self, later: Later) -> Outcome:
        """The reply of a call whose result was awaited; never `Later`."""
        try:
            result = await later.result
            kind = _kinds.get(result.__class__) or _kind_of(result)
            if kind is _Kind.VALUE:
                return _reply(later.xid, later.route.build(result))
        except Exception as error:
            return self._failed(later.xid, later.route, error)
        return self._special(later.xid, kind, result)

    def _special(self, xid: bytes, kind: _Kind, result: Any) -> Outcome:
        if kind is _Kind.ENCODED:
            return _reply(xid, result.data)
        if kind is _Kind.STREAMED:
            return Flow(xid + SUCCESS, result.chunks)
        return None

    def _learn(self, record: bytes) -> Route:
        route = self._dispatcher.route(record, self.transport, self.peer)
        if len(self._routes) >= ROUTES_PER_CONNECTION:
            self._routes.clear()
            self._ends = ()
        self._routes[record[XID : route.end]] = route
        if route.end not in self._ends:
            self._ends = (*self._ends, route.end)
        return route

    def _failed(self, xid: bytes, route: Route | None, error: Exception) -> bytes:
        if isinstance(error, (Reject, AcceptError)):
            return xid + error.reply
        log.failure(
            "{procedure} from {peer} failed; answered SYSTEM_ERR",
            procedure=route.procedure.name if route else "a call",
            peer=self.peer,
        )
        return xid + SYSTEM_ERR


def _reply(xid: bytes, result: bytes) -> Outcome:
    return xid + SUCCESS + result if len(result) <= LONG else _in_pieces(xid, result)


def _in_pieces(xid: bytes, result: bytes) -> Flow:
    rest = (result[at : at + LONG] for at in range(LONG, len(result), LONG))
    return Flow(b"".join((xid, SUCCESS, result[:LONG])), rest, result)


def close_chunks(chunks: Any) -> None:
    """Let a generator that is not taken to its end clean up."""
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
