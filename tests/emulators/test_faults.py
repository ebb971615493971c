"""A network that misbehaves: what is asked for happens, to UDP as it is, and to TCP as programs see it."""

import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from emulators.faults import NO_FAULTS, RETRANSMISSION, WINDOW, Faults, FaultyReactor
from netinfo.portmapper import PortmapperService, PortmapTable
from wire.formats.portmap import PORTMAP
from wire.transport.endpoint import listen_on, open_socket
from wire.transport.errors import RpcTimeout
from wire.transport.rpc_client import RpcClient, connect_tcp, connect_udp
from wire.transport.rpc_server import RpcServer
from wire.transport.tap import Address, TapEvent

# --- the specification ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", NO_FAULTS),
        ("drop=0.1,delay=50ms,dup=0.05", Faults(0.1, 0.05, 0.05)),
        ("delay=1.5s", Faults(delay=1.5)),
        (" dup=1 , drop=0", Faults(dup=1.0)),
    ],
)
def test_parse(text: str, faults: Faults) -> None:
    assert Faults.parse(text) == faults
    assert bool(faults) is (text != "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("drop=1.1", "drop is a number from 0"),
        ("dup=-1", "dup is a number"),
        ("drop=nan", "drop is a number"),
        ("drop=often", "'often'"),
        ("delay=50", "a time such as 50ms"),
        ("delay=-1s", "a time such as"),
        ("delay=61s", "at most 60s"),
        ("drop=0,drop=1", "drop is given twice"),
        ("lose=1", "'lose=1' is none of"),
        ("drop=0.1,", "'' is none of"),
    ],
)
def test_parse_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Faults.parse(text)


@given(st.text())
def test_parse_raises_nothing_else(text: str) -> None:
    with suppress(ValueError):
        Faults.parse(text)


# --- remote procedure calls -------------------------------------------------------------------------------------


class Served:
    """A portmapper behind faults, and what its taps heard."""

    def __init__(self, address: Address, heard: list[TapEvent]) -> None:
        self.address = address
        self.heard = heard

    def calls(self) -> int:
        return sum(event.data != b"" and not event.outgoing for event in self.heard)


async def nowhere(*_: Any) -> Any:
    raise AssertionError("CALLIT is not used here")


class FirstIsLost(random.Random):
    """Bad luck once, then none."""

    lucky = False

    def random(self) -> float:
        lucky, self.lucky = self.lucky, True
        return 1.0 if lucky else 0.0


@asynccontextmanager
async def portmapper(faults: Faults, chance: random.Random | None = None) -> AsyncIterator[Served]:
    heard: list[TapEvent] = []
    faulty = FaultyReactor(reactor, faults, chance or random.Random(7))
    server = RpcServer([PortmapperService(PortmapTable(), nowhere)], taps=[heard.append])
    listening = await server.listen(faulty, "127.0.0.1", 0)
    try:
        yield Served(listening.address, heard)
    finally:
        await server.stop()


async def timed(
    connect: Callable[..., Awaitable[RpcClient]], address: Address, timeout: float = 5.0
) -> float:
    """Seconds that a NULL call takes."""
    client = await connect(reactor, address, PORTMAP)
    began = time.monotonic()
    try:
        await client.call("NULL", None, timeout=timeout)
    finally:
        client.close()
    return time.monotonic() - began


@pytest_twisted.ensureDeferred
async def test_without_chance_everything_arrives_at_once() -> None:
    async with portmapper(Faults(delay=0.0, dup=0.0, drop=0.0)) as served:
        assert await timed(connect_udp, served.address) < 1
        assert await timed(connect_tcp, served.address) < 1


@pytest.mark.parametrize("connect", [connect_udp, connect_tcp])
@pytest_twisted.ensureDeferred
async def test_delay_is_there_on_the_way_in_and_out(connect: Any) -> None:
    async with portmapper(Faults(delay=0.1)) as served:
        assert await timed(connect, served.address) >= 0.2


@pytest_twisted.ensureDeferred
async def test_udp_lost_always_is_never_answered() -> None:
    async with portmapper(Faults(drop=1.0)) as served:
        with pytest.raises(RpcTimeout):
            await timed(connect_udp, served.address, timeout=0.5)
        assert served.calls() == 0


@pytest_twisted.ensureDeferred
async def test_udp_lost_once_is_sent_again_by_the_client() -> None:
    async with portmapper(Faults(drop=0.5), FirstIsLost()) as served:
        assert await timed(connect_udp, served.address, timeout=20) >= 0.5
        assert served.calls() == 1


@pytest_twisted.ensureDeferred
async def test_udp_delivered_twice_is_served_twice() -> None:
    async with portmapper(Faults(dup=1.0)) as served:
        await timed(connect_udp, served.address)
        await deferLater(reactor, 0.05)
        assert served.calls() == 2


@pytest_twisted.ensureDeferred
async def test_tcp_lost_comes_a_retransmission_later() -> None:
    async with portmapper(Faults(drop=1.0)) as served:
        assert await timed(connect_tcp, served.address) >= 2 * RETRANSMISSION
        assert served.calls() == 1


@pytest_twisted.ensureDeferred
async def test_tcp_is_never_delivered_twice() -> None:
    async with portmapper(Faults(dup=1.0)) as served:
        await timed(connect_tcp, served.address)
        assert served.calls() == 1


