"""Servers on real sockets; with ``--reactor=asyncio`` on uvloop's native transport."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs

from tests.peers import peer
from tests.transport.raw import HOST, Raw, eventually, raw, sleep, within
from tests.transport.services import ECHO, FOUND, Serving, echo, echo_call, lookup
from wire.formats.netinfo import NETINFO
from wire.formats.portmap import PORTMAP
from wire.formats.rpc import LAST_FRAGMENT
from wire.transport.errors import ListenError
from wire.transport.record import mark
from wire.transport.rpc_server import (
    BATCH,
    NO_REPLY,
    IncomingCall,
    RpcLimits,
    RpcServer,
    Streamed,
)
from wire.transport.tap import Address, TapEvent

SUCCESS = "00000001 00000000 00000000 00000000 00000000"
SYSTEM_ERR = "00000001 00000000 00000000 00000000 00000005"


@asynccontextmanager
async def serving(*services: Any, **limits: Any) -> AsyncIterator[tuple[RpcServer, Address]]:
    server = RpcServer(services or [Serving(ECHO, echo)], RpcLimits(**limits), name="test")
    listening = await server.listen(reactor, HOST, 0)
    try:
        yield server, listening.address
    finally:
        await server.stop()
        assert not server.connections
        assert not server.per_host


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
    assert reply[4:24].hex(" ", 4) == SUCCESS
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


# --- calls and replies ----------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_tcp_and_udp_on_one_number() -> None:
    async with serving() as (_, address):
        client = await raw(address)
        client.send(record(echo_call(1, argument=b"over tcp")))
        assert payload(await take_record(client)) == b"over tcp"
        async with datagrams(address) as other:
            other.send(echo_call(2, argument=b"over udp"))
            await eventually(lambda: other.received)
            assert payload(other.received[0]) == b"over udp"
        await client.close()


@pytest_twisted.ensureDeferred
async def test_pipelined_calls_are_answered_in_order_in_few_writes() -> None:
    events: list[TapEvent] = []
    server = RpcServer([Serving(ECHO, echo)], taps=[events.append], name="echo server")
    address = (await server.listen(reactor, HOST, 0)).address
    client = await raw(address)
    calls = [echo_call(xid, argument=b"%d" % xid) for xid in range(1000)]
    client.send(b"".join(map(record, calls)))
    replies = [await take_record(client) for _ in calls]
    assert [int.from_bytes(reply[:4], "big") for reply in replies] == list(range(1000))
    assert [payload(reply) for reply in replies] == [b"%d" % xid for xid in range(1000)]
    assert sum(event.outgoing for event in events) < 100
    await client.close()
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_an_awaited_result_holds_back_the_calls_after_it() -> None:
    waiting: list[Deferred[Any]] = []

    def serve(call: IncomingCall) -> Any:
        if call.procedure.name == "WAIT":
            waiting.append(Deferred())
            return waiting[-1]
        return echo(call)

    async with serving(Serving(ECHO, serve)) as (_, address):
        client = await raw(address)
        client.send(record(echo_call(1, argument=b"a")) + record(echo_call(2, "WAIT", 7)))
        client.send(record(echo_call(3, "WAIT", 8)) + record(echo_call(4, argument=b"b")))
        assert payload(await take_record(client)) == b"a"
        await sleep(0.05)
        assert (len(waiting), bytes(client.received)) == (1, b"")
        waiting[0].callback(70)
        assert (await take_record(client)).hex(" ", 4) == f"00000002 {SUCCESS} 00000046"
        await eventually(lambda: len(waiting) == 2)
        waiting[1].errback(ZeroDivisionError())
        with capturedLogs():
            assert (await take_record(client)).hex(" ", 4) == f"00000003 {SYSTEM_ERR}"
        assert payload(await take_record(client)) == b"b"
        await client.close()


@pytest_twisted.ensureDeferred
async def test_thousands_of_results_that_are_there_at_once_need_no_stack() -> None:
    async def at_once(call: IncomingCall) -> Any:
        return call.argument

    async with serving(Serving(ECHO, at_once)) as (_, address):
        client = await raw(address)
        client.send(b"".join(record(echo_call(xid, argument=b"x")) for xid in range(5000)))
        for xid in range(5000):
            assert (await take_record(client))[:4] == xid.to_bytes(4, "big")
        await client.close()


@pytest_twisted.ensureDeferred
async def test_no_reply_over_either() -> None:
    async with serving(Serving(ECHO, lambda call: NO_REPLY if call.argument == b"" else echo(call))) as (
        _,
        address,
    ):
        client = await raw(address)
        client.send(record(echo_call(1)) + record(echo_call(2, argument=b"x")))
        assert (await take_record(client))[:4] == b"\0\0\0\2"
        async with datagrams(address) as other:
            other.send(echo_call(1))
            other.send(echo_call(2, argument=b"x"))
            await eventually(lambda: other.received)
            assert [reply[:4] for reply in other.received] == [b"\0\0\0\2"]
        await client.close()


@pytest_twisted.ensureDeferred
async def test_a_connection_answers_from_the_reserved_port_of_nobody_else() -> None:
    service = Serving(NETINFO, lambda call: FOUND)
    async with serving(service) as (_, address):
        client = await raw(address)
        client.send(record(lookup()))
        await take_record(client)
        (call,) = service.calls
        assert (call.peer, call.local) == (Address.of(client.transport.getHost()), address)
        assert (call.transport, call.argument.value) == ("tcp", b"venus")
        await client.close()


# --- streamed replies -----------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("size", [0, 1, BATCH - 28, BATCH, BATCH + 1, 3 * BATCH, 5_000_000])
@pytest.mark.parametrize("chunk", [1000, 100_000, 10_000_000])
async def test_a_streamed_reply_is_one_record(size: int, chunk: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)

    def serve(call: IncomingCall) -> Any:
        return Streamed(data[at : min(at + chunk, size)] for at in range(0, size, chunk))

    async with serving(Serving(ECHO, serve)) as (_, address):
        client = await raw(address)
        client.send(record(echo_call(1)) + record(echo_call(2)))
        for xid in (1, 2):
            reply = await take_record(client)
            assert reply[:24].hex(" ", 4) == f"{xid:08x} {SUCCESS}"
            assert reply[24:] == data[:size]
        await client.close()


class Chunks:
    """An endless result that knows how much of it was taken, and whether it was let go."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.taken += 1
        return bytes(10_000)

    def close(self) -> None:
        self.closed = True


