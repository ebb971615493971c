"""Servers on real sockets; with ``--reactor=asyncio`` on uvloop's native transport."""

from __future__ import annotations

import socket
import subprocess
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs

from tests.peers import loopback, peer
from tests.transport.raw import HOST, eventually, raw, sleep, within
from tests.transport.rpc_peers import (
    FAILED,
    SUCCEEDED,
    datagrams,
    payload,
    record,
    serving,
    take_record,
)
from tests.transport.services import ECHO, Serving, echo, echo_call
from wire.formats.portmap import PORTMAP
from wire.transport.errors import ListenError
from wire.transport.rpc_server import (
    NO_REPLY,
    IncomingCall,
    RpcServer,
    Streamed,
)
from wire.transport.tap import Address, TapEvent


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
async def test_a_streamed_reply_over_udp_is_whole_or_an_error() -> None:
    sizes = iter([8_000, 10**9])

    def serve(call: IncomingCall) -> Any:
        return Streamed(bytes(100) for _ in range(next(sizes) // 100))

    async with serving(Serving(ECHO, serve)) as (_, address), datagrams(address) as client:
        client.send(echo_call(1))
        client.send(echo_call(2))
        await eventually(lambda: len(client.received) == 2)
        assert [len(reply) for reply in client.received] == [8_024, 24]
        assert client.received[1].hex(" ", 4) == f"00000002 {FAILED}"


# --- UDP ------------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_reply_too_long_for_udp_is_an_error() -> None:
    fits = 8_800 - 28
    async with serving() as (_, address), datagrams(address) as client:
        client.send(echo_call(1, "MANY", fits))
        client.send(echo_call(2, "MANY", fits + 1))
        await eventually(lambda: len(client.received) == 2)
        assert len(client.received[0]) == 8_800
        assert client.received[1].hex(" ", 4) == f"00000002 {FAILED}"


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
        assert client.received[0].hex(" ", 4) == f"00000001 {SUCCEEDED} 0000000a"
        assert client.received[1].hex(" ", 4) == f"00000002 {FAILED}"
        client.send(echo_call(3, "WAIT", 3))
        await eventually(lambda: len(waiting) == 4)
        waiting[3].callback(30)
        await eventually(lambda: len(client.received) == 3)


# --- ports ----------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_port_in_use_names_itself_and_leaves_nothing_open() -> None:
    host = loopback()  # where no connection of another test has the number for its own
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((host, 0))
        port = taken.getsockname()[1]
        server = RpcServer([Serving(ECHO)])
        with pytest.raises(ListenError, match=f"UDP port {port} on {host} is already in use"):
            await server.listen(reactor, host, port)
        await server.listen(reactor, host, port, udp=False)
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
