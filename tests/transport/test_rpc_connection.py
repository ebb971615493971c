"""Connections to RPC servers; with ``--reactor=asyncio`` on uvloop's native transport."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from tests.transport.raw import HOST, eventually, raw, sleep
from tests.transport.rpc_peers import (
    FAILED,
    SUCCEEDED,
    datagrams,
    payload,
    record,
    serving,
    take_record,
)
from tests.transport.services import ECHO, FOUND, Serving, echo, echo_call, lookup
from wire.codec import codec
from wire.formats.netinfo import NETINFO
from wire.transport.record import mark
from wire.transport.rpc_connection import BATCH
from wire.transport.rpc_server import (
    Encoded,
    IncomingCall,
    RpcServer,
    Streamed,
)
from wire.transport.tap import Address, TapEvent

# --- calls and replies ----------------------------------------------------------------------------------------------


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
    assert [connection.transport.getTcpNoDelay() for connection in server.connections] == [True]
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
        assert (await take_record(client)).hex(" ", 4) == f"00000002 {SUCCEEDED} 00000046"
        await eventually(lambda: len(waiting) == 2)
        waiting[1].errback(ZeroDivisionError())
        with capturedLogs():
            assert (await take_record(client)).hex(" ", 4) == f"00000003 {FAILED}"
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
            assert reply[:24].hex(" ", 4) == f"{xid:08x} {SUCCEEDED}"
            assert reply[24:] == data[:size]
        await client.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("size", [BATCH - 29, BATCH - 28, BATCH - 27, BATCH, 2 * BATCH - 28, 1_000_000])
async def test_a_long_reply_is_one_record_and_in_its_place(size: int) -> None:
    async with serving(Serving(ECHO, echo)) as (_, address):
        client = await raw(address)
        client.send(record(echo_call(1, argument=b"before")) + record(echo_call(2, "MANY", size)))
        client.send(record(echo_call(3, argument=b"after")))
        assert payload(await take_record(client)) == b"before"
        reply = await take_record(client)
        assert (reply[:4], payload(reply)) == (b"\0\0\0\2", bytes(size))
        assert payload(await take_record(client)) == b"after"
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
        with capturedLogs() as logs:
            client.send(record(echo_call(1, argument=b"before")) + stream)
            assert payload(await take_record(client)) == b"before"
            await client.ended()
        (said,) = [formatEvent(event) for event in logs if "no calls" in event["log_format"]]
        assert said.endswith("It is closed.")
        assert "127.0.0.1" in said


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
async def test_refusals_fill_no_log_however_many_there_are() -> None:
    class Gate(Serving):
        def accept_tcp(self, peer: Address, local: Address) -> bool:
            return False

    async with serving(Gate(ECHO)) as (_, address):
        with capturedLogs() as logs:
            for _ in range(20):
                client = await raw(address)
                await client.ended()
        told = [formatEvent(event) for event in logs if "refused" in event["log_format"]]
        assert ["refused 1 connection(s) that are not admitted" in str(line) for line in told] == [True]


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
async def test_all_connections_together_hold_a_bounded_number_of_bytes() -> None:
    async with serving(held_calls=1_050_000) as (server, address):
        modest, *greedy = [await raw(address) for _ in range(5)]
        modest.send(record(echo_call(1, argument=b"x" * 1000))[:-500])
        for size, client in enumerate(greedy, 1):
            client.send(mark(1 << 20) + bytes(size * 100_000))
        await eventually(lambda: sum(one.held for one in server.connections) > 1_000_000)
        greedy[3].send(bytes(100_000))
        await greedy[3].ended()
        assert len(server.connections) == 4
        assert sum(one.held for one in server.connections) == server.connections.held < 700_000
        modest.send(record(echo_call(1, argument=b"x" * 1000))[-500:])
        assert payload(await take_record(modest)) == b"x" * 1000
        await greedy[0].close()
        await eventually(lambda: len(server.connections) == 3)
        await eventually(lambda: server.connections.held == 500_000)
        for client in (modest, *greedy[1:3]):
            await client.close()
        await eventually(lambda: server.connections.held == 0)


@pytest_twisted.ensureDeferred
async def test_a_long_result_for_many_clients_is_held_once() -> None:
    result = codec(ECHO.by_name["MANY"].result).build(bytes(20_000_000))
    async with serving(Serving(ECHO, lambda call: Encoded(result))) as (server, address):
        clients = [await raw(address) for _ in range(6)]
        tracemalloc.start()
        try:
            for client in clients:
                client.transport.pauseProducing()
                client.send(record(echo_call(1, "MANY", 1)))
            await eventually(lambda: all(one.result is result for one in server.connections))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < len(result)
        assert server.connections.unsent == len(result)
        for client in clients[1:]:
            await client.close()
        clients[0].transport.resumeProducing()
        assert payload(await take_record(clients[0])) == bytes(20_000_000)
        await eventually(lambda: server.connections.unsent == 0)
        await clients[0].close()


@pytest_twisted.ensureDeferred
async def test_results_that_nobody_reads_are_bounded() -> None:
    async with serving(Serving(ECHO, echo), unsent_results=50_000_000) as (server, address):
        stuck, slow, quick = [await raw(address) for _ in range(3)]
        for count, client in enumerate((stuck, slow), 1):
            client.transport.pauseProducing()
            client.send(record(echo_call(1, "MANY", 20_000_000)))
            await eventually(lambda wanted=count * 20_000_000: server.connections.unsent > wanted)
        quick.send(record(echo_call(1, "MANY", 20_000_000)))
        assert payload(await take_record(quick)) == bytes(20_000_000)
        stuck.transport.resumeProducing()
        await stuck.ended()
        assert len(stuck.received) < 20_000_000
        slow.transport.resumeProducing()
        assert payload(await take_record(slow)) == bytes(20_000_000)
        assert server.connections.unsent == 0
        await slow.close()
        await quick.close()


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
        with capturedLogs() as logs:
            newest = await raw(address)
            await clients[0].ended()
        assert ["closed 1 that were idle longest" in formatEvent(event) for event in logs] == [True]
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
        assert dict(server.connections.per_host) == {HOST: 2}
        await clients[1].close()
        await clients[2].close()
        await eventually(lambda: not server.connections.per_host)


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
