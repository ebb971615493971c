"""ONC RPC servers over UDP and TCP (RFC 5531): services in, listening ports out.

On a connection the calls are served one after another and answered in order, as the historic servers did; the replies
to a batch of calls leave in one write. A client that does not read its replies is not read from either, and every
connection costs a bounded amount of memory whatever it sends (`RpcLimits`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from wire.transport.endpoint import Listening, listen_on, open_socket
from wire.transport.errors import ListenError
from wire.transport.limits import RpcLimits
from wire.transport.rpc_connection import Connections, RpcConnection, Shared
from wire.transport.rpc_dispatch import (
    NO_REPLY,
    SYSTEM_ERR,
    AcceptError,
    Caller,
    Dispatcher,
    Encoded,
    Flow,
    IncomingCall,
    Junk,
    Later,
    Outcome,
    Reject,
    Service,
    Streamed,
    close_chunks,
)
from wire.transport.rpc_message import XID
from wire.transport.tap import Address, Tap, Tapped

__all__ = [
    "NO_REPLY", "AcceptError", "Encoded", "IncomingCall", "Reject", "RpcLimits", "RpcServer", "Service", "Streamed",
]  # fmt: skip

log = Logger()

STOPPING = 1.0
"""Seconds that `RpcServer.stop` leaves connections to send what is still unsent."""
DATAGRAM = 65_536
"""Bytes that a datagram cannot reach."""


class RpcServer:
    """Serves programs on a port, over UDP, TCP or both."""

    def __init__(
        self,
        services: Sequence[Service],
        limits: RpcLimits | None = None,
        taps: Sequence[Tap] = (),
        name: str = "rpc",
    ) -> None:
        """services: what is served; several versions of a program may be among them.  name: of this server, for logs
        and recordings."""
        self.limits = limits or RpcLimits()
        self._shared = Shared(name, self.limits, tuple(taps), Dispatcher(services))
        self.connections = Connections(self._shared, services)
        self._listening: list[Listening] = []
        self._sweeping: LoopingCall | None = None

    async def listen(
        self, reactor: Any, host: str, port: int, udp: bool = True, tcp: bool = True, reuse_port: bool = False
    ) -> Listening:
        """Open the ports; with port 0, any number that is free for both. Raises ListenError."""
        self._shared.reactor, self._shared.seconds = reactor, reactor.seconds
        sockets = _open_sockets(host, port, udp, tcp, reuse_port)
        address = Address.of(next(iter(sockets.values())).getsockname())
        ports = []
        if "udp" in sockets:
            with sockets["udp"] as datagrams:
                protocol = RpcDatagrams(self._shared, Address.of(datagrams.getsockname()))
                ports.append(
                    reactor.adoptDatagramPort(datagrams.fileno(), datagrams.family, protocol, DATAGRAM)
                )
        if "tcp" in sockets:
            factory = cast("Any", _ConnectionFactory(self.connections))
            ports.append(await listen_on(reactor, sockets["tcp"], factory))
        listening = Listening(address, *ports)
        self._listening.append(listening)
        if self._sweeping is None:
            self._sweeping = LoopingCall(self.connections.sweep)
            self._sweeping.clock = reactor
            self._sweeping.start(min(1.0, self.limits.idle / 4, self.limits.half_record / 4), now=False)
        return listening

    async def stop(self) -> None:
        """Close the ports, then the connections; what is being sent has a second to leave."""
        while self._listening:
            await self._listening.pop().stop()
        if self._sweeping is not None:
            self._sweeping.stop()
            self._sweeping = None
        ended = [connection.ended for connection in self.connections]
        for connection in self.connections:
            connection.close()
        if ended:
            impatience = self._shared.reactor.callLater(STOPPING, self._abort_all)
            await DeferredList(ended)
            if impatience.active():
                impatience.cancel()

    def _abort_all(self) -> None:
        for connection in self.connections:
            connection.abort()


def _open_sockets(host: str, port: int, udp: bool, tcp: bool, reuse_port: bool) -> dict[str, Any]:
    """Sockets for the transports wanted, all on one number."""
    for attempt in range(20):
        opened: dict[str, Any] = {}
        number = port
        try:
            if tcp:
                opened["tcp"] = open_socket("tcp", host, number, reuse_port)
                number = opened["tcp"].getsockname()[1]
            if udp:
                opened["udp"] = open_socket("udp", host, number, reuse_port)
            return opened
        except ListenError:
            for each in opened.values():
                each.close()
            if port or attempt == 19:
                raise
    raise AssertionError("unreachable")


class _ConnectionFactory(Factory):
    noisy = False

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def buildProtocol(self, addr: Any) -> RpcConnection:
        return RpcConnection(self._connections)


class RpcDatagrams(DatagramProtocol):
    """The UDP side: a datagram is a call, and so is its reply."""

    noisy = False
    transport: Any

    def __init__(self, shared: Shared, local: Address) -> None:
        self._shared = shared
        self._local = local
        self._tapped = Tapped(shared.taps, "udp", local, shared.name)
        self._waiting: set[tuple[Any, bytes]] = set()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        shared = self._shared
        peer = Address.of(addr)
        if self._tapped:
            self._tapped.tell("datagram", peer, False, datagram)
        if len(datagram) > shared.limits.udp_call:
            shared.junk(peer, f"longer than {shared.limits.udp_call} bytes")
            return
        key = (addr, datagram[:XID])
        if key in self._waiting:
            return  # sent again by an impatient client while the first is being served
        caller = Caller(shared.dispatcher, "udp", peer, self._local)
        try:
            outcome = caller.answer(datagram)
        except Junk as junk:
            shared.junk(peer, str(junk))
            return
        if not isinstance(outcome, Later):
            self._reply(addr, outcome)
        elif len(self._waiting) >= shared.limits.waiting_datagrams:
            close_chunks(outcome.result)
            shared.tell("{name}: too many calls over UDP wait; dropped {count}, the last of {peer}", peer)
        else:
            self._waiting.add(key)
            waiting = Deferred.fromCoroutine(caller.finish(outcome))
            waiting.addCallback(lambda outcome: self._reply(addr, outcome))
            waiting.addErrback(lambda failure: log.failure("a call over UDP failed", failure))
            waiting.addBoth(lambda _: self._waiting.discard(key))

    def _reply(self, addr: Any, outcome: Outcome) -> None:
        limit = self._shared.limits.udp_reply
        if isinstance(outcome, Flow):
            data, chunks = outcome.header, iter(outcome.chunks)
            for chunk in chunks:
                data += chunk
                if len(data) > limit:
                    break
            close_chunks(outcome.chunks)
            outcome = data
        if not isinstance(outcome, bytes) or self.transport is None:
            return
        if len(outcome) > limit:
            outcome = outcome[:XID] + SYSTEM_ERR
        if self._tapped:
            self._tapped.tell("datagram", Address.of(addr), True, outcome)
        try:
            self.transport.write(outcome, addr)
        except OSError as error:
            log.debug("{name}: no reply to {addr}: {error}", name=self._shared.name, addr=addr, error=error)
