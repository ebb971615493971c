"""The calls of an ONC RPC client that have not been answered, and what its TCP and UDP kinds have in common.

A reply finds its call by its transaction number. `wire.transport.rpc_client` makes the clients.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import Any

from twisted.internet.defer import Deferred

from wire.codec import Stream, codec
from wire.formats.errors import FormatError
from wire.formats.rpc import AUTH_NONE, Auth, Procedure, Program
from wire.transport.errors import RpcConnectionLost, RpcError, RpcProtocolError, RpcTimeout
from wire.transport.limits import RpcLimits
from wire.transport.rpc_message import XID, build_call, read_reply, read_reply_header
from wire.transport.tap import Address

HEADER_LIMIT = 512
"""No header of a reply is longer, in bytes."""


class PendingCall:
    """A call that has not been answered."""

    long = False
    """Whether `part` is to be given the reply as it arrives."""

    def __init__(self, client: RpcClient, xid: bytes, procedure: Procedure, patience: float) -> None:
        self.procedure = procedure
        self.answered: Deferred[Any] = Deferred(lambda _: self.end())
        self.resend: Any = None
        """The timer of the next repetition, over UDP."""
        self._client = client
        self._xid = xid
        self._patience = patience
        self._timer = client.reactor.callLater(patience, self._expired)

    def reply(self, reply: bytes) -> None:
        """Take the whole reply."""
        try:
            result = read_reply(self.procedure, reply)
        except RpcError as error:
            self.fail(error)
        else:
            self.succeed(result)

    def part(self, data: bytes, last: bool) -> None:
        raise AssertionError("only a long call takes its reply in parts")

    def succeed(self, result: Any) -> None:
        self.end()
        self.answered.callback(result)

    def fail(self, error: RpcError) -> None:
        self.end()
        self.answered.errback(error)

    def end(self) -> None:
        """Wait no longer."""
        self._client.pending.pop(self._xid, None)
        for timer in (self._timer, self.resend):
            if timer is not None and timer.active():
                timer.cancel()

    def _expired(self) -> None:
        name, peer = self.procedure.name, self._client.peer
        self.fail(RpcTimeout(f"{peer} did not answer {name} within {self._patience:g} seconds."))


class PendingLongCall(PendingCall):
    """A call whose result is parsed while it arrives, so that its bytes are never held as a whole."""

    long = True

    def __init__(self, client: RpcClient, xid: bytes, procedure: Procedure, patience: float) -> None:
        super().__init__(client, xid, procedure, patience)
        self._limit = client.limits.long_reply
        self._size = 0
        self._begun = b""
        self._result: Stream[Any] | None = None
        self._whole = False

    def part(self, data: bytes, last: bool) -> None:
        """Take some bytes of the reply. Those after damage, or after the call's time, are passed over."""
        if self.answered.called:
            return
        self._timer.reset(self._patience)
        try:
            self._take(data, last)
        except RpcError as error:
            self.fail(error)
        else:
            if last and self._result is not None:
                self.succeed(self._result.value)

    def _take(self, data: bytes, last: bool) -> None:
        name = self.procedure.name
        self._size += len(data)
        if self._size > self._limit:
            raise RpcProtocolError(f"The result of {name} is longer than the {self._limit} bytes allowed.")
        if self._result is None:
            self._begun += data
            if len(self._begun) < HEADER_LIMIT and not last:
                return
            data = self._begun[read_reply_header(self.procedure, self._begun) :]
            self._result = codec(self.procedure.result).stream()
        if not self._whole:
            try:
                self._whole = self._result.feed(data)
            except FormatError as error:
                raise RpcProtocolError(f"The result of {name} is damaged: {error}.") from error
        if last and not self._whole:
            raise RpcProtocolError(f"The result of {name} ends too early.")


class RpcClient(ABC):
    """A way to one program at one address. Made by `connect_tcp` and `connect_udp`."""

    def __init__(self, reactor: Any, program: Program, limits: RpcLimits, timeout: float) -> None:
        self.reactor = reactor
        self.program = program
        self.limits = limits
        self.timeout = timeout
        self.pending: dict[bytes, PendingCall] = {}
        self.connected = False
        """Whether calls can be made: false once either side has closed."""
        self.peer = Address("", 0)
        """The server's address."""
        self.local = Address("", 0)
        """This side's address."""
        self._xid = random.getrandbits(32)
        self._why = "is not open yet"

    async def call(
        self, name: str, argument: Any = None, *, credential: Auth = AUTH_NONE, timeout: float | None = None
    ) -> Any:
        """Call the procedure *name* of the client's program and wait for its result, *timeout* seconds at most.

        Raises RpcTimeout, RpcConnectionLost, RpcDenied, RpcAcceptError, RpcProtocolError; FormatError where the
        argument does not fit the procedure.
        """
        return await self._send(PendingCall, name, argument, credential, timeout)

    async def call_long(
        self, name: str, argument: Any = None, *, credential: Auth = AUTH_NONE, timeout: float | None = None
    ) -> Any:
        """Like `call`, for a result that may be longer than one wants to hold in bytes: over TCP it is parsed while it
        arrives, up to `RpcLimits.long_reply`. *timeout* is then the longest silence of the server."""
        return await self._send(PendingLongCall, name, argument, credential, timeout)

    def _send(
        self, kind: type[PendingCall], name: str, argument: Any, credential: Auth, timeout: float | None
    ) -> Deferred[Any]:
        procedure = self.program.by_name[name]
        if not self.connected:
            raise RpcConnectionLost(f"{name} cannot be called: the connection to {self.peer} {self._why}.")
        self._xid = self._xid + 1 & 0xFFFFFFFF
        call = build_call(self._xid, self.program, procedure, argument, credential)
        xid = call[:XID]
        pending = kind(self, xid, procedure, self.timeout if timeout is None else timeout)
        self.pending[xid] = pending
        self.transmit(call, pending)
        return pending.answered

    def close(self) -> None:
        """Close at once; calls under way fail with RpcConnectionLost."""
        if self.connected:
            self.lost("was closed")
            self.disconnect()

    # --- for its kinds over TCP and UDP ------------------------------------------------------------------------

    @abstractmethod
    def transmit(self, call: bytes, pending: PendingCall) -> None:
        """Send a call, for the first time."""

    @abstractmethod
    def disconnect(self) -> None:
        """Let go of the transport; nothing is expected from it any more."""

    def arrived(self, reply: bytes) -> None:
        """A reply; one that nobody waits for is late or doubled, and dropped."""
        pending = self.pending.get(reply[:XID])
        if pending is not None:
            pending.reply(reply)

    def lost(self, why: str) -> None:
        """Every call under way fails, and every later one will."""
        self.connected = False
        self._why = why
        for pending in tuple(self.pending.values()):
            name = pending.procedure.name
            pending.fail(
                RpcConnectionLost(f"The connection to {self.peer} {why} before {name} was answered.")
            )
