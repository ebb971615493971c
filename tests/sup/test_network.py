"""The client's world: connections over TCP, waiting, threads, and which hosts are this machine."""

import io
import socket
import threading
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from sup.channel import Channel
from sup.commands.network import Connections, is_this_machine, offload, outside
from sup.upgrade import Unreachable
from tests.peers import free_port
from wire.formats.sup import Signon, SignonAck
from wire.transport.sup_stream import MessageStream, SupListening, listen_sup

ACK = SignonAck(8, 13, b"4.3 BSD", 4711)


async def greet(stream: MessageStream) -> None:
    """A server that says who it is, and no more."""
    await stream.receive_probe()
    await stream.receive(Signon)
    stream.send(ACK)


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[SupListening]:
    listening = await listen_sup(reactor, "127.0.0.1", 0, greet)
    yield listening
    await listening.stop()


async def greeted(channel: Channel) -> SignonAck:
    channel.send_probe()
    channel.send(Signon(8, 26, b"4.3 BSD"))
    answer = await channel.receive(SignonAck)
    await channel.finish()
    return answer


@pytest_twisted.ensureDeferred
async def test_a_connection(server: SupListening) -> None:
    heard: list[object] = []
    connect = Connections(reactor, server.address.port, (heard.append,), 0, io.StringIO())
    assert await greeted(await connect("localhost")) == ACK
    assert heard


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_traced(server: SupListening) -> None:
    told = io.StringIO()
    assert await greeted(await Connections(reactor, server.address.port, (), 2, told)("127.0.0.1")) == ACK
    assert told.getvalue() == "SCM Writing message 101\nSCM Reading message 102\n"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
async def test_hosts_that_cannot_be_reached(host: str) -> None:
    connect = Connections(reactor, free_port(), (), 0, io.StringIO())
    with pytest.raises(Unreachable, match=host):
        await connect(host)


@pytest_twisted.ensureDeferred
async def test_what_blocks_runs_in_another_thread() -> None:
    assert await offload(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await offload(lambda: 1 // 0)


def test_waiting() -> None:
    clock = Clock()
    network = outside(clock, Connections(clock, 0, (), 0, io.StringIO()))
    done = []

    async def wait() -> None:
        await network.sleep(60)
        done.append(clock.seconds())

    ensureDeferred(wait())
    clock.advance(59)
    assert not done
    clock.advance(1)
    assert done == [60]
    assert {network.below(3) for _ in range(100)} == {0, 1, 2}


def named(names: dict[str, str]) -> Callable[..., list[tuple[int, int, int, str, tuple[str, int]]]]:
    """A resolver that knows canonical names."""

    def look_up(host: str, port: None, flags: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        assert flags == socket.AI_CANONNAME
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(2, 1, 6, names[host], ("192.0.2.1", 0)), (2, 2, 17, "", ("192.0.2.1", 0))]

    return look_up


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("vm", True),
        ("vm.example", True),
        ("alias", True),
        ("localhost", False),
        ("other", False),
        ("none", False),
    ],
)
def test_this_machine_is_known_by_its_canonical_name(
    monkeypatch: pytest.MonkeyPatch, host: str, own: bool
) -> None:
    known = {"vm": "vm.example", "vm.example": "vm.example", "alias": "vm.example", "localhost": "localhost",
             "other": "other.example"}  # fmt: skip
    monkeypatch.setattr(socket, "gethostname", lambda: "vm")
    monkeypatch.setattr(socket, "getaddrinfo", named(known))
    assert is_this_machine(host) is own


def test_without_a_resolver_names_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "vm")
    monkeypatch.setattr(socket, "getaddrinfo", named({}))
    assert is_this_machine("vm")
    assert not is_this_machine("localhost")
