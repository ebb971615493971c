"""ONC RPC servers over UDP and TCP (RFC 5531): services in, listening ports out.

On a connection the calls are served one after another and answered in order, as the historic servers did; the replies
to a batch of calls leave in one write. A client that does not read its replies is not read from either, and every
connection costs a bounded amount of memory whatever it sends (`RpcLimits`).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from wire.formats.rpc import LAST_FRAGMENT
from wire.transport.endpoint import Listening, listen_on, open_socket
from wire.transport.errors import ListenError, RecordError
from wire.transport.limits import RpcLimits
from wire.transport.record import MARK, RecordReader, mark
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
)
from wire.transport.rpc_message import XID
from wire.transport.tap import Address, Tap, Tapped

__all__ = [
    "NO_REPLY", "AcceptError", "Encoded", "IncomingCall", "Reject", "RpcLimits", "RpcServer", "Service", "Streamed",
]  # fmt: skip

log = Logger()

BATCH = 64 * 1024
"""Bytes of replies gathered before they are written, of a fragment of a streamed reply, and of calls read ahead."""
FEW = 32
"""Calls served before it is looked at whether it is the others' turn."""
TURN = 0.01
"""Seconds that one connection may work before the others have their turn."""
STOPPING = 1.0
"""Seconds that `RpcServer.stop` leaves connections to send what is still unsent."""
JUNK_LINES_EVERY = 10.0


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
        self.services = tuple(services)
        self.limits = limits or RpcLimits()
        self.taps = tuple(taps)
        self.name = name
        self.dispatcher = Dispatcher(self.services)
        self.connections: OrderedDict[RpcConnection, None] = OrderedDict()  # least recently used first
        self.per_host: Counter[str] = Counter()
        self._listening: list[Listening] = []
        self._sweeping: LoopingCall | None = None
        self.reactor: Any = None
        self._junk_at = float("-inf")
        self._junk = 0

    async def listen(
        self, reactor: Any, host: str, port: int, udp: bool = True, tcp: bool = True, reuse_port: bool = False
    ) -> Listening:
        """Open the ports; with port 0, any number that is free for both. Raises ListenError."""
        self.reactor = reactor
        sockets = _open_sockets(host, port, udp, tcp, reuse_port)
        address = Address.of(next(iter(sockets.values())).getsockname())
        ports = []
        if "udp" in sockets:
            with sockets["udp"] as datagrams:
                protocol = RpcDatagrams(self, Address.of(datagrams.getsockname()))
                ports.append(
                    reactor.adoptDatagramPort(datagrams.fileno(), datagrams.family, protocol, 65_536)
                )
        if "tcp" in sockets:
            ports.append(await listen_on(reactor, sockets["tcp"], cast("Any", _ConnectionFactory(self))))
        listening = Listening(address, *ports)
        self._listening.append(listening)
        if self._sweeping is None:
            self._sweeping = LoopingCall(self._sweep)
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
        for connection in tuple(self.connections):
            connection.close()
        if ended:
            impatience = self.reactor.callLater(STOPPING, self._abort_all)
            await DeferredList(ended)
            if impatience.active():
                impatience.cancel()

    def _abort_all(self) -> None:
        for connection in tuple(self.connections):
            connection.abort()

    def seconds(self) -> float:
        return cast(float, self.reactor.seconds())

    # --- connections -------------------------------------------------------------------------------------------------

    def admits(self, peer: Address, local: Address) -> bool:
        """Whether a new connection may stay; may close an idle one for it."""
        for service in self.services:
            accept = getattr(service, "accept_tcp", None)
            if accept is not None and not accept(peer, local):
                log.info("{name}: connection from {peer} refused", name=self.name, peer=peer)
                return False
        if self.per_host[peer.host] >= self.limits.connections_per_address and not self._make_room(peer.host):
            log.warn("{name}: too many connections from {host}; one refused", name=self.name, host=peer.host)
            return False
        if len(self.connections) >= self.limits.connections and not self._make_room(None):
            log.warn("{name}: too many connections; one from {peer} refused", name=self.name, peer=peer)
            return False
        return True

    def _make_room(self, host: str | None) -> bool:
        """Close the least recently used idle connection (of *host*). Clients reconnect after that (NETINFO 1.1)."""
        for connection in self.connections:
            if not connection.busy and host in (None, connection.caller.peer.host):
                connection.abort()
                self.forget(connection)
                return True
        return False

    def forget(self, connection: RpcConnection) -> None:
        """Count a connection no longer."""
        if connection in self.connections:
            del self.connections[connection]
            host = connection.caller.peer.host
            self.per_host[host] -= 1
            if not self.per_host[host]:
                del self.per_host[host]

    def _sweep(self) -> None:
        now = self.seconds()
        for connection in tuple(self.connections):
            connection.sweep(now)

    def junk(self, peer: Address, why: str) -> None:
        """Note that bytes were dropped; in the log at most a line every ten seconds, however much comes."""
        self._junk += 1
        now = self.seconds()
        if now - self._junk_at >= JUNK_LINES_EVERY:
            log.warn(
                "{name}: dropped {count} message(s) that are no calls, the last from {peer}: {why}",
                name=self.name, count=self._junk, peer=peer, why=why,
            )  # fmt: skip
            self._junk_at, self._junk = now, 0


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

    def __init__(self, server: RpcServer) -> None:
        self._server = server

    def buildProtocol(self, addr: Any) -> RpcConnection:
        return RpcConnection(self._server)