@pytest_twisted.ensureDeferred
async def test_a_streamed_reply_is_taken_as_fast_as_it_is_read_and_let_go_when_nobody_reads() -> None:
    chunks = Chunks()
    async with serving(Serving(ECHO, lambda call: Streamed(chunks))) as (_, address):
        client = await raw(address)
        client.transport.pauseProducing()
        client.send(record(echo_call(1)))
        await eventually(lambda: chunks.taken)
        taken = -1
        while taken != chunks.taken:
            taken = chunks.taken
            await sleep(0.1)
        client.transport.resumeProducing()
        await eventually(lambda: chunks.taken > taken + 100)
        assert not chunks.closed
        await client.close()
        await eventually(lambda: chunks.closed)


@pytest_twisted.ensureDeferred
async def test_an_endless_reply_leaves_the_others_their_turn() -> None:
    async with serving(
        Serving(ECHO, lambda call: Streamed(Chunks()) if call.procedure.name == "MANY" else echo(call))
    ) as (_, address):
        greedy = await raw(address)
        greedy.send(record(echo_call(1, "MANY", 0)))
        client = await raw(address)
        for xid in range(20):
            client.send(record(echo_call(xid, argument=b"x")))
            await take_record(client)
        await greedy.close()
        await client.close()


@pytest_twisted.ensureDeferred
async def test_a_streamed_reply_that_fails_closes_the_connection() -> None:
    def failing() -> Iterator[bytes]:
        yield bytes(BATCH)
        yield bytes(BATCH)
        raise OSError("the disk is gone")

    async with serving(Serving(ECHO, lambda call: Streamed(failing()))) as (_, address):
        client = await raw(address)
        with capturedLogs() as logs:
            client.send(record(echo_call(1)))
            await client.ended()
        assert any("log_failure" in event for event in logs)


