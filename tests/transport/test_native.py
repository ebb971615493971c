"""What a connection promises: on Twisted's listener and, with ``--reactor=asyncio``, on uvloop's native transport."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IListeningPort, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import LogEvent, capturedLogs
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.transport.raw import HOST, Raw, eventually, raw, sleep, within
from wire.transport.endpoint import (
    Listening,
    stream_endpoint,
    uvloop_of,
)
from wire.transport.errors import ListenError
from wire.transport.native import HIGH_WATER, NativeTransport
from wire.transport.tap import Address


class Server(Protocol):
    """Notes what happens to it."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.reason: Failure | None = None
        self.told: list[str] = []
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.told.append("lost")
        self.reason = reason
        self.lost.callback(None)

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Server):
    def readConnectionLost(self) -> None:
        self.told.append("read lost")

    def writeConnectionLost(self) -> None:
        self.told.append("write lost")


class Accepting(Factory):
    noisy = False

    def __init__(self, kind: type[Server]) -> None:
        self.kind = kind
        self.made: list[Server] = []
        self.running: list[str] = []

    def doStart(self) -> None:
        self.running.append("start")

    def doStop(self) -> None:
        self.running.append("stop")

    def buildProtocol(self, addr: Any) -> Server | None:
        self.made.append(self.kind())
        return self.made[-1]


class Pair:
    """A client and the server's end of its connection."""

    def __init__(self, client: Raw, server: Any, listening: Listening, factory: Accepting) -> None:
        self.client, self.server, self.listening, self.factory = client, server, listening, factory

    @classmethod
    async def open(cls, kind: type[Server] = Server, host: str = HOST) -> Pair:
        factory = Accepting(kind)
        port = await listen(host, 0, factory)
        listening = Listening(Address.of(port.getHost()), port)
        client = await raw(listening.address)
        await eventually(lambda: factory.made and factory.made[0].transport)
        return cls(client, factory.made[0], listening, factory)

    async def close(self) -> None:
        await self.client.close()
        if not self.server.lost.called:
            self.server.transport.loseConnection()
        await within(self.server.lost)
        await self.listening.stop()


async def listen(host: str, port: int, factory: Factory) -> Any:
    endpoint: Any = stream_endpoint(reactor, host, port)
    return await endpoint.listen(factory)


def on_uvloop() -> bool:
    return uvloop_of(reactor) is not None


@pytest_twisted.ensureDeferred
async def test_bytes_both_ways_and_a_quiet_end() -> None:
    pair = await Pair.open()
    assert isinstance(pair.server.transport, NativeTransport) is on_uvloop()
    pair.client.send(b"hello")
    await eventually(lambda: pair.server.received == b"hello")
    pair.server.transport.write(b"wor")
    pair.server.transport.writeSequence([b"ld", b"", b"!"])
    pair.server.transport.write(b"")
    assert await pair.client.take(6) == b"world!"
    await pair.close()
    assert pair.server.reason.check(ConnectionDone)
    assert pair.server.told == ["lost"]
    assert pair.factory.running == ["start", "stop"]


@pytest_twisted.ensureDeferred
async def test_it_is_a_transport_as_twisted_has_it() -> None:
    pair = await Pair.open()
    transport = pair.server.transport
    verifyObject(ITCPTransport, transport)
    port = await listen(HOST, 0, Accepting(Server))
    verifyObject(IListeningPort, port)
    await port.stopListening()
    assert transport.getHost() == IPv4Address("TCP", HOST, pair.listening.address.port)
    assert transport.getPeer() == pair.client.transport.getHost()
    for enabled in (True, False):
        transport.setTcpNoDelay(enabled)
        transport.setTcpKeepAlive(enabled)
        assert (bool(transport.getTcpNoDelay()), bool(transport.getTcpKeepAlive())) == (enabled, enabled)
    transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert transport.getTcpKeepAlive()
    await pair.close()
    transport.write(b"to nobody")
    transport.writeSequence([b"to nobody"])
    transport.loseConnection()
    transport.abortConnection()
    transport.pauseProducing()
    transport.resumeProducing()


@pytest_twisted.ensureDeferred
async def test_ipv6_and_ipv4_on_one_socket() -> None:
    try:
        pair = await Pair.open(host="::")
    except ListenError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    assert isinstance(pair.server.transport.getHost(), IPv6Address)
    assert Address.of(pair.server.transport.getPeer()).host == "::1"
    other = await raw(Address(HOST, pair.listening.address.port))
    await eventually(lambda: len(pair.factory.made) == 2 and pair.factory.made[1].transport)
    assert Address.of(pair.factory.made[1].transport.getPeer()).host == HOST
    await other.close()
    await within(pair.factory.made[1].lost)
    await pair.close()


