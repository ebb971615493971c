"""The world outside the client's rules: connections, threads, waiting, and which hosts are this machine."""

import io
import socket
import threading
from typing import Any

import pytest
import pytest_twisted

from sup.commands.network import Connections, is_this_machine, offload, outside
from sup.trace import TracingChannel
from sup.upgrade import Unreachable
from tests.peers import free_port, loopback
from wire.transport.message_stream import MessageStream


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor

    return reactor


@pytest.mark.parametrize(("trace", "kind"), [(0, MessageStream), (2, TracingChannel)])
@pytest_twisted.ensureDeferred
async def test_connections(reactor: Any, trace: int, kind: type) -> None:
    with socket.create_server((loopback(), 0)) as server:
        host, port = server.getsockname()[:2]
        told = io.StringIO()
        channel = await Connections(reactor, port, (), trace, told)(host)
        assert type(channel) is kind
        assert (channel.peer.host, channel.peer.port) == (host, port)
        server.accept()[0].close()
        await channel.finish()


@pytest_twisted.ensureDeferred
async def test_a_host_that_cannot_be_reached(reactor: Any) -> None:
    host, port = loopback(), free_port()
    with pytest.raises(Unreachable, match=rf"{host}:{port} cannot be reached: connection refused\."):
        await Connections(reactor, port, (), 0, io.StringIO())(host)


@pytest_twisted.ensureDeferred
async def test_what_blocks_runs_in_a_thread() -> None:
    assert await offload(threading.current_thread) is not threading.current_thread()

    def fail() -> None:
        raise OSError(5, "no")

    with pytest.raises(OSError, match="no"):
        await offload(fail)


@pytest_twisted.ensureDeferred
async def test_the_world(reactor: Any) -> None:
    connections = Connections(reactor, 1, (), 0, io.StringIO())
    world = outside(reactor, connections)
    assert world.connect is connections
    assert world.below(1) == 0
    assert world.is_local is is_this_machine
    await world.sleep(0)


def test_which_hosts_are_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"here": "here.example.org", "alias": "here.example.org", "there": "there.example.org", "odd": ""}

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "no such host")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, names[host], ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert [host for host in ("here", "alias", "there", "odd", "nowhere") if is_this_machine(host)] == [
        "here",
        "alias",
    ]
    monkeypatch.setattr(socket, "gethostname", lambda: "nameless")
    assert is_this_machine("nameless")
    assert not is_this_machine("here")
