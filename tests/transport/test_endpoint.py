"""Listening and connecting, on Twisted's own listener and, with ``--reactor=asyncio``, on uvloop's."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.transport.raw import HOST, Raw, eventually, raw, within
from tests.transport.test_native import Accepting, Pair, Server, listen
from wire.transport.endpoint import (
    addresses_of,
    connect_stream,
    open_socket,
)
from wire.transport.errors import ConnectError, ListenError
from wire.transport.tap import Address


@pytest_twisted.ensureDeferred
async def test_a_port_in_use_is_named() -> None:
    pair = await Pair.open()
    with pytest.raises(
        ListenError, match=f"TCP port {pair.listening.address.port} on 127.0.0.1 is already in use"
    ):
        await listen(HOST, pair.listening.address.port, Accepting(Server))
    await pair.close()


@pytest_twisted.ensureDeferred
async def test_a_stopped_port_is_free_again() -> None:
    pair = await Pair.open()
    port = pair.listening.address.port
    await pair.listening.stop()
    await pair.listening.stop()
    with pytest.raises(ConnectError) as refused:
        await raw(pair.listening.address)
    assert refused.value.errno == errno.ECONNREFUSED
    pair.client.send(b"still open")
    await eventually(lambda: pair.server.received == b"still open")
    again = await listen(HOST, port, Accepting(Server))
    await again.stopListening()
    await pair.client.close()
    await within(pair.server.lost)


@pytest_twisted.ensureDeferred
async def test_processes_share_a_port() -> None:
    first = open_socket("tcp", HOST, 0, reuse_port=True)
    port = first.getsockname()[1]
    second = open_socket("tcp", HOST, port, reuse_port=True)
    with first, second, pytest.raises(ListenError):
        open_socket("tcp", HOST, port)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_an_address_of_another_machine(transport: Any) -> None:
    with pytest.raises(ListenError, match="this machine has no such address"):
        open_socket(transport, "192.0.2.1", 0)


@pytest_twisted.ensureDeferred
async def test_nobody_there() -> None:
    with open_socket("tcp", HOST, 0) as free:
        address = Address.of(free.getsockname())
    with pytest.raises(ConnectError, match=f"{address} cannot be reached: connection refused"):
        await connect_stream(reactor, address, Raw(), 5.0)


@pytest_twisted.ensureDeferred
async def test_no_answer_in_time() -> None:
    with socket.socket() as full:
        full.bind((HOST, 0))
        full.listen(0)
        address = Address.of(full.getsockname())
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex((address.host, address.port))
        with pytest.raises(ConnectError, match=r"did not answer within 0\.2 seconds"):
            await connect_stream(reactor, address, Raw(), 0.2)
        for other in others:
            other.close()


@pytest_twisted.ensureDeferred
async def test_names_of_hosts() -> None:
    assert HOST in await addresses_of("localhost")
    assert await addresses_of("::1") == ("::1",)
    with pytest.raises(ConnectError, match=r"No address is known for host no\.such\.host\.invalid"):
        await addresses_of("no.such.host.invalid")
