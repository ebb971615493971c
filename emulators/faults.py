"""A network that misbehaves on purpose: the lab's servers behind lost, late and repeated messages.

`FaultyReactor` stands between servers and the reactor. Over UDP each datagram, in or out, is lost, delivered twice or
late by chance. TCP hides losses and repetitions from programs, which only see bytes come late: so what is "lost" there
comes after a retransmission timeout, and nothing comes twice or out of order.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import alsoProvides, providedBy

from wire.transport.tap import Address

log = Logger()

RETRANSMISSION = 0.2
"""Seconds after which a TCP of today sends a lost segment again (Linux's least retransmission timeout)."""
WINDOW = 64 * 1024
"""Bytes of a TCP connection that are on the way in one direction; then the sender waits, as for a window."""
DATAGRAMS = 1024
"""Datagrams on the way at once; further ones are lost."""
LONGEST_DELAY = 60.0

_UNITS = {"ms": 0.001, "s": 1.0}
_DELAY = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


@attrs.frozen
class Faults:
    """How often a message is lost or delivered twice (0 to 1), and how late each comes (seconds)."""

    drop: float = 0.0
    delay: float = 0.0
    dup: float = 0.0

    def __bool__(self) -> bool:
        return self != NO_FAULTS

    @classmethod
    def parse(cls, text: str) -> Faults:
        """From ``drop=0.1,delay=50ms,dup=0.05``, each part at most once. Raises ValueError with a sentence."""
        found: dict[str, float] = {}
        for part in text.split(",") if text else ():
            name, _, value = part.strip().partition("=")
            if name in found:
                raise ValueError(f"{name} is given twice")
            if name in ("drop", "dup"):
                found[name] = _chance(name, value)
            elif name == "delay":
                found[name] = _seconds(value)
            else:
                raise ValueError(f"{part.strip()!r} is none of drop=0.1, delay=50ms, dup=0.05")
        return cls(**found)


NO_FAULTS = Faults()


def _chance(name: str, value: str) -> float:
    try:
        chance = float(value)
    except ValueError:
        chance = -1.0
    if not 0 <= chance <= 1:
        raise ValueError(f"{name} is a number from 0 (never) to 1 (always), not {value!r}")
    return chance


def _seconds(value: str) -> float:
    matched = _DELAY.fullmatch(value)
    seconds = float(matched[1]) * _UNITS[matched[2]] if matched else -1.0
    if not 0 <= seconds <= LONGEST_DELAY:
        raise ValueError(f"delay is a time such as 50ms or 1.5s, at most {LONGEST_DELAY:g}s, not {value!r}")
    return seconds


class FaultyReactor:
    """A reactor whose listening ports misbehave; everything else is the real reactor's."""

    _asyncioEventloop = None  # noqa: N815 - uvloop's native transports would pass by: see wire.transport.endpoint

    def __init__(self, reactor: Any, faults: Faults, chance: random.Random | None = None) -> None:
        self._reactor = reactor
        self._faults = faults
        self._chance = chance or random.Random()  # noqa: S311

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        return self._reactor.adoptStreamPort(fileDescriptor, addressFamily, _FaultyFactory(factory, self))

    def adoptDatagramPort(
        self, fileDescriptor: int, addressFamily: int, protocol: Any, maxPacketSize: int = 8192
    ) -> Any:
        faulty = FaultyDatagrams(protocol, self)
        return self._reactor.adoptDatagramPort(fileDescriptor, addressFamily, faulty, maxPacketSize)

    def lateness(self, what: str) -> float:
        """Seconds by which the next bytes of a TCP connection come late."""
        if self._chance.random() >= self._faults.drop:
            return self._faults.delay
        log.info("fault: {what} lost, and sent again {ms:.0f} ms later", what=what, ms=RETRANSMISSION * 1000)
        return self._faults.delay + RETRANSMISSION

    def copies(self, what: str) -> int:
        """How often the next datagram arrives."""
        if self._chance.random() < self._faults.drop:
            log.info("fault: {what} lost", what=what)
            return 0
        if self._chance.random() < self._faults.dup:
            log.info("fault: {what} delivered twice", what=what)
            return 2
        return 1

    def after_delay(self, action: Callable[[], None]) -> None:
        """Do it when a datagram sent now would arrive."""
        if self._faults.delay:
            self._reactor.callLater(self._faults.delay, action)
        else:
            action()


class FaultyDatagrams(DatagramProtocol):
    """Between a UDP protocol and its port."""

    noisy = False

    def __init__(self, protocol: Any, reactor: FaultyReactor) -> None:
        self._protocol = protocol
        self._reactor = reactor
        self._port: Any = None
        self._on_the_way = 0
        self._open = False

    def makeConnection(self, transport: Any) -> None:
        self._open = True
        self._port = transport
        self._protocol.makeConnection(self)

    def doStop(self) -> None:
        self._open = False
        self._protocol.doStop()

    def connectionRefused(self) -> None:
        self._protocol.connectionRefused()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        what = f"a datagram of {len(datagram)} bytes from {Address.of(addr)}"
        self._send(what, lambda: self._protocol.datagramReceived(datagram, addr))

    # --- the transport that the protocol sees -------------------------------------------------------------------

    def write(self, packet: bytes, addr: Any) -> None:
        what = f"a datagram of {len(packet)} bytes to {Address.of(addr)}"
        self._send(what, lambda: self._port.write(packet, addr))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def _send(self, what: str, arrive: Callable[[], object]) -> None:
        def arrives() -> None:
            self._on_the_way -= 1
            if self._open:
                arrive()

        for _ in range(self._reactor.copies(what)):
            if self._on_the_way < DATAGRAMS:
                self._on_the_way += 1
                self._reactor.after_delay(arrives)


class _Way:
    """One direction of a TCP connection: what is sent on it arrives later, in order."""

    def __init__(self, reactor: FaultyReactor, what: str, changed: Callable[[], None]) -> None:
        self._reactor = reactor
        self._what = what
        self._changed = changed
        self._queue: deque[tuple[float, int, Callable[[], object]]] = deque()
        self._latest = 0.0
        self._timer: Any = None
        self._held = False
        self.size = 0

    def send(self, size: int, arrive: Callable[[], object]) -> None:
        """*size* bytes, or 0 for a sign such as the end; *arrive* is what happens at the other end."""
        now = self._reactor.seconds()
        late = self._reactor.lateness(f"{size:,} bytes {self._what}") if size else 0.0
        self._latest = max(self._latest, now + late)
        self._queue.append((self._latest, size, arrive))
        self.size += size
        self._wait()
        self._changed()

    def hold(self, held: bool) -> None:
        """Whether arrivals wait, because the other end does not read."""
        self._held = held
        self._wait()

    def clear(self) -> None:
        """Lose everything on the way."""
        self._queue.clear()
        self.size = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        if self._queue and not self._held and self._timer is None:
            self._timer = self._reactor.callLater(
                max(0.0, self._queue[0][0] - self._reactor.seconds()), self._due
            )

    def _due(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        while self._queue and not self._held and self._queue[0][0] <= now:
            _, size, arrive = self._queue.popleft()
            self.size -= size
            arrive()
        self._wait()
        self._changed()


class _FaultyFactory(Factory):
    noisy = False

    def __init__(self, factory: Any, reactor: FaultyReactor) -> None:
        self._factory = factory
        self._reactor = reactor

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()

    def buildProtocol(self, addr: Any) -> FaultyConnection | None:
        protocol = self._factory.buildProtocol(addr)
        return None if protocol is None else FaultyConnection(protocol, self._reactor)


class FaultyConnection(Protocol):
    """Between a TCP protocol and its transport: each takes it for the other."""

    def __init__(self, protocol: Any, reactor: FaultyReactor) -> None:
        self._protocol = protocol
        self._reactor = reactor
        self._below: Any = None
        self._producer: Any = None
        self._producer_paused = False
        self._transport_full = False
        self._reading = True
        self._given_up = False
        self.disconnecting = False

    def makeConnection(self, transport: Any) -> None:
        self._below = transport
        peer = Address.of(transport.getPeer())
        self._arriving = _Way(self._reactor, f"from {peer}", self._regulate_reading)
        self._leaving = _Way(self._reactor, f"to {peer}", self._regulate_producer)
        alsoProvides(self, providedBy(transport))
        if IHalfCloseableProtocol.providedBy(self._protocol):
            alsoProvides(self, IHalfCloseableProtocol)
        self._protocol.makeConnection(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    # --- from the transport -------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        self._arriving.send(len(data), lambda: self._protocol.dataReceived(data))

    def readConnectionLost(self) -> None:
        self._arriving.send(0, self._protocol.readConnectionLost)

    def writeConnectionLost(self) -> None:
        self._protocol.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._leaving.clear()
        ended: Any = reason
        if self._given_up or not ended.check(ConnectionDone):
            self._arriving.clear()
            self._protocol.connectionLost(reason)
        else:  # the last bytes arrive first
            self._arriving.hold(False)
            self._arriving.send(0, lambda: self._protocol.connectionLost(reason))

    # --- from the protocol --------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not self.disconnecting:
            self._leaving.send(len(data), lambda: self._below.write(data))

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self._given_up = True
            self._leaving.send(0, self._below.loseConnection)

    def loseWriteConnection(self) -> None:
        self._leaving.send(0, self._below.loseWriteConnection)

    def abortConnection(self) -> None:
        self._given_up = True
        self._below.abortConnection()

    def pauseProducing(self) -> None:
        self._arriving.hold(True)

    def resumeProducing(self) -> None:
        self._arriving.hold(False)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if not streaming:  # it is asked again whenever what it wrote has left
            self._below.registerProducer(producer, streaming)
            return
        self._producer = producer
        self._below.registerProducer(_Regulator(self), True)

    def unregisterProducer(self) -> None:
        self._producer = None
        self._below.unregisterProducer()

    # --- windows ------------------------------------------------------------------------------------------------

    def _regulate_reading(self) -> None:
        wanted = self._arriving.size < WINDOW
        if wanted is not self._reading:
            self._reading = wanted
            (self._below.resumeProducing if wanted else self._below.pauseProducing)()

    def transport_full(self, full: bool) -> None:
        """The transport says whether it takes more."""
        self._transport_full = full
        self._regulate_producer()

    def stop_producer(self) -> None:
        """The transport is gone."""
        if self._producer is not None:
            self._producer.stopProducing()

    def _regulate_producer(self) -> None:
        paused = self._transport_full or self._leaving.size >= WINDOW
        if paused is not self._producer_paused:
            self._producer_paused = paused
            if self._producer is not None:
                (self._producer.pauseProducing if paused else self._producer.resumeProducing)()


@attrs.frozen
class _Regulator:
    """What the transport takes for the producer."""

    connection: FaultyConnection

    def pauseProducing(self) -> None:
        self.connection.transport_full(True)

    def resumeProducing(self) -> None:
        self.connection.transport_full(False)

    def stopProducing(self) -> None:
        self.connection.stop_producer()