class RpcConnection(Protocol):
    """A client's connection: calls in, replies out, in order.

    1. Bytes come in and are cut into records.
    2. Record by record is served, unless the connection is blocked: the client does not read (`_held_up`), a result is
       awaited (`_serving`), or it is the others' turn (`_yielded`). A streamed result (`_flow`) leaves fragment by
       fragment before the next record is looked at.
    3. While it is blocked, at most `BATCH` bytes of calls are read ahead; then reading stops until it goes on.
    """

    transport: Any
    caller: Caller

    def __init__(self, server: RpcServer) -> None:
        self._server = server
        self._reader = RecordReader(int(server.limits.tcp_call))
        self._out: list[bytes] = []
        self._held_up = False
        self._serving = False
        self._yielded: Any = None
        self._chunks: Iterable[bytes] = ()
        self._flow: Iterator[bytes] | None = None
        self._block = b""
        self._reading = True
        self._open = False
        self._used = 0.0
        self._half_since: float | None = None
        self.ended: Deferred[None] = Deferred()

    # --- from the transport ------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport = self.transport
        peer, local = Address.of(transport.getPeer()), Address.of(transport.getHost())
        self.caller = Caller(self._server.dispatcher, "tcp", peer, local)
        self._tapped = Tapped(self._server.taps, "tcp", local, self._server.name)
        if not self._server.admits(peer, local):
            transport.abortConnection()
            return
        self._open = True
        self._server.connections[self] = None
        self._server.per_host[peer.host] += 1
        self._used = self._server.seconds()
        transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self._tapped.tell("open", peer, False)

    def dataReceived(self, data: bytes) -> None:
        if not self._open:
            return
        server = self._server
        self._used = server.seconds()
        server.connections.move_to_end(self)
        if self._tapped:
            self._tapped.tell("data", self.caller.peer, False, data)
        self._reader.feed(data)
        self._go_on()
        self._regulate()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._open:
            self._open = False
            self._tapped.tell("close", self.caller.peer, False)
        self._end_flow()
        self._server.forget(self)
        if not self.ended.called:
            self.ended.callback(None)

    def pauseProducing(self) -> None:
        self._held_up = True

    def resumeProducing(self) -> None:
        self._held_up = False
        self._used = self._server.seconds()
        self._go_on()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""

    # --- work -------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether somebody would miss this connection at once."""
        return self._serving or self._yielded is not None or self._flow is not None

    def _go_on(self) -> None:
        if not self._blocked():
            self._work()

    def _work(self) -> None:
        """Serve the records that are there, until something blocks."""
        until = self._server.seconds() + TURN
        try:
            while not self._blocked():
                if self._flow is not None:
                    self._stream()
                elif not self._some():
                    break
                if self._server.seconds() > until and not self._blocked():
                    self._yielded = self._server.reactor.callLater(0, self._my_turn)
        except RecordError as error:
            log.debug(
                "{name}: {peer} is closed. {error}",
                name=self._server.name,
                peer=self.caller.peer,
                error=error,
            )
            self.close()
            return
        self._flush()
        self._regulate()

    def _some(self) -> bool:
        """Serve records up to the next one after which something may have changed; false if there are no more."""
        answer, add, pack = self.caller.answer, self._out.append, MARK.pack
        size = served = 0
        for record in self._reader:
            self._half_since = None
            try:
                outcome = answer(record)
            except Junk as junk:
                self._server.junk(self.caller.peer, str(junk))
                continue
            if outcome.__class__ is bytes:
                length = len(outcome)
                add(pack(LAST_FRAGMENT | length))
                add(outcome)
                size += length
                served += 1
                if size < BATCH and served < FEW:
                    continue
                if size >= BATCH:
                    self._flush()
                return True
            if outcome is not None:
                self._begin(outcome)
                return True
        if self._half_since is None and self._reader.partial:
            self._half_since = self._used
        return False

    def _blocked(self) -> bool:
        return self._held_up or self._serving or self._yielded is not None or not self._open

    def _my_turn(self) -> None:
        self._yielded = None
        self._go_on()

    def _regulate(self) -> None:
        """Read from the client, or leave its bytes in the network."""
        wanted = not ((self._blocked() or self._flow is not None) and self._reader.buffered >= BATCH)
        if wanted is not self._reading and self._open:
            self._reading = wanted
            if wanted:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self._tapped:
            self._tapped.tell("data", self.caller.peer, True, data)
        self.transport.write(data)

    # --- results that are awaited or streamed ----------------------------------------------------------------

    def _begin(self, outcome: Outcome) -> None:
        """A reply that is awaited or streamed; what was answered before it leaves first."""
        if isinstance(outcome, Later):
            done: list[Outcome] = []
            waiting = Deferred.fromCoroutine(self.caller.finish(outcome))
            waiting.addCallback(done.append)
            if not done:
                self._serving = True
                waiting.addCallback(lambda _: self._finished(done[0]))
                waiting.addErrback(self._broken)
                return
            outcome = done[0]
        self._put(outcome)

    def _finished(self, outcome: Outcome) -> None:
        self._serving = False
        self._used = self._server.seconds()
        if self._open:
            self._put(outcome)
            self._go_on()
            self._flush()
        elif isinstance(outcome, Flow):
            close_chunks(outcome.chunks)

    def _broken(self, failure: Failure) -> None:
        log.failure(
            "{name}: a call of {peer} broke its connection",
            failure,
            name=self._server.name,
            peer=self.caller.peer,
        )
        self.abort()

    def _put(self, outcome: Outcome) -> None:
        if isinstance(outcome, Flow):
            self._flush()
            self._chunks = outcome.chunks
            self._flow = iter(outcome.chunks)
            self._block = outcome.header
        elif isinstance(outcome, bytes):
            self._out += (mark(len(outcome)), outcome)

    def _stream(self) -> None:
        """Send a fragment of a streamed reply: the bytes gathered before, once it is known whether they are the
        last."""
        assert self._flow is not None
        block: list[bytes] = []
        size = 0
        try:
            for chunk in self._flow:
                block.append(chunk)
                size += len(chunk)
                if size >= BATCH:
                    break
        except Exception:
            log.failure(
                "{name}: a streamed reply to {peer} failed; its connection is closed",
                name=self._server.name,
                peer=self.caller.peer,
            )
            self.abort()
            return
        last, fragment = size < BATCH, self._block
        if last:
            fragment = b"".join((fragment, *block))
        else:
            self._block = b"".join(block)
        self._write(mark(len(fragment), last) + fragment)
        if last:
            self._end_flow()

    def _end_flow(self) -> None:
        chunks, self._chunks, self._flow, self._block = self._chunks, (), None, b""
        close_chunks(chunks)

    # --- ends --------------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Close the connection if it has been silent for too long, or in the middle of a record."""
        limits = self._server.limits
        if self._serving:
            return
        if self._half_since is not None and self._reading and now - self._half_since > limits.half_record:
            log.info(
                "{name}: {peer} sent half a record; closed", name=self._server.name, peer=self.caller.peer
            )
            self.abort()
        elif now - self._used > limits.idle:
            self.abort() if self._held_up else self.close()

    def close(self) -> None:
        """Send what is there to be sent, then close."""
        if self._open:
            self._open = False
            self._flush()
            self._tapped.tell("close", self.caller.peer, True)
            transport = self.transport
            transport.unregisterProducer()
            transport.loseConnection()

    def abort(self) -> None:
        if self._open:
            self._open = False
            self._tapped.tell("close", self.caller.peer, True)
        self.transport.abortConnection()