@pytest_twisted.ensureDeferred
async def test_a_streamed_reply_over_udp_is_whole_or_an_error() -> None:
    sizes = iter([8_000, 10**9])

    def serve(call: IncomingCall) -> Any:
        return Streamed(bytes(100) for _ in range(next(sizes) // 100))

    async with serving(Serving(ECHO, serve)) as (_, address), datagrams(address) as client:
        client.send(echo_call(1))
        client.send(echo_call(2))
        await eventually(lambda: len(client.received) == 2)
        assert [len(reply) for reply in client.received] == [8_024, 24]
        assert client.received[1].hex(" ", 4) == f"00000002 {SYSTEM_ERR}"


# --- back-pressure --------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_read_is_not_read_from() -> None:
    service = Serving(ECHO, echo)
    async with serving(service) as (server, address):
        client = await raw(address)
        client.transport.pauseProducing()
        calls = b"".join(record(echo_call(xid, "MANY", 100_000)) for xid in range(20_000))
        client.send(calls)
        served = -1
        while served != len(service.calls):
            served = len(service.calls)
            await sleep(0.2)
        assert served < 1000
        (connection,) = server.connections
        assert connection._reader.buffered < 3 * BATCH + 256 * 1024
        client.transport.resumeProducing()
        for xid in range(served + 100):
            assert (await take_record(client))[:4] == xid.to_bytes(4, "big")
        client.transport.abortConnection()
        await client.ended()


@pytest_twisted.ensureDeferred
async def test_calls_behind_one_that_waits_stay_in_the_network() -> None:
    waiting: Deferred[Any] = Deferred()
    service = Serving(ECHO, lambda call: waiting if call.procedure.name == "WAIT" else echo(call))
    async with serving(service) as (server, address):
        client = await raw(address)
        count = 60_000
        client.send(record(echo_call(0, "WAIT", 0)))
        client.send(b"".join(record(echo_call(xid)) for xid in range(1, count)))
        await eventually(lambda: any(one._reader.buffered > BATCH for one in server.connections))
        await sleep(0.2)
        (connection,) = server.connections
        assert connection._reader.buffered < BATCH + 256 * 1024
        assert len(service.calls) == 1
        waiting.callback(5)
        for xid in range(count):
            assert (await take_record(client))[:4] == xid.to_bytes(4, "big")
        await client.close()


# --- limits and hostile bytes ---------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "stream",
    [
        mark(2**31 - 1),
        mark(2**31 - 1, last=False),
        mark((1 << 20) + 1),
        mark(0),
        mark(1 << 20, last=False) + bytes(1 << 20) + mark(1),
    ],
    ids=["2 GiB", "2 GiB first", "a byte too many", "empty", "adding up"],
)
async def test_streams_that_cannot_be_followed_are_closed(stream: bytes) -> None:
    async with serving() as (_, address):
        client = await raw(address)
        client.send(record(echo_call(1, argument=b"before")) + stream)
        assert payload(await take_record(client)) == b"before"
        await client.ended()


@pytest_twisted.ensureDeferred
async def test_a_call_of_exactly_the_limit() -> None:
    async with serving() as (_, address):
        client = await raw(address)
        argument = bytes((1 << 20) - len(echo_call(1)))
        assert len(echo_call(1, argument=argument)) == 1 << 20
        client.send(record(echo_call(1, argument=argument)))
        assert payload(await take_record(client)) == argument
        await client.close()


@pytest_twisted.ensureDeferred
async def test_fragments_of_one_byte() -> None:
    call = echo_call(1, argument=bytes(10_000))
    async with serving() as (_, address):
        client = await raw(address)
        client.send(b"".join(mark(1, last=False) + call[at : at + 1] for at in range(len(call) - 1)))
        client.send(mark(1) + call[-1:])
        assert payload(await take_record(client)) == bytes(10_000)
        for byte in record(echo_call(2, argument=b"slowly")):
            client.send(bytes([byte]))
            await sleep(0.001)
        assert payload(await take_record(client)) == b"slowly"
        await client.close()


@pytest_twisted.ensureDeferred
async def test_junk_is_dropped_with_one_line_however_much_comes() -> None:
    async with serving() as (_, address), datagrams(address) as other:
        client = await raw(address)
        with capturedLogs() as logs:
            for size in range(1, 200):
                client.send(record(b"\xff" * size))
                other.send(b"\xff" * size)
            client.send(record(echo_call(1, argument=b"after")))
            assert payload(await take_record(client)) == b"after"
            other.send(echo_call(1, argument=b"after"))
            await eventually(lambda: other.received)
        lines = [event for event in logs if "no calls" in event["log_format"]]
        assert len(lines) == 1
        await client.close()


@pytest_twisted.ensureDeferred
async def test_half_a_record_and_silence_are_closed() -> None:
    async with serving(half_record=0.3, idle=1.5) as (server, address):
        half, silent, busy = await raw(address), await raw(address), await raw(address)
        half.send(record(echo_call(1))[:-3])
        await half.ended(1.2)
        assert not silent.closed.called
        for _ in range(8):
            busy.send(record(echo_call(1, argument=b"x")))
            await take_record(busy)
            await sleep(0.2)
        await silent.ended(1.0)
        assert not busy.closed.called
        assert len(server.connections) == 1
        await busy.close()


@pytest_twisted.ensureDeferred
async def test_a_drip_of_bytes_does_not_keep_a_half_record_alive() -> None:
    async with serving(half_record=0.4) as (_, address):
        client = await raw(address)
        client.send(mark(1000))
        for _ in range(100):
            if client.closed.called:
                break
            client.send(b"x")
            await sleep(0.05)
        assert client.closed.called


@pytest_twisted.ensureDeferred
async def test_who_never_reads_is_closed_in_the_end() -> None:
    async with serving(idle=0.4) as (_, address):
        client = await raw(address)
        client.transport.pauseProducing()
        client.send(record(echo_call(1, "MANY", 50_000_000)))
        await sleep(1.5)
        client.transport.resumeProducing()
        await client.ended()
        assert len(client.received) < 50_000_000


@pytest_twisted.ensureDeferred
async def test_a_call_that_takes_long_is_not_silence() -> None:
    waiting: Deferred[Any] = Deferred()
    async with serving(Serving(ECHO, lambda call: waiting), idle=0.2) as (_, address):
        client = await raw(address)
        client.send(record(echo_call(1, "WAIT", 5)))
        await sleep(1.0)
        waiting.callback(6)
        assert (await take_record(client)).endswith(b"\0\0\0\6")
        await client.close()


@pytest_twisted.ensureDeferred
async def test_one_connection_too_many_closes_the_least_recently_used() -> None:
    async with serving(connections=3) as (server, address):
        clients = [await raw(address) for _ in range(3)]
        for client in (clients[0], clients[2], clients[1]):
            client.send(record(echo_call(1, argument=b"x")))
            await take_record(client)
        newest = await raw(address)
        await clients[0].ended()
        newest.send(record(echo_call(1, argument=b"new")))
        assert payload(await take_record(newest)) == b"new"
        assert len(server.connections) == 3
        assert not clients[1].closed.called
        assert not clients[2].closed.called
        for client in (*clients[1:], newest):
            await client.close()


@pytest_twisted.ensureDeferred
async def test_where_all_are_busy_the_newest_is_refused() -> None:
    waiting: Deferred[Any] = Deferred()
    service = Serving(ECHO, lambda call: waiting)
    async with serving(service, connections=1) as (_, address):
        client = await raw(address)
        client.send(record(echo_call(1, "WAIT", 5)))
        await eventually(lambda: service.calls)
        newest = await raw(address)
        await newest.ended()
        waiting.callback(6)
        assert (await take_record(client)).endswith(b"\0\0\0\6")
        await client.close()


@pytest_twisted.ensureDeferred
async def test_an_address_has_its_share() -> None:
    async with serving(connections_per_address=2) as (server, address):
        clients = [await raw(address) for _ in range(3)]
        await clients[0].ended()
        assert dict(server.per_host) == {HOST: 2}
        await clients[1].close()
        await clients[2].close()
        await eventually(lambda: not server.per_host)


class Choosy(Serving):
    def accept_tcp(self, peer: Address, local: Address) -> bool:
        return False


@pytest_twisted.ensureDeferred
async def test_a_service_refuses_connections() -> None:
    async with serving(Choosy(ECHO, echo)) as (server, address):
        client = await raw(address)
        await client.ended()
        assert not server.connections


@pytest_twisted.ensureDeferred
async def test_a_defect_in_an_awaited_call_whose_client_is_gone() -> None:
    waiting: Deferred[Any] = Deferred()
    service = Serving(ECHO, lambda call: waiting)
    async with serving(service) as (server, address):
        client = await raw(address)
        client.send(record(echo_call(1, "WAIT", 5)))
        await eventually(lambda: service.calls)
        client.transport.abortConnection()
        await eventually(lambda: not server.connections)
        chunks = Chunks()
        waiting.callback(Streamed(chunks))
        assert chunks.closed


# --- UDP ------------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_reply_too_long_for_udp_is_an_error() -> None:
    fits = 8_800 - 28
    async with serving() as (_, address), datagrams(address) as client:
        client.send(echo_call(1, "MANY", fits))
        client.send(echo_call(2, "MANY", fits + 1))
        await eventually(lambda: len(client.received) == 2)
        assert len(client.received[0]) == 8_800
        assert client.received[1].hex(" ", 4) == f"00000002 {SYSTEM_ERR}"


@pytest_twisted.ensureDeferred
async def test_the_longest_datagram() -> None:
    service = Serving(ECHO, lambda call: b"")
    async with serving(service) as (_, address), datagrams(address) as client:
        longest = bytes((65_507 - len(echo_call(1))) // 4 * 4)
        client.send(echo_call(1, argument=longest))
        await eventually(lambda: client.received)
        assert service.calls[0].argument == longest


@pytest_twisted.ensureDeferred
async def test_a_datagram_beyond_the_limit_is_dropped() -> None:
    async with serving(udp_call=100) as (_, address), datagrams(address) as client:
        client.send(echo_call(1, argument=bytes(200)))
        client.send(echo_call(2))
        await eventually(lambda: client.received)
        assert [reply[:4] for reply in client.received] == [b"\0\0\0\2"]


@pytest_twisted.ensureDeferred
async def test_a_call_sent_again_while_it_is_served_is_served_once() -> None:
    waiting: list[Deferred[Any]] = []

    def serve(call: IncomingCall) -> Any:
        waiting.append(Deferred())
        return waiting[-1]

    async with (
        serving(Serving(ECHO, serve), waiting_datagrams=2) as (_, address),
        datagrams(address) as client,
    ):
        for xid in (1, 1, 2, 1, 2, 3):
            client.send(echo_call(xid, "WAIT", xid))
        await eventually(lambda: len(waiting) == 3)  # the third found no place, and was dropped
        await sleep(0.05)
        assert len(waiting) == 3
        waiting[0].callback(10)
        waiting[1].errback(ZeroDivisionError())
        with capturedLogs():
            await eventually(lambda: len(client.received) == 2)
        assert client.received[0].hex(" ", 4) == f"00000001 {SUCCESS} 0000000a"
        assert client.received[1].hex(" ", 4) == f"00000002 {SYSTEM_ERR}"
        client.send(echo_call(3, "WAIT", 3))
        await eventually(lambda: len(waiting) == 4)
        waiting[3].callback(30)
        await eventually(lambda: len(client.received) == 3)


# --- ports ----------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_port_in_use_names_itself_and_leaves_nothing_open() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        server = RpcServer([Serving(ECHO)])
        with pytest.raises(ListenError, match=f"UDP port {port} on {HOST} is already in use"):
            await server.listen(reactor, HOST, port)
        await server.listen(reactor, HOST, port, udp=False)
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_server_stops_at_once_and_can_start_again() -> None:
    server = RpcServer([Serving(ECHO, echo)])
    listening = await server.listen(reactor, HOST, 0)
    client = await raw(listening.address)
    slow = await raw(listening.address)
    slow.transport.pauseProducing()
    slow.send(record(echo_call(1, "MANY", 50_000_000)))
    client.send(record(echo_call(1, argument=b"x")))
    await take_record(client)
    await sleep(0.1)
    await within(Deferred.fromCoroutine(server.stop()), 5)
    await client.ended()
    again = await server.listen(reactor, HOST, listening.address.port)
    assert again.address == listening.address
    await server.stop()
    slow.transport.resumeProducing()
    await slow.ended()


# --- recorders ------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_recorder_hears_everything() -> None:
    events: list[TapEvent] = []
    server = RpcServer([Serving(ECHO, echo)], taps=[events.append], name="echo server")
    address = (await server.listen(reactor, HOST, 0)).address
    client = await raw(address)
    peer = Address.of(client.transport.getHost())
    client.send(record(echo_call(1, argument=b"x")))
    reply = await take_record(client)
    await client.close()
    await eventually(lambda: events and events[-1].kind == "close")
    assert [(event.kind, event.outgoing, event.data) for event in events] == [
        ("open", False, b""),
        ("data", False, record(echo_call(1, argument=b"x"))),
        ("data", True, record(reply)),
        ("close", False, b""),
    ]
    assert {(event.transport, event.local, event.remote, event.service) for event in events} == {
        ("tcp", address, peer, "echo server")
    }
    events.clear()
    async with datagrams(address) as other:
        other.send(echo_call(1, argument=b"x"))
        await eventually(lambda: other.received)
        assert [(event.kind, event.transport, event.outgoing, event.data) for event in events] == [
            ("datagram", "udp", False, echo_call(1, argument=b"x")),
            ("datagram", "udp", True, other.received[0]),
        ]
    await server.stop()


# --- real peers -----------------------------------------------------------------------------------------------------


@pytest.mark.interop
@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("program", "version", "said"),
    [
        (100000, 2, "program 100000 version 2 ready and waiting"),
        (100000, 4, "Program/version mismatch; low version = 2, high version = 2"),
        (100003, 3, "Program unavailable"),
    ],
)
async def test_rpcinfo_asks(transport: str, program: int, version: int, said: str) -> None:
    rpcinfo = peer("rpcinfo")
    async with serving(Serving(PORTMAP)) as (_, address):
        where = f"{address.host}.{address.port >> 8}.{address.port & 255}"
        command = [rpcinfo, "-a", where, "-T", transport, str(program), str(version)]
        done = await deferToThread(
            subprocess.run, command, capture_output=True, text=True, timeout=30, check=False
        )
    assert said in done.stdout + done.stderr
