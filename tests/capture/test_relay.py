"""wire.capture.relay: everything passes, and is heard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from zope.interface import implementer

from tests.peers import free_port
from wire.capture.relay import relay, resolve
from wire.transport.endpoint import stream_endpoint
from wire.transport.errors import ListenError
from wire.transport.tap import Address, TapEvent


@implementer(IHalfCloseableProtocol)
class Peer(Protocol):
    """One end of a TCP connection which remembers; `done` fires when it is lost."""

    transport: Any

    def __init__(self, answer: Callable[[Peer], None] | None = None) -> None:
        self.received = b""
        self.ended = False
        self.done: Deferred[None] = Deferred()
        self._answer = answer

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._answer is not None:
            self._answer(self)

    def readConnectionLost(self) -> None:
        self.ended = True
        if self._answer is not None:
            self._answer(self)
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Any = connectionDone) -> None:
        self.done.callback(None)


class Echo(DatagramProtocol):
    transport: Any

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram.upper(), addr)


class Client(DatagramProtocol):
    transport: Any

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append(datagram)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("waited five seconds in vain")


def shape(events: list[TapEvent]) -> list[tuple[str, bool, bytes]]:
    """Kinds, directions and data, pieces of one direction joined."""
    made: list[tuple[str, bool, bytes]] = []
    for event in events:
        if made and event.kind == "data" and made[-1][:2] == ("data", event.outgoing):
            made[-1] = ("data", event.outgoing, made[-1][2] + event.data)
        else:
            made.append((event.kind, event.outgoing, event.data))
    return made


class Target:
    """A TCP server whose connections answer as *answer* says."""

    def __init__(self, answer: Callable[[Peer], None]) -> None:
        self.peers: list[Peer] = []
        self._answer = answer

    async def listen(self) -> Address:
        def accepted() -> Peer:
            self.peers.append(Peer(self._answer))
            return self.peers[-1]

        endpoint: Any = stream_endpoint(reactor, "127.0.0.1", 0)
        self.port = await endpoint.listen(Factory.forProtocol(accepted))
        return Address.of(self.port.getHost())


async def connect(address: Address) -> Peer:
    peer = Peer()
    endpoint: Any = HostnameEndpoint(reactor, address.host, address.port)
    await endpoint.connect(Factory.forProtocol(lambda: peer))
    return peer


@pytest_twisted.ensureDeferred
async def test_a_connection_with_half_closes() -> None:
    def answer(peer: Peer) -> None:
        if peer.ended:
            peer.transport.write(peer.received.upper())
            peer.transport.loseConnection()

    target = Target(answer)
    address = await target.listen()
    events: list[TapEvent] = []
    listening = await relay(reactor, "127.0.0.1", 0, address, [events.append])
    client = await connect(listening.address)
    own = Address.of(client.transport.getHost())
    big = b"abcdefgh" * 100_000
    client.transport.write(big)
    client.transport.loseWriteConnection()
    await client.done
    assert client.received == big.upper()
    await until(lambda: events[-1].kind == "close")
    assert shape(events) == [
        ("open", False, b""),
        ("data", False, big),
        ("data", True, big.upper()),
        ("close", True, b""),
    ]
    assert {event.local for event in events} == {address}
    assert {event.remote for event in events} == {own}
    await listening.stop()
    await target.port.stopListening()


@pytest_twisted.ensureDeferred
async def test_the_client_leaves_first() -> None:
    target = Target(lambda peer: None)
    events: list[TapEvent] = []
    listening = await relay(reactor, "127.0.0.1", 0, await target.listen(), [events.append])
    client = await connect(listening.address)
    client.transport.write(b"x")
    await until(lambda: bool(target.peers) and target.peers[0].received == b"x")
    client.transport.abortConnection()
    await until(lambda: target.peers[0].ended)
    target.peers[0].transport.loseConnection()
    await until(lambda: events[-1].kind == "close")
    assert events[-1].outgoing is False
    await listening.stop()
    await target.port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_target_that_is_not_there() -> None:
    events: list[TapEvent] = []
    listening = await relay(reactor, "127.0.0.1", 0, Address("127.0.0.1", free_port()), [events.append])
    client = await connect(listening.address)
    await client.done
    assert events == []
    await listening.stop()


@pytest_twisted.ensureDeferred
async def test_stopping_ends_what_is_open() -> None:
    target = Target(lambda peer: None)
    events: list[TapEvent] = []
    listening = await relay(reactor, "127.0.0.1", 0, await target.listen(), [events.append])
    client = await connect(listening.address)
    await until(lambda: len(target.peers) == 1)
    await listening.stop()
    await client.done
    await target.peers[0].done
    await until(lambda: events[-1].kind == "close")
    await target.port.stopListening()


@pytest_twisted.ensureDeferred
async def test_datagrams_of_two_clients() -> None:
    twisted: Any = reactor
    target = twisted.listenUDP(0, Echo(), interface="127.0.0.1")
    address = Address.of(target.getHost())
    events: list[TapEvent] = []
    listening = await relay(reactor, "127.0.0.1", 0, address, [events.append])
    clients = [Client(), Client()]
    ports = [twisted.listenUDP(0, client, interface="127.0.0.1") for client in clients]
    for number, client in enumerate(clients):
        client.transport.write(b"hello%d" % number, (listening.address.host, listening.address.port))
    await until(lambda: all(client.received for client in clients))
    assert [client.received for client in clients] == [[b"HELLO0"], [b"HELLO1"]]
    assert sorted(event.data for event in events) == [b"HELLO0", b"HELLO1", b"hello0", b"hello1"]
    await listening.stop()
    for port in (*ports, target):
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_udp_clients_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    from wire.capture import relay as module

    monkeypatch.setattr(module, "MAX_CLIENTS", 2)
    twisted: Any = reactor
    target = twisted.listenUDP(0, Echo(), interface="127.0.0.1")
    listening = await relay(reactor, "127.0.0.1", 0, Address.of(target.getHost()))
    for _ in range(5):
        client = Client()
        port = twisted.listenUDP(0, client, interface="127.0.0.1")
        client.transport.write(b"x", (listening.address.host, listening.address.port))
        await until(lambda client=client: client.received == [b"X"])  # type: ignore[misc]
        await port.stopListening()
    await listening.stop()
    await target.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken() -> None:
    target = Target(lambda peer: None)
    address = await target.listen()
    with pytest.raises(ListenError, match="already in use"):
        await relay(reactor, "127.0.0.1", address.port, address)
    await target.port.stopListening()


def test_names_are_resolved_once() -> None:
    assert resolve("localhost", 5) in (Address("127.0.0.1", 5), Address("::1", 5))
    with pytest.raises(OSError, match=r"."):
        resolve("no.such.host.invalid", 5)
