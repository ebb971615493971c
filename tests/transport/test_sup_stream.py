"""Servers and clients of SUP on real sockets; with ``--reactor=asyncio`` servers are on uvloop's native transport."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.logger import capturedLogs

from tests.transport.raw import HOST, eventually, raw, within
from tests.transport.streams import SIGNON, Server, failure, pair, serving, started
from wire.formats.sup import (
    PROBE_LITTLE,
    Send,
    Signon,
)
from wire.transport.endpoint import open_socket
from wire.transport.errors import (
    ConnectError,
    ConnectionClosed,
    ListenError,
)
from wire.transport.sup_stream import MessageStream, connect_sup, listen_sup
from wire.transport.tap import Address

# --- servers and clients --------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_session_that_fails_costs_its_connection_alone() -> None:
    async def session(stream: MessageStream) -> None:
        await stream.receive(Send)
        raise ZeroDivisionError

    async with serving(session) as listening:
        other = await connect_sup(reactor, listening.address)
        client = await connect_sup(reactor, listening.address)
        client.send(Send())
        with capturedLogs() as logs:
            with pytest.raises(ConnectionClosed):
                await client.receive(Send)
            await eventually(lambda: len(listening.streams) == 1)
        assert any("log_failure" in event for event in logs)
        other.abort()


@pytest_twisted.ensureDeferred
async def test_a_stopped_server_ends_its_sessions() -> None:
    ended: list[Exception] = []

    async def session(stream: MessageStream) -> None:
        ended.append(await failure(stream.receive(Send)))

    listening = await listen_sup(reactor, HOST, 0, session)
    clients = [await connect_sup(reactor, listening.address) for _ in range(3)]
    await eventually(lambda: len(listening.streams) == 3)
    await listening.stop()
    assert [type(error) for error in ended] == [ConnectionClosed] * 3
    with pytest.raises(ConnectError, match="connection refused"):
        await connect_sup(reactor, listening.address)
    for client in clients:
        await client.finish()


@pytest_twisted.ensureDeferred
async def test_one_connection_too_many() -> None:
    session = Server()
    async with serving(session, connections=2) as listening:
        clients = [await connect_sup(reactor, listening.address) for _ in range(3)]
        with pytest.raises(ConnectionClosed):
            await clients[2].receive(Send)
        assert len(listening.streams) == 2
        for client in clients:
            client.abort()
        session.end()


@pytest_twisted.ensureDeferred
async def test_a_silent_client_disturbs_nobody() -> None:
    async def session(stream: MessageStream) -> None:
        await stream.receive_probe()
        await stream.receive(Signon)
        stream.send(SIGNON)

    async with serving(session) as listening:
        silent = [await raw(listening.address) for _ in range(20)]
        for one in silent[:10]:
            one.send(PROBE_LITTLE[:2])
        client = await connect_sup(reactor, listening.address)
        client.send_probe()
        client.send(SIGNON)
        assert await within(started(client.receive(Signon)), 5) == SIGNON
        await client.finish()
        for one in silent:
            one.transport.abortConnection()
            await one.ended()


@pytest_twisted.ensureDeferred
async def test_a_host_by_name_and_no_host() -> None:
    session = Server()
    async with serving(session) as listening:
        client = await connect_sup(reactor, Address("localhost", listening.address.port))
        assert client.peer == listening.address
        client.abort()
        session.end()
    with pytest.raises(ConnectError, match="No address is known"):
        await connect_sup(reactor, Address("no.such.host.invalid", 871))


@pytest_twisted.ensureDeferred
async def test_a_port_in_use() -> None:
    with open_socket("tcp", HOST, 0) as taken, pytest.raises(ListenError, match="already in use"):
        await listen_sup(reactor, HOST, taken.getsockname()[1], Server())


@pytest_twisted.ensureDeferred
async def test_keepalive_finds_out_who_is_gone() -> None:
    async with pair() as (client, server):
        for stream in (client, server):
            assert stream.transport.getTcpKeepAlive()
            assert stream.transport.getTcpNoDelay()
