"""The TCP side of an ONC RPC server: a connection, and what all connections of a server together may cost.

A connection answers its calls one after another. It belongs to the server's `Connections`, which know which of them was
used last, and close those that are idle, half-sent, or too many.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from wire.formats.rpc import LAST_FRAGMENT
from wire.transport.errors import RecordError
from wire.transport.limits import RpcLimits
from wire.transport.record import MARK, RecordReader, mark
from wire.transport.rpc_dispatch import Caller, Dispatcher, Flow, Junk, Later, Outcome, close_chunks
from wire.transport.tap import Address, Tap, Tapped

log = Logger()

BATCH = 64 * 1024
"""Bytes of replies gathered before they are written, of a fragment of a streamed reply, and of calls read ahead."""
FEW = 32
"""Calls served before it is looked at whether it is the others' turn."""
TURN = 0.01
"""Seconds that one connection may work before the others have their turn."""
JUNK_LINES_EVERY = 10.0
"""Seconds."""


@attrs.define
class Shared:
    """What the ports and connections of one server have in common."""

    name: str
    limits: RpcLimits
    taps: tuple[Tap, ...]
    dispatcher: Dispatcher
    reactor: Any = None
    seconds: Callable[[], float] = time.monotonic
    """The reactor's clock, once there is one."""
    _junk_at: float = float("-inf")
    _junk: int = 0

    def junk(self, peer: Address, why: str) -> None:
        """Note that bytes were dropped; in the log at most a line every ten seconds, however much comes."""
        self._junk += 1
        now = self.seconds()
        if now - self._junk_at >= JUNK_LINES_EVERY:
            text = "{name}: dropped {count} message(s) that are no calls, the last from {peer}: {why}"
            log.warn(text, name=self.name, count=self._junk, peer=peer, why=why)
            self._junk_at, self._junk = now, 0


class Connections:
    """The connections of a server, the least recently used first."""

    def __init__(self, shared: Shared, services: Sequence[Any]) -> None:
        self.shared = shared
        self.per_host: Counter[str] = Counter()
        self._ordered: OrderedDict[RpcConnection, None] = OrderedDict()
        self._gates = [service.accept_tcp for service in services if hasattr(service, "accept_tcp")]

    def __len__(self) -> int:
        return len(self._ordered)

    def __iter__(self) -> Iterator[RpcConnection]:
        return iter(tuple(self._ordered))

    def admit(self, connection: RpcConnection) -> bool:
        """Whether a new connection may stay; may close an idle one for it."""
        name, limits = self.shared.name, self.shared.limits
        peer, local = connection.caller.peer, connection.caller.local
        if not all(gate(peer, local) for gate in self._gates):
            log.info("{name}: connection from {peer} refused", name=name, peer=peer)
            return False
        if self.per_host[peer.host] >= limits.connections_per_address and not self._make_room(peer.host):
            log.warn("{name}: too many connections from {host}; one refused", name=name, host=peer.host)
            return False
        if len(self) >= limits.connections and not self._make_room(None):
            log.warn("{name}: too many connections; one from {peer} refused", name=name, peer=peer)
            return False
        self._ordered[connection] = None
        self.per_host[peer.host] += 1
        return True

    def _make_room(self, host: str | None) -> bool:
        """Close the least recently used idle connection (of *host*). Clients reconnect after that (NETINFO 1.1)."""
        for connection in self._ordered:
            if not connection.busy and host in (None, connection.caller.peer.host):
                connection.abort()
                self.forget(connection)
                return True
        return False

    def used(self, connection: RpcConnection) -> None:
        self._ordered.move_to_end(connection)

    def forget(self, connection: RpcConnection) -> None:
        """Count a connection no longer."""
        if connection in self._ordered:
            del self._ordered[connection]
            host = connection.caller.peer.host
            self.per_host[host] -= 1
            if not self.per_host[host]:
                del self.per_host[host]

    def sweep(self) -> None:
        """Close those that have been silent for too long."""
        now = self.shared.seconds()
        for connection in self:
            connection.sweep(now)


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

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._shared = connections.shared
        self._reader = RecordReader(connections.shared.limits.tcp_call)
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
        self.caller = Caller(self._shared.dispatcher, "tcp", peer, local)
        self._tapped = Tapped(self._shared.taps, "tcp", local, self._shared.name)
        if not self._connections.admit(self):
            transport.abortConnection()
            return
        self._open = True
        self._used = self._shared.seconds()
        transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self._tapped.tell("open", peer, False)

    def dataReceived(self, data: bytes) -> None:
        if not self._open:
            return
        self._used = self._shared.seconds()
        self._connections.used(self)
        if self._tapped:
            self._tapped.tell("data", self.caller.peer, False, data)
        self._reader.feed(data)
        if self._blocked():
            self._regulate()
        else:
            self._work()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._open:
            self._open = False
            self._tapped.tell("close", self.caller.peer, False)
        self._end_flow()
        self._connections.forget(self)
        if not self.ended.called:
            self.ended.callback(None)

    def pauseProducing(self) -> None:
        self._held_up = True

    def resumeProducing(self) -> None:
        self._held_up = False
        self._used = self._shared.seconds()
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
        until = None
        try:
            while self._stream() if self._flow is not None else self._some():
                if self._blocked():
                    break
                now = self._shared.seconds()
                if until is None:
                    until = now + TURN
                elif now > until:
                    self._yielded = self._shared.reactor.callLater(0, self._my_turn)
                    break
        except RecordError as error:
            log.debug(
                "{name}: {peer} is closed. {error}",
                name=self._shared.name,
                peer=self.caller.peer,
                error=error,
            )
            self.close()
            return
        self._flush()
        self._regulate()

    def _some(self) -> bool:
        """Serve records up to one after which something may have changed; false if no more are there."""
        answer, add, pack = self.caller.answer, self._out.append, MARK.pack
        size = 0
        for served, record in enumerate(self._reader, 1):
            self._half_since = None
            try:
                outcome = answer(record)
            except Junk as junk:
                self._shared.junk(self.caller.peer, str(junk))
                outcome = None
            if outcome.__class__ is bytes:
                length = len(outcome)
                add(pack(LAST_FRAGMENT | length))
                add(outcome)
                size += length
                if size >= BATCH:
                    self._flush()
                    return True
            elif outcome is not None:
                self._begin(outcome)
                return True
            if served == FEW:
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
        free = self._flow is None and not self._blocked()
        if free and self._reading:
            return
        wanted = free or self._reader.buffered < BATCH
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
        self._used = self._shared.seconds()
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
            name=self._shared.name,
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

    def _stream(self) -> bool:
        """Send a fragment of a streamed reply: the bytes gathered before, once it is known whether they are the
        last. True, unless that went wrong."""
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
                name=self._shared.name,
                peer=self.caller.peer,
            )
            self.abort()
            return False
        last, fragment = size < BATCH, self._block
        if last:
            fragment = b"".join((fragment, *block))
        else:
            self._block = b"".join(block)
        self._write(mark(len(fragment), last) + fragment)
        if last:
            self._end_flow()
        return True

    def _end_flow(self) -> None:
        chunks, self._chunks, self._flow, self._block = self._chunks, (), None, b""
        close_chunks(chunks)

    # --- ends --------------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Close the connection if it has been silent for too long, or in the middle of a record."""
        limits = self._shared.limits
        if self._serving:
            return
        if self._half_since is not None and self._reading and now - self._half_since > limits.half_record:
            log.info(
                "{name}: {peer} sent half a record; closed", name=self._shared.name, peer=self.caller.peer
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
