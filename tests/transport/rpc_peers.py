"""Both sides of ONC RPC for the tests: our server, or one that says what a test wants; clients that send bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from tests.transport.raw import HOST, Raw
from tests.transport.services import ECHO, Serving, echo
from wire.formats.rpc import LAST_FRAGMENT
from wire.transport.endpoint import Listening, listen_on, open_socket
from wire.transport.record import mark
from wire.transport.rpc_server import (
    RpcLimits,
    RpcServer,
)
from wire.transport.tap import Address

SUCCEEDED = "00000001 00000000 00000000 00000000 00000000"
FAILED = "00000001 00000000 00000000 00000000 00000005"


@asynccontextmanager
async def serving(*services: Any, **limits: Any) -> AsyncIterator[tuple[RpcServer, Address]]:
    server = RpcServer(services or [Serving(ECHO, echo)], RpcLimits(**limits), name="test")
    listening = await server.listen(reactor, HOST, 0)
    try:
        yield server, listening.address
    finally:
        await server.stop()
        assert not server.connections
        assert not server.connections.per_host


def record(data: bytes) -> bytes:
    return mark(len(data)) + data


async def take_record(client: Raw) -> bytes:
    whole, last = b"", False
    while not last:
        word = int.from_bytes(await client.take(4), "big")
        last = bool(word & LAST_FRAGMENT)
        whole += await client.take(word & ~LAST_FRAGMENT)
    return whole


def payload(reply: bytes) -> bytes:
    """What an echo came to."""
    assert reply[4:24].hex(" ", 4) == SUCCEEDED
    size = int.from_bytes(reply[24:28], "big")
    return reply[28 : 28 + size]


class Datagrams(DatagramProtocol):
    noisy = False
    transport: Any

    def __init__(self, server: Address) -> None:
        self.server = server
        self.received: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.transport.write(data, (self.server.host, self.server.port))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append(datagram)


@asynccontextmanager
async def datagrams(server: Address) -> AsyncIterator[Datagrams]:
    client = Datagrams(server)
    port: Any = reactor.listenUDP(0, client, HOST, 65_536)
    try:
        yield client
    finally:
        await port.stopListening()


class Saying(Protocol):
    """A server over TCP: `say(xid, call)` gives the bytes it answers a call with, marks included."""

    transport: Any

    def __init__(self, say: Callable[[bytes, bytes], bytes | None]) -> None:
        self._say = say
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 4:
            size = int.from_bytes(self._data[:4], "big") & ~LAST_FRAGMENT
            if len(self._data) < 4 + size:
                return
            call, self._data = self._data[4 : 4 + size], self._data[4 + size :]
            said = self._say(call[:4], call)
            if said is None:
                self.transport.loseConnection()
            else:
                self.transport.write(said)


@asynccontextmanager
async def saying(say: Callable[[bytes, bytes], bytes | None]) -> AsyncIterator[Address]:
    listening = open_socket("tcp", HOST, 0)
    address = Address.of(listening.getsockname())
    factory: Any = Factory.forProtocol(lambda: Saying(say))
    factory.noisy = False
    port = Listening(address, await listen_on(reactor, listening, factory))
    try:
        yield address
    finally:
        await port.stop()


class SayingDatagrams(DatagramProtocol):
    """A server over UDP."""

    noisy = False
    transport: Any

    def __init__(self, say: Callable[[bytes], list[bytes]]) -> None:
        self.calls: list[bytes] = []
        self._say = say

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.calls.append(datagram)
        for reply in self._say(datagram):
            self.transport.write(reply, addr)


@asynccontextmanager
async def saying_udp(say: Callable[[bytes], list[bytes]]) -> AsyncIterator[tuple[SayingDatagrams, Address]]:
    server = SayingDatagrams(say)
    port: Any = reactor.listenUDP(0, server, HOST)
    try:
        yield server, Address.of(port.getHost())
    finally:
        await port.stopListening()