def close_chunks(chunks: Any) -> None:
    """Let a generator that is not taken to its end clean up."""
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


class RpcDatagrams(DatagramProtocol):
    """The UDP side: a datagram is a call, and so is its reply."""

    noisy = False
    transport: Any

    def __init__(self, server: RpcServer, local: Address) -> None:
        self._server = server
        self._local = local
        self._tapped = Tapped(server.taps, "udp", local, server.name)
        self._waiting: set[tuple[Any, bytes]] = set()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        server = self._server
        peer = Address.of(addr)
        if self._tapped:
            self._tapped.tell("datagram", peer, False, datagram)
        if len(datagram) > server.limits.udp_call:
            server.junk(peer, f"longer than {server.limits.udp_call} bytes")
            return
        key = (addr, datagram[:XID])
        if key in self._waiting:
            return  # sent again by an impatient client while the first is being served
        caller = Caller(server.dispatcher, "udp", peer, self._local)
        try:
            outcome = caller.answer(datagram)
        except Junk as junk:
            server.junk(peer, str(junk))
            return
        if not isinstance(outcome, Later):
            self._reply(addr, outcome)
        elif len(self._waiting) >= server.limits.waiting_datagrams:
            close_chunks(outcome.result)
            log.warn(
                "{name}: too many calls over UDP wait; one of {peer} dropped", name=server.name, peer=peer
            )
        else:
            self._waiting.add(key)
            waiting = Deferred.fromCoroutine(caller.finish(outcome))
            waiting.addCallback(lambda outcome: self._reply(addr, outcome))
            waiting.addErrback(lambda failure: log.failure("a call over UDP failed", failure))
            waiting.addBoth(lambda _: self._waiting.discard(key))

    def _reply(self, addr: Any, outcome: Outcome) -> None:
        limit = self._server.limits.udp_reply
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
            log.debug("{name}: no reply to {addr}: {error}", name=self._server.name, addr=addr, error=error)
