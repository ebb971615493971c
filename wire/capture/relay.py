"""A relay between any two programs, whose taps hear what passes: recording without root.

Each TCP connection to the relay becomes one to the target, half-closes and back-pressure included; each UDP
client gets a port of the relay's own towards the target. Taps are told of the conversation as client and
target had it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wire.transport.endpoint import Listening, open_socket, stream_endpoint
from wire.transport.errors import ListenError
from wire.transport.tap import Address, Tap, Tapped

log = Logger()

CONNECT_SECONDS = 10.0
MAX_CLIENTS = 256
"""UDP clients at once; past it, the one that was silent longest is forgotten."""


def resolve(host: str, port: int) -> Address:
    """The first IP address of *host*, as the relay and its recording use it. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return Address(str(found[0][4][0]), port)


async def relay(
    reactor: Any, host: str, port: int, target: Address, taps: Sequence[Tap] = (), name: str = "relay"
) -> Listening:
    """Relay TCP and UDP from *port* on *host* (0: any free one, the same for both) to *target*.

    Raises ListenError.
    """
    factory = _Accepting(reactor, target, taps, name)
    for attempt in range(16):
        endpoint: Any = stream_endpoint(reactor, host, port)
        listening = await endpoint.listen(factory)
        number = listening.getHost().port
        try:
            with open_socket("udp", host, number) as opened:
                clients = _UdpClients(reactor, target, taps, name)
                datagrams = reactor.adoptDatagramPort(opened.fileno(), opened.family, clients)
        except ListenError:
            await listening.stopListening()
            if port or attempt == 15:
                raise
        else:
            return Listening(Address.of(listening.getHost()), factory, listening, datagrams, clients)
    raise AssertionError("the last attempt returns or raises")


# -------------------------------------------------------------------------------------------------------- TCP


class _Accepting(Factory):
    """Makes the client's half of each connection."""

    noisy = False

    def __init__(self, reactor: Any, target: Address, taps: Sequence[Tap], name: str) -> None:
        self.reactor = reactor
        self.target = target
        self.taps = taps
        self.name = name
        self.pairs: set[_Pair] = set()

    def stopListening(self) -> None:
        """Ends what is still being relayed."""
        for pair in list(self.pairs):
            pair.end()

    def buildProtocol(self, addr: Any) -> Protocol:
        return _Half(_Pair(self), from_client=True)


class _Pair:
    """The two halves of one relayed connection."""

    def __init__(self, factory: _Accepting) -> None:
        self.factory = factory
        self.tapped = Tapped(factory.taps, "tcp", factory.target, factory.name)
        self.client: _Half | None = None
        self.server: _Half | None = None
        self.peer = Address("", 0)
        self.open = False

    def accepted(self, half: _Half) -> None:
        """Connects to the target; the client waits until that is done."""
        self.client = half
        self.factory.pairs.add(self)
        self.peer = Address.of(half.transport.getPeer())
        half.transport.pauseProducing()
        target = self.factory.target
        endpoint = HostnameEndpoint(self.factory.reactor, target.host, target.port, timeout=CONNECT_SECONDS)
        upstream: Any = Factory.forProtocol(lambda: _Half(self, from_client=False))
        connecting: Deferred[Any] = endpoint.connect(upstream)
        connecting.addErrback(self._unreachable)

    def _unreachable(self, failure: Failure) -> None:
        log.error(
            "{target} cannot be reached: {why}", target=self.factory.target, why=failure.getErrorMessage()
        )
        if self.client is not None:
            self.client.transport.abortConnection()

    def connected(self, half: _Half) -> None:
        self.server = half
        if self.client is None:  # gone meanwhile
            half.transport.abortConnection()
            return
        self.open = True
        self.tapped.tell("open", self.peer, False)
        half.transport.registerProducer(self.client.transport, True)
        self.client.transport.registerProducer(half.transport, True)
        self.client.transport.resumeProducing()
        self.client.deliver()

    def lost(self, half: _Half) -> None:
        """One half is gone: the other ends once it has sent what it still has."""
        if half is self.client:
            self.client = None
        else:
            self.server = None
        self.factory.pairs.discard(self)
        if self.open:
            self.open = False
            self.tapped.tell("close", self.peer, not half.from_client)
        other = self.client or self.server
        if other is not None:
            other.transport.unregisterProducer()
            other.transport.loseConnection()

    def end(self) -> None:
        """Closes both halves."""
        for half in (self.client, self.server):
            if half is not None:
                half.transport.abortConnection()