@pytest_twisted.ensureDeferred
async def test_a_server_stops_with_bytes_on_the_way() -> None:
    async with portmapper(Faults(delay=0.3)) as served:
        client = await connect_tcp(reactor, served.address, PORTMAP)
        calling = Deferred.fromCoroutine(client.call("NULL", None, timeout=5))
        calling.addErrback(lambda failure: None)
        await deferLater(reactor, 0.05)
    client.close()
    await calling


# --- streams ----------------------------------------------------------------------------------------------------


@implementer(IHalfCloseableProtocol)
class Echo(Protocol):
    """Sends back what it hears, and ends when its peer has ended."""

    transport: Any

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()
        self.largest = 0

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None: ...

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


@implementer(IPushProducer)
class Flood(Protocol):
    """Writes as fast as it may, until it has written enough; counts how much was on the way at most."""

    transport: Any
    size = 40 * WINDOW

    def connectionMade(self) -> None:
        self.written = 0
        self.pauses = 0
        self.going = True
        self.lost: Deferred[None] = Deferred()
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.going = True
        while self.going and self.written < self.size:
            self.written += 4096
            self.transport.write(b"x" * 4096)
        if self.written >= self.size and self.going:
            self.going = False
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def pauseProducing(self) -> None:
        self.going = False
        self.pauses += 1

    def stopProducing(self) -> None:
        self.going = False

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


@asynccontextmanager
async def listening(protocol: type[Any], faults: Faults) -> AsyncIterator[tuple[tuple[str, int], list[Any]]]:
    made: list[Any] = []

    class Making(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Any:
            made.append(protocol())
            return made[-1]

    opened = open_socket("tcp", "127.0.0.1", 0)
    where = opened.getsockname()
    port = await listen_on(FaultyReactor(reactor, faults, random.Random(3)), opened, Making())  # type: ignore[arg-type]
    try:
        yield where, made
    finally:
        await port.stopListening()


def echoed(where: tuple[str, int], data: bytes, shut: bool) -> bytes:
    """What comes back for *data* that is sent in pieces, by a client that then says that it has ended."""
    with socket.create_connection(where, timeout=20) as client:
        for at in range(0, len(data), 1000):
            client.sendall(data[at : at + 1000])
        if shut:
            client.shutdown(socket.SHUT_WR)
        back = b""
        while len(back) < len(data) or shut:
            piece = client.recv(65536)
            if not piece:
                break
            back += piece
        return back


@pytest.mark.parametrize(
    "faults", [Faults(delay=0.02), Faults(drop=0.3), Faults(delay=0.001, drop=0.1, dup=0.5)]
)
@pytest_twisted.ensureDeferred
async def test_bytes_keep_their_order_and_the_end_comes_last(faults: Faults) -> None:
    data = bytes(at % 251 for at in range(30_000))
    async with listening(Echo, faults) as (where, made):
        assert await deferToThread(echoed, where, data, True) == data
        await made[0].lost


@pytest_twisted.ensureDeferred
async def test_what_was_sent_before_a_close_still_arrives() -> None:
    arrived: list[bytes] = []

    class Sink(Protocol):
        def __init__(self) -> None:
            self.lost: Deferred[None] = Deferred()

        def dataReceived(self, data: bytes) -> None:
            arrived.append(data)

        def connectionLost(self, reason: Any = None) -> None:
            self.lost.callback(None)

    async with listening(Sink, Faults(delay=0.1)) as (where, made):
        with socket.create_connection(where) as client:
            client.sendall(b"the last words")
        while not made:
            await deferLater(reactor, 0.01)
        await made[0].lost
    assert b"".join(arrived) == b"the last words"


@pytest_twisted.ensureDeferred
async def test_a_reset_loses_what_is_on_the_way() -> None:
    async with listening(Echo, Faults(delay=0.2)) as (where, made):
        client = socket.create_connection(where)
        client.sendall(b"lost")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        await deferLater(reactor, 0.05)
        client.close()
        await made[0].lost


@pytest_twisted.ensureDeferred
async def test_a_sender_waits_for_the_window() -> None:
    def read(where: tuple[str, int]) -> int:
        size = 0
        with socket.create_connection(where, timeout=20) as client:
            while piece := client.recv(65536):
                size += len(piece)
        return size

    async with listening(Flood, Faults(delay=0.002)) as (where, made):
        assert await deferToThread(read, where) == Flood.size
        await made[0].lost
        assert made[0].pauses >= Flood.size // WINDOW // 2


@pytest_twisted.ensureDeferred
async def test_a_reader_that_pauses_is_not_told_more() -> None:
    arrived: list[bytes] = []

    class Slow(Protocol):
        def __init__(self) -> None:
            self.lost: Deferred[None] = Deferred()

        def connectionMade(self) -> None:
            self.transport.pauseProducing()  # type: ignore[union-attr]

        def dataReceived(self, data: bytes) -> None:
            arrived.append(data)

        def connectionLost(self, reason: Any = None) -> None:
            self.lost.callback(None)

    async with listening(Slow, Faults(delay=0.01)) as (where, made):
        client = socket.create_connection(where)
        client.sendall(b"patience")
        await deferLater(reactor, 0.1)
        assert arrived == []
        made[0].transport.resumeProducing()
        await deferLater(reactor, 0.05)
        assert b"".join(arrived) == b"patience"
        client.close()
        await made[0].lost
