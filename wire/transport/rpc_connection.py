"""The TCP side of an ONC RPC server: a connection, and what all connections of a server together may cost.

A connection answers its calls one after another. It belongs to the server's `Connections`, which close those that are
idle, half-sent, or too many, and those that hold too much.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
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
from wire.transport.rpc_dispatch import LONG, Caller, Dispatcher, Flow, Junk, Later, Outcome, close_chunks
from wire.transport.tap import Address, Tap, Tapped

log = Logger()

BATCH = LONG
"""Bytes of replies gathered before they are written, of a fragment of a streamed reply, and of calls read ahead."""
FEW = 32
"""Calls served before it is looked at whether it is the others' turn."""
TURN = 0.01
"""Seconds that one connection may work before the others have their turn."""
LINES_EVERY = 10.0
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
    _told: dict[str, tuple[float, int]] = attrs.Factory(dict)
    """Lines of the log -> when each was last written, and how often there would have been one since."""

    def junk(self, peer: Address, why: str) -> None:
        """Note that bytes were dropped."""
        self.tell(
            "{name}: dropped {count} message(s) that are no calls, the last from {peer}: {why}", peer, why=why
        )

    def tell(self, line: str, peer: Address, **what: Any) -> None:
        """Log what strangers cause: at most every ten seconds, however often they do, a *line* with the `count`."""
        at, count = self._told.get(line, (float("-inf"), 0))
        count += 1
        now = self.seconds()
        if now - at >= LINES_EVERY:
            log.warn(line, name=self.name, count=count, peer=peer, **what)
            at, count = now, 0
        self._told[line] = at, count


class Connections:
    """The connections of a server."""

    def __init__(self, shared: Shared, services: Sequence[Any]) -> None:
        self.shared = shared
        self.per_host: Counter[str] = Counter()
        self._open: dict[RpcConnection, None] = {}
        self.held = 0
        """Bytes of calls that are not served yet, of all together."""
        self.most = 0
        """How many there were at once, at most."""
        self.displaced = 0
        """How many were closed to make room for others."""
        self.unsent = 0
        """Bytes of long results that are being sent, each counted once, to however many clients."""
        self._readers: Counter[int] = Counter()
        """The `id` of such a result -> how many connections send it."""
        self._gates = [service.accept_tcp for service in services if hasattr(service, "accept_tcp")]

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[RpcConnection]:
        return iter(tuple(self._open))

    def admit(self, connection: RpcConnection) -> bool:
        """Whether a new connection may stay; may close an idle one for it."""
        limits, tell = self.shared.limits, self.shared.tell
        peer, local = connection.caller.peer, connection.caller.local
        if not all(gate(peer, local) for gate in self._gates):
            tell("{name}: refused {count} connection(s) that are not admitted, the last from {peer}", peer)
            return False
        if self.per_host[peer.host] >= limits.connections_per_address and not self._make_room(peer.host):
            tell(
                "{name}: refused {count} connection(s), too many from one address, the last from {peer}", peer
            )
            return False
        if len(self) >= limits.connections and not self._make_room(None):
            tell("{name}: too many connections; refused {count}, the last from {peer}", peer)
            return False
        self._open[connection] = None
        self.per_host[peer.host] += 1
        self.most = max(self.most, len(self))
        return True

    def _make_room(self, host: str | None) -> bool:
        """Close the least recently used idle connection (of *host*). Clients reconnect after that (NETINFO 1.1)."""
        idle = (
            connection
            for connection in self._open
            if not connection.busy and host in (None, connection.caller.peer.host)
        )
        oldest = min(idle, key=lambda connection: connection.used, default=None)
        if oldest is not None:
            line = "{name}: too many connections; closed {count} that were idle longest, the last of {peer}"
            self.shared.tell(line, oldest.caller.peer)
            oldest.abort()
            self.forget(oldest)
            self.displaced += 1
        return oldest is not None

    def hold(self, more: int) -> None:
        """One of them holds so many bytes of calls more; where all hold too much, the one that holds most is closed."""
        self.held += more
        while self.held > self.shared.limits.held_calls:
            greediest = max(self._open, key=lambda connection: connection.held)
            line = "{name}: too many bytes of calls wait; closed {count} that had most of them, the last of {peer}"
            self.shared.tell(line, greediest.caller.peer)
            greediest.abort()
            self.forget(greediest)

    def begin_sending(self, result: bytes) -> None:
        """One of them begins to send a long result; where all have too much to send, the connection whose client has
        been reading nothing for the longest time is closed."""
        self._readers[id(result)] += 1
        if self._readers[id(result)] > 1:
            return
        self.unsent += len(result)
        while self.unsent > self.shared.limits.unsent_results:
            sending = (connection for connection in self._open if connection.result)
            slowest = min(sending, key=lambda connection: connection.used, default=None)
            if slowest is None:
                return
            line = "{name}: too many bytes of replies wait; closed {count} that were not read, the last of {peer}"
            self.shared.tell(line, slowest.caller.peer)
            slowest.abort()
            self.forget(slowest)
            slowest.end_flow()

    def end_sending(self, result: bytes) -> None:
        """One of them is through with it."""
        self._readers[id(result)] -= 1
        if not self._readers[id(result)]:
            del self._readers[id(result)]
            self.unsent -= len(result)

    def forget(self, connection: RpcConnection) -> None:
        """Count a connection no longer."""
        if connection in self._open:
            del self._open[connection]
            self.held -= connection.held
            host = connection.caller.peer.host
            self.per_host[host] -= 1
            if not self.per_host[host]:
                del self.per_host[host]

    def sweep(self) -> None:
        """Close those that have been silent for too long."""
        now = self.shared.seconds()
        for connection in self:
            connection.sweep(now)


