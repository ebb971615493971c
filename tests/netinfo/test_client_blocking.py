"""The network that waits, against small servers of the test's own and a real host."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from netinfo.client import blocking
from netinfo.client.blocking import BlockingNetwork, bind_reserved
from netinfo.client.network import Answer, Target, run
from tests.netinfo import served
from wire.formats.netinfo import NETINFO, NiId, NiStatus
from wire.formats.nibind import NIBIND
from wire.formats.portmap import PORTMAP, Mapping
from wire.formats.rpc import AUTH_NONE
from wire.transport.errors import ConnectError, RpcAcceptError, RpcConnectionLost, RpcDenied, RpcTimeout
from wire.transport.record import mark

NETWORK = BlockingNetwork()
PING = NETINFO.by_name["PING"]
SUCCESS = bytes.fromhex("00000001 00000000 00000000 00000000 00000000")


@contextmanager
def datagrams(answer: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    """A UDP server: a list of datagrams for each that comes."""
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    data, peer = server.recvfrom(65536)
                except TimeoutError:
                    continue
                for reply in answer(data):
                    server.sendto(reply, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


@contextmanager
def stream(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server for one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            thread.join()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[served.Served]:
    with served.process(tmp_path_factory.mktemp("host")) as running:
        yield running


def place(text: str) -> tuple[str, int]:
    name, _, port = text.partition(":")
    return name, int(port)


def test_calls_over_tcp(host: served.Served) -> None:
    link = run(NETWORK.connect_tcp(*place(host.network), NETINFO, 5.0))
    assert run(link.call(NETINFO.by_name["ROOT"], None, AUTH_NONE, 5.0)).body.object == 0
    missing = run(link.call(NETINFO.by_name["READ"], NiId(9999, 0), AUTH_NONE, 5.0))
    assert missing.status == NiStatus.NI_BADID
    link.close()


def test_calls_over_udp(host: served.Served) -> None:
    link = run(NETWORK.connect_udp(*place(host.portmapper), PORTMAP))
    port = run(link.call(PORTMAP.by_name["GETPORT"], Mapping(NIBIND.number, 1, 17, 0), AUTH_NONE, 5.0))
    link.close()
    assert port > 0


def test_refusals_are_told(host: served.Served) -> None:
    over_udp = run(NETWORK.connect_udp(*place(host.network), NETINFO))
    with pytest.raises(RpcDenied, match=r"AUTH_TOOWEAK"):
        run(over_udp.call(NETINFO.by_name["ROOT"], None, AUTH_NONE, 5.0))
    over_udp.close()
    wrong_program = run(NETWORK.connect_tcp(*place(host.network), NIBIND, 5.0))
    with pytest.raises(RpcAcceptError, match=r"PROG_UNAVAIL"):
        run(wrong_program.call(NIBIND.by_name["PING"], None, AUTH_NONE, 5.0))
    wrong_program.close()


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(ConnectError, match=f"TCP port {port} on 127.0.0.1"):
            run(NETWORK.connect_tcp("127.0.0.1", port, NETINFO, 5.0))
        link = run(NETWORK.connect_udp("127.0.0.1", port, NETINFO))
        with pytest.raises(ConnectError, match=r"Nothing listens"):
            run(link.call(PING, None, AUTH_NONE, 5.0))
        link.close()


def test_a_lost_datagram_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "RETRY", 0.05)
    seen: list[bytes] = []

    def answer(data: bytes) -> list[bytes]:
        seen.append(data)
        return [b"junk", b"\0\0\0\1" + SUCCESS, data[:4] + SUCCESS] if len(seen) == 3 else []

    with datagrams(answer) as port:
        link = run(NETWORK.connect_udp("127.0.0.1", port, NETINFO))
        assert run(link.call(PING, None, AUTH_NONE, 5.0)) is None
        link.close()
    assert seen[0] == seen[1] == seen[2]


def test_silence_over_udp_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with datagrams(lambda data: []) as port:
        link = run(NETWORK.connect_udp("127.0.0.1", port, NETINFO))
        begun = time.monotonic()
        with pytest.raises(RpcTimeout, match=r"did not answer PING within 0.2 seconds"):
            run(link.call(PING, None, AUTH_NONE, 0.2))
        assert time.monotonic() - begun < 2
        link.close()


def test_a_reply_in_many_fragments_and_late_replies() -> None:
    def answer(connection: socket.socket) -> None:
        call = connection.recv(65536)
        late = b"\0\0\0\0" + SUCCESS
        reply = call[4:8] + SUCCESS
        connection.sendall(mark(len(late)) + late)
        for index, byte in enumerate(reply):
            connection.sendall(mark(1, last=index == len(reply) - 1) + bytes([byte]))

    with stream(answer) as port:
        link = run(NETWORK.connect_tcp("127.0.0.1", port, NETINFO, 5.0))
        assert run(link.call(PING, None, AUTH_NONE, 5.0)) is None
        link.close()


def test_a_closed_connection_and_a_silent_one() -> None:
    with stream(lambda connection: None) as port:
        link = run(NETWORK.connect_tcp("127.0.0.1", port, NETINFO, 5.0))
        with pytest.raises(RpcConnectionLost):
            run(link.call(PING, None, AUTH_NONE, 5.0))
        link.close()
    over = threading.Event()
    with stream(lambda connection: (over.wait(10), None)[1]) as port:
        link = run(NETWORK.connect_tcp("127.0.0.1", port, NETINFO, 5.0))
        with pytest.raises(RpcTimeout, match=r"PING was not answered within 0.2 seconds"):
            run(link.call(PING, None, AUTH_NONE, 0.2))
        over.set()
        link.close()


def test_a_multicall_takes_the_first_success() -> None:
    refused = bytes.fromhex("00000001 00000001 00000001 00000005")
    with (
        datagrams(lambda data: []) as silent,
        datagrams(lambda data: [data[:4] + refused]) as refusing,
        datagrams(lambda data: [b"x", data[:4] + SUCCESS]) as good,
    ):
        targets = [Target("127.0.0.1", port, NETINFO, PING, None) for port in (silent, refusing, good)]
        assert run(NETWORK.multicall(targets, (5.0,))) == Answer(2, "127.0.0.1", None)
        assert run(NETWORK.multicall(targets[:2], (0.1, 0.1))) is None
    assert run(NETWORK.multicall([], (0.01,))) is None


def test_names_are_resolved() -> None:
    assert run(NETWORK.resolve("127.0.0.1")) == "127.0.0.1"
    assert run(NETWORK.resolve("localhost")).startswith("127.")
    with pytest.raises(ConnectError, match=r"No IPv4 address is known for host no-such-host.invalid"):
        run(NETWORK.resolve("no-such-host.invalid"))


def test_a_reserved_port_is_taken_where_that_is_allowed() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", 1023))
            allowed = True
        except PermissionError:
            allowed = False
        except OSError:
            allowed = True
    with socket.socket() as sock:
        bind_reserved(sock)
        assert (600 <= sock.getsockname()[1] <= 1023) is allowed