@pytest_twisted.ensureDeferred
async def test_lose_connection_sends_what_is_there_first() -> None:
    pair = await Pair.open()
    data = bytes(range(256)) * 20_000
    pair.server.transport.write(data)
    pair.server.transport.loseConnection()
    assert await pair.client.take(len(data) + 1) == data
    await pair.close()
    assert pair.server.reason.check(ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_abort_connection_loses_what_is_unsent() -> None:
    pair = await Pair.open()
    pair.client.transport.pauseProducing()
    pair.server.transport.write(bytes(50_000_000))
    pair.server.transport.abortConnection()
    await within(pair.server.lost)
    assert pair.server.reason.check(ConnectionAborted)
    pair.client.transport.resumeProducing()
    assert len(await pair.client.take(50_000_000)) < 50_000_000
    await pair.listening.stop()


@pytest_twisted.ensureDeferred
async def test_a_reset_is_a_lost_connection() -> None:
    pair = await Pair.open()
    pair.client.transport.abortConnection()
    await within(pair.server.lost)
    assert pair.server.reason.check(ConnectionLost)
    await pair.listening.stop()


@pytest_twisted.ensureDeferred
async def test_a_producer_is_paused_resumed_and_stopped() -> None:
    pair = await Pair.open()
    pair.client.transport.pauseProducing()
    server = pair.server
    server.transport.registerProducer(server, True)
    with pytest.raises(RuntimeError):
        server.transport.registerProducer(server, True)
    while "pause" not in server.told:
        server.transport.write(bytes(HIGH_WATER))
        await sleep(0)
    pair.client.transport.resumeProducing()
    await eventually(lambda: server.told == ["pause", "resume"])
    await pair.client.close()
    await within(server.lost)
    assert server.told == ["pause", "resume", "stop", "lost"]
    await pair.listening.stop()


@pytest_twisted.ensureDeferred
async def test_lose_connection_waits_for_the_producer() -> None:
    pair = await Pair.open()
    server = pair.server
    server.transport.registerProducer(server, True)
    while "pause" not in server.told:
        server.transport.write(bytes(1 << 20))
    server.transport.loseConnection()
    server.transport.unregisterProducer()
    server.transport.write(b"last")
    await within(server.lost)
    assert server.reason.check(ConnectionDone)
    await pair.client.ended()
    assert pair.client.received.endswith(b"last")
    await pair.listening.stop()


class Pull:
    """Writes a piece each time it is asked."""

    def __init__(self, transport: Any, pieces: int) -> None:
        self.transport = transport
        self.left = pieces

    def resumeProducing(self) -> None:
        self.left -= 1
        self.transport.write(bytes(100_000))
        if not self.left:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        self.left = -1


@pytest_twisted.ensureDeferred
async def test_a_pull_producer_is_asked_while_there_is_room() -> None:
    pair = await Pair.open()
    producer = Pull(pair.server.transport, 100)
    pair.client.transport.pauseProducing()
    pair.server.transport.registerProducer(producer, False)
    await sleep(0.05)
    held = producer.left
    assert held > 0, "it was asked although nobody read"
    pair.client.transport.resumeProducing()
    assert len(await pair.client.take(10_000_001)) == 10_000_000
    await pair.close()


@pytest_twisted.ensureDeferred
async def test_reading_stops_and_goes_on() -> None:
    pair = await Pair.open()
    pair.server.transport.pauseProducing()
    pair.client.send(b"abc")
    await sleep(0.1)
    assert pair.server.received == b""
    pair.server.transport.resumeProducing()
    await eventually(lambda: pair.server.received == b"abc")
    await pair.close()


@pytest_twisted.ensureDeferred
async def test_the_client_ends_first_and_still_hears() -> None:
    pair = await Pair.open(HalfCloseable)
    pair.client.send(b"question")
    pair.client.transport.loseWriteConnection()
    await eventually(lambda: pair.server.told == ["read lost"])
    assert pair.server.received == b"question"
    data = bytes(3_000_000)
    pair.server.transport.write(data)
    pair.server.transport.loseWriteConnection()
    assert await pair.client.take(len(data) + 1) == data
    pair.server.transport.loseConnection()
    await within(pair.server.lost)
    assert pair.server.reason.check(ConnectionDone)
    await pair.close()


@pytest_twisted.ensureDeferred
async def test_the_server_ends_first_and_still_hears() -> None:
    pair = await Pair.open(HalfCloseable)
    data = bytes(3_000_000)
    pair.server.transport.write(data)
    pair.server.transport.loseWriteConnection()
    assert len(await pair.client.take(len(data))) == len(data)
    await eventually(lambda: pair.server.told[:1] == ["write lost"])
    await pair.close()


@pytest_twisted.ensureDeferred
async def test_all_sent_is_told_when_all_is_sent() -> None:
    pair = await Pair.open(HalfCloseable)
    pair.client.transport.pauseProducing()
    pair.server.transport.write(bytes(50_000_000))
    pair.server.transport.loseWriteConnection()
    await sleep(0.05)
    assert pair.server.told == []
    pair.client.transport.resumeProducing()
    assert len(await pair.client.take(50_000_000)) == 50_000_000
    await eventually(lambda: pair.server.told[:1] == ["write lost"])
    await pair.close()


class Broken(Server):
    def dataReceived(self, data: bytes) -> None:
        raise ZeroDivisionError("a defect")


@pytest_twisted.ensureDeferred
async def test_a_defect_costs_its_own_connection_alone(unhandled_errors: list[LogEvent]) -> None:
    pair = await Pair.open(Broken)
    other = await raw(pair.listening.address)
    with capturedLogs() as logs:
        pair.client.send(b"x")
        await within(pair.server.lost)
        await eventually(lambda: any("log_failure" in event or event.get("isError") for event in logs))
    assert pair.server.reason.check(ZeroDivisionError)
    unhandled_errors.clear()
    await eventually(lambda: len(pair.factory.made) == 2)
    assert not pair.factory.made[1].lost.called
    await other.close()
    await within(pair.factory.made[1].lost)
    await pair.listening.stop()


class Refusing(Accepting):
    def buildProtocol(self, addr: Any) -> None:
        return None


@pytest_twisted.ensureDeferred
async def test_a_factory_may_refuse() -> None:
    port = await listen(HOST, 0, Refusing(Server))
    client = await raw(Address.of(port.getHost()))
    await client.ended()
    await port.stopListening()