class Wait(Enum):
    """Why a connection serves no calls for now."""

    READER = "the client does not read its replies"
    RESULT = "a result is awaited"
    TURN = "it is the others' turn"
    END = "it is not open"


class RpcConnection(Protocol):
    """A client's connection: calls in, replies out, in order.

    1. Bytes come in and are cut into records.
    2. Record by record is served, unless there is something to wait for (`_waits`). A reply that is streamed or long
       (`_flow`) leaves fragment by fragment before the next record is looked at.
    3. While it waits, at most `BATCH` bytes of calls are read ahead; then reading stops until it goes on.

    Most calls come alone and are answered at once: `dataReceived` sees to these itself, for on their way microseconds
    count.
    """

    transport: Any
    caller: Caller

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._shared = connections.shared
        self._seconds = connections.shared.seconds
        self._reader = RecordReader(connections.shared.limits.tcp_call)
        self._out: list[bytes] = []
        self._waits = {Wait.END}
        self._chunks: Iterable[bytes] = ()
        self._flow: Iterator[bytes] | None = None
        self._block = b""
        self.result = b""
        """The long result that is being sent, if one is."""
        self._reading = True
        self._tap: Tapped | None = None
        self._half_since: float | None = None
        self.used = 0.0
        """When the client last did something, by the reactor's clock."""
        self.held = 0
        """Bytes of calls that are not served yet, where they were last counted."""
        self.ended: Deferred[None] = Deferred()

    # --- from the transport ------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport = self.transport
        peer, local = Address.of(transport.getPeer()), Address.of(transport.getHost())
        self.caller = Caller(self._shared.dispatcher, "tcp", peer, local)
        self.used = self._seconds()
        if not self._connections.admit(self):
            transport.loseConnection()  # the peer sees it closed, not reset, as the original's did (NETINFO 3.1)
            return
        self._waits.discard(Wait.END)
        transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        if self._shared.taps:
            self._tap = Tapped(self._shared.taps, "tcp", local, self._shared.name)
            self._tap.tell("open", peer, False)

    def dataReceived(self, data: bytes) -> None:
        if self._waits and Wait.END in self._waits:
            return
        self.used = self._seconds()
        if self._tap is not None:
            self._tap.tell("data", self.caller.peer, False, data)
        if self._waits:
            self._reader.feed(data)
            self._regulate()
            return
        record = self._reader.alone(data)
        if record is None:
            self._reader.feed(data)
            self._work()
            return
        outcome = self._outcome(record)
        if outcome.__class__ is bytes:
            self._write(MARK.pack(LAST_FRAGMENT | len(outcome)) + outcome)
        elif outcome is not None:
            self._begin(outcome)
            self._work()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(outgoing=False)
        self.end_flow()
        self._connections.forget(self)
        if not self.ended.called:
            self.ended.callback(None)

    def pauseProducing(self) -> None:
        self._waits.add(Wait.READER)

    def resumeProducing(self) -> None:
        self.used = self._seconds()
        self._go_on(Wait.READER)

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""

    # --- work -------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether somebody would miss this connection at once."""
        return self._flow is not None or Wait.RESULT in self._waits or Wait.TURN in self._waits

    def _go_on(self, waited_for: Wait) -> None:
        """What was waited for has come."""
        self._waits.discard(waited_for)
        if not self._waits:
            self._work()

    def _work(self) -> None:
        """Serve the records that are there, until something blocks."""
        until = None
        try:
            while self._stream() if self._flow is not None else self._some():
                if self._waits:
                    break
                now = self._seconds()
                if until is None:
                    until = now + TURN
                elif now > until:
                    self._waits.add(Wait.TURN)
                    self._shared.reactor.callLater(0, self._go_on, Wait.TURN)
                    break
        except RecordError as error:
            self._shared.junk(self.caller.peer, f"{error} It is closed.")
            self.close()
            return
        if self._out:
            self._flush()
        if self._waits or self._half_since is not None or self.held or not self._reading:
            self._regulate()

    def _some(self) -> bool:
        """Serve records up to one after which something may have changed; false if no more are there."""
        outcome_of, add, pack = self._outcome, self._out.append, MARK.pack
        size = 0
        for served, record in enumerate(self._reader, 1):
            self._half_since = None
            outcome = outcome_of(record)
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
            self._half_since = self.used
        return False

    def _outcome(self, record: bytes) -> Outcome:
        try:
            return self.caller.answer(record)
        except Junk as junk:
            self._shared.junk(self.caller.peer, str(junk))
            return None

    def _regulate(self) -> None:
        """Read from the client, or leave its bytes in the network; count what is held of them."""
        if Wait.END in self._waits:
            return
        held, self.held = self.held, self._reader.buffered
        if held != self.held:
            self._connections.hold(self.held - held)
        wanted = not self._waits or self.held < BATCH
        if wanted is not self._reading and Wait.END not in self._waits:
            self._reading = wanted
            if wanted:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _flush(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        self._write(data)

    def _write(self, data: bytes) -> None:
        if self._tap is not None:
            self._tap.tell("data", self.caller.peer, True, data)
        self.transport.write(data)

    # --- results that are awaited or streamed ----------------------------------------------------------------

    def _begin(self, outcome: Outcome) -> None:
        """A reply that is awaited or streamed; what was answered before it leaves first."""
        if isinstance(outcome, Later):
            done: list[Outcome] = []
            waiting = Deferred.fromCoroutine(self.caller.finish(outcome))
            waiting.addCallback(done.append)
            if not done:
                self._waits.add(Wait.RESULT)
                waiting.addCallback(lambda _: self._finished(done[0]))
                waiting.addErrback(self._broken)
                return
            outcome = done[0]
        self._put(outcome)

    def _finished(self, outcome: Outcome) -> None:
        self.used = self._seconds()
        if Wait.END not in self._waits:
            self._put(outcome)
            self._go_on(Wait.RESULT)
            if self._out:
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
        if isinstance(outcome, bytes):
            self._out += (mark(len(outcome)), outcome)
        elif isinstance(outcome, Flow):
            if self._out:
                self._flush()
            if outcome.whole:
                self._connections.begin_sending(outcome.whole)
                self.result = outcome.whole
            self._chunks = outcome.chunks
            self._flow = iter(outcome.chunks)
            self._block = outcome.header

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
            self.end_flow()
        return True

    def end_flow(self) -> None:
        """Let go of the reply that is being sent in chunks, if one is."""
        chunks, self._chunks, self._flow, self._block = self._chunks, (), None, b""
        close_chunks(chunks)
        if self.result:
            self._connections.end_sending(self.result)
            self.result = b""

    # --- ends --------------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Close the connection if it has been silent for too long, or in the middle of a record."""
        limits = self._shared.limits
        if Wait.RESULT in self._waits:
            return
        if self._half_since is not None and self._reading and now - self._half_since > limits.half_record:
            self._shared.tell(
                "{name}: closed {count} after half a record, the last of {peer}", self.caller.peer
            )
            self.abort()
        elif now - self.used > limits.idle:
            self.abort() if Wait.READER in self._waits else self.close()

    def close(self) -> None:
        """Send what is there to be sent, then close."""
        if Wait.END not in self._waits:
            if self._out:
                self._flush()
            self._end(outgoing=True)
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def abort(self) -> None:
        self._end(outgoing=True)
        self.transport.abortConnection()

    def _end(self, outgoing: bool) -> None:
        """Serve nothing more; *outgoing*: this side ends the connection."""
        if Wait.END not in self._waits:
            self._waits.add(Wait.END)
            if self._tap is not None:
                self._tap.tell("close", self.caller.peer, outgoing)