@implementer(IHalfCloseableProtocol)
class _Half(Protocol):
    """One half: what it reads, the other writes."""

    transport: Any

    def __init__(self, pair: _Pair, from_client: bool) -> None:
        self._pair = pair
        self.from_client = from_client
        self._early: list[bytes] = []  # read before the other half was there
        self._ended = [False, False]  # reading, writing: Twisted leaves a connection open after both

    @property
    def _other(self) -> _Half | None:
        return self._pair.server if self.from_client else self._pair.client

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        if self.from_client:
            self._pair.accepted(self)
        else:
            self._pair.connected(self)

    def dataReceived(self, data: bytes) -> None:
        if self._other is None:  # uvloop reads once more after being told to pause
            self._early.append(data)
            self.transport.pauseProducing()
            return
        self._pair.tapped.tell("data", self._pair.peer, not self.from_client, data)
        self._other.transport.write(data)

    def deliver(self) -> None:
        """Hands over what was read before the other half was there."""
        early, self._early = self._early, []
        for data in early:
            self.dataReceived(data)
        if self._ended[0] and self._other is not None:
            self._other.transport.loseWriteConnection()

    def readConnectionLost(self) -> None:
        if self._other is not None:
            self._other.transport.loseWriteConnection()
        self._end(0)

    def writeConnectionLost(self) -> None:
        self._end(1)

    def _end(self, direction: int) -> None:
        self._ended[direction] = True
        if all(self._ended):
            self.transport.unregisterProducer()  # a transport with a producer waits for it before it closes
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._pair.lost(self)


# -------------------------------------------------------------------------------------------------------- UDP


class _UdpClients(DatagramProtocol):
    """Takes datagrams of clients; each client has a port of its own towards the target."""

    noisy = False
    transport: Any

    def __init__(self, reactor: Any, target: Address, taps: Sequence[Tap], name: str) -> None:
        self._reactor = reactor
        self._target = target
        self.tapped = Tapped(taps, "udp", target, name)
        self._upstreams: dict[Any, tuple[Any, _Upstream]] = {}  # the one silent longest comes first

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.tapped.tell("datagram", Address.of(addr), False, datagram)
        found = self._upstreams.pop(addr, None)
        if found is None:
            if len(self._upstreams) >= MAX_CLIENTS:
                self._upstreams.pop(next(iter(self._upstreams)))[0].stopListening()
            upstream = _Upstream(self, addr)
            wildcard = "::" if ":" in self._target.host else "0.0.0.0"  # noqa: S104  (its target alone can answer)
            port = self._reactor.listenUDP(0, upstream, interface=wildcard)
            upstream.transport.connect(self._target.host, self._target.port)
            found = (port, upstream)
        self._upstreams[addr] = found
        found[1].transport.write(datagram)

    def answered(self, datagram: bytes, addr: Any) -> None:
        self.tapped.tell("datagram", Address.of(addr), True, datagram)
        self.transport.write(datagram, addr)

    def stopListening(self) -> None:
        for port, _ in self._upstreams.values():
            port.stopListening()
        self._upstreams.clear()


class _Upstream(DatagramProtocol):
    """The port towards the target of one UDP client."""

    noisy = False
    transport: Any

    def __init__(self, clients: _UdpClients, addr: Any) -> None:
        self._clients = clients
        self._addr = addr

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._clients.answered(datagram, self._addr)

    def connectionRefused(self) -> None:
        log.error("nobody listens at the target's UDP port")
