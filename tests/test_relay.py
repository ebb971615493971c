"""The delaying relay of tests/relay.py."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.relay import Relay


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it receives until end of file, then a farewell, one connection at a time."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    while data := connection.recv(65536):
                        connection.sendall(data)
                    connection.sendall(b"bye")

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)


def receive_all(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def ended(connection: socket.socket) -> bool:
    """Whether the other side has ended the connection, in good order or not; waits for it."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_round_trip_takes_twice_the_delay(echo: tuple[str, int]) -> None:
    with Relay(*echo, delay=0.05) as relay, socket.create_connection(relay.address, timeout=10) as client:
        began = time.monotonic()
        client.sendall(b"ping")
        assert client.recv(100) == b"ping"
        assert time.monotonic() - began >= 0.1
        assert relay.connections == 1
        assert (relay.to_server, relay.to_client) == (4, 4)


def test_delay_is_not_paid_per_chunk(echo: tuple[str, int]) -> None:
    """Many chunks travel at once: 50 of them take one delay each way, not 50."""
    with Relay(*echo, delay=0.1) as relay, socket.create_connection(relay.address, timeout=10) as client:
        began = time.monotonic()
        for _ in range(50):
            client.sendall(b"x")
            time.sleep(0.002)
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b"x" * 50 + b"bye"
        assert time.monotonic() - began < 50 * 0.1


def test_each_half_closes_on_its_own(echo: tuple[str, int]) -> None:
    with Relay(*echo, delay=0.0) as relay, socket.create_connection(relay.address, timeout=10) as client:
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b"bye"


def test_a_server_that_is_not_there_looks_like_a_closed_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with (
        Relay(address[0], address[1], delay=0.0) as relay,
        socket.create_connection(relay.address, timeout=10) as client,
    ):
        assert ended(client)


def test_leaving_ends_open_connections(echo: tuple[str, int]) -> None:
    with Relay(*echo, delay=0.0) as relay:
        client = socket.create_connection(relay.address, timeout=10)
        client.sendall(b"a")
        assert client.recv(1) == b"a"
    with client:
        assert ended(client)
