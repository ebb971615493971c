"""Clients against our server, and against one that says what a test wants."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from tests.peers import NetworkNamespace
from tests.transport.raw import HOST, eventually, sleep
from tests.transport.rpc_peers import (
    record,
    saying,
    saying_udp,
    serving,
)
from tests.transport.services import ECHO, FOUND, UNIX, WANTED, Serving, echo
from wire.codec import FormatError, codec
from wire.formats.netinfo import NETINFO
from wire.formats.rpc import AcceptStatus, AuthStatus, Program
from wire.transport.endpoint import open_socket
from wire.transport.errors import (
    ConnectError,
    RpcAcceptError,
    RpcConnectionLost,
    RpcDenied,
    RpcProtocolError,
    RpcTimeout,
)
from wire.transport.limits import RpcLimits
from wire.transport.record import mark
from wire.transport.rpc_client import RESERVED, RpcClient, StreamClient, connect_tcp, connect_udp
from wire.transport.rpc_message import accepted
from wire.transport.rpc_server import NO_REPLY, IncomingCall, Reject
from wire.transport.tap import Address, TapEvent

SUCCESS = accepted(AcceptStatus.SUCCESS)
CONNECT = pytest.mark.parametrize("connect", [connect_tcp, connect_udp], ids=["tcp", "udp"])
RESULT = codec(ECHO.by_name["ECHO"].result)


def coroutine(client: RpcClient, *arguments: Any, **options: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(client.call(*arguments, **options))


# --- calls ----------------------------------------------------------------------------------------------------------


@CONNECT
@pytest_twisted.ensureDeferred
async def test_a_call_and_its_result(connect: Any) -> None:
    service = Serving(NETINFO, lambda call: FOUND)
    async with serving(service) as (_, address):
        client = await connect(reactor, address, NETINFO)
        assert client.connected
        assert client.peer == address
        assert await client.call("LOOKUP", WANTED, credential=UNIX) == FOUND
        assert (service.calls[0].credential, service.calls[0].peer) == (UNIX, client.local)
        client.close()


@CONNECT
@pytest_twisted.ensureDeferred
async def test_many_calls_under_way_find_their_results(connect: Any) -> None:
    waiting: list[tuple[int, Deferred[int]]] = []

    def serve(call: IncomingCall) -> Any:
        waiting.append((call.argument, Deferred()))
        return waiting[-1][1]

    async with serving(Serving(ECHO, serve)) as (_, address):
        client = await connect(reactor, address, ECHO)
        calls = [coroutine(client, "WAIT", number) for number in range(50)]
        if connect is connect_udp:  # served at the same time, and answered the other way round
            await eventually(lambda: len(waiting) == 50)
            for number, result in reversed(waiting):
                result.callback(number + 1000)
        else:
            for at in range(50):
                await eventually(lambda at=at: len(waiting) > at)
                waiting[at][1].callback(waiting[at][0] + 1000)
        assert await gatherResults(calls) == [number + 1000 for number in range(50)]
        client.close()


@CONNECT
@pytest_twisted.ensureDeferred
async def test_what_a_server_refuses(connect: Any) -> None:
    def refuse(call: IncomingCall) -> Any:
        raise Reject(AuthStatus.AUTH_TOOWEAK)

    async with serving(Serving(NETINFO, refuse)) as (_, address):
        client = await connect(reactor, address, NETINFO)
        with pytest.raises(RpcDenied, match="AUTH_TOOWEAK"):
            await client.call("LOOKUP", WANTED)
        client.close()
        other = await connect(reactor, address, Program("netinfo", NETINFO.number, 9, NETINFO.procedures))
        with pytest.raises(RpcAcceptError, match="another version of this program, 2 to 2"):
            await other.call("PING")
        other.close()


@CONNECT
@pytest_twisted.ensureDeferred
async def test_arguments_that_do_not_fit_are_the_callers_affair(connect: Any) -> None:
    async with serving() as (_, address):
        client = await connect(reactor, address, ECHO)
        with pytest.raises(FormatError):
            await client.call("WAIT", -1)
        with pytest.raises(KeyError):
            await client.call("NO SUCH")
        assert await client.call("ECHO", b"fine") == b"fine"
        client.close()


@CONNECT
@pytest_twisted.ensureDeferred
async def test_no_answer_in_time(connect: Any) -> None:
    service = Serving(ECHO, lambda call: NO_REPLY if call.argument == b"" else call.argument)
    async with serving(service) as (_, address):
        client = await connect(reactor, address, ECHO, timeout=0.2)
        with pytest.raises(RpcTimeout, match=rf"{address} did not answer ECHO within 0\.2 seconds"):
            await client.call("ECHO", b"")
        with pytest.raises(RpcTimeout, match=r"within 0\.1 seconds"):
            await client.call("ECHO", b"", timeout=0.1)
        assert await client.call("ECHO", b"x") == b"x"
        client.close()


@CONNECT
@pytest_twisted.ensureDeferred
async def test_a_call_can_be_given_up(connect: Any) -> None:
    async with serving(Serving(ECHO, lambda call: NO_REPLY)) as (_, address):
        client = await connect(reactor, address, ECHO)
        call = coroutine(client, "ECHO", b"")
        call.cancel()
        with pytest.raises(CancelledError):
            await call
        assert not client.pending
        client.close()


@CONNECT
@pytest_twisted.ensureDeferred
async def test_closing_ends_the_calls_under_way_and_all_later_ones(connect: Any) -> None:
    async with serving(Serving(ECHO, lambda call: NO_REPLY)) as (_, address):
        client = await connect(reactor, address, ECHO)
        call = coroutine(client, "ECHO", b"")
        await sleep(0.05)
        client.close()
        client.close()
        with pytest.raises(RpcConnectionLost, match="was closed before ECHO was answered"):
            await call
        assert not client.connected
        with pytest.raises(RpcConnectionLost, match=r"ECHO cannot be called: .* was closed"):
            await client.call("ECHO", b"")
        await sleep(0.05)


@CONNECT
@pytest_twisted.ensureDeferred
async def test_recorders_hear_the_client_too(connect: Any) -> None:
    events: list[TapEvent] = []
    async with serving() as (_, address):
        client = await connect(reactor, address, ECHO, taps=[events.append])
        await client.call("ECHO", b"x")
        local = client.local
        client.close()
        await sleep(0.05)
    kinds = [(event.kind, event.outgoing) for event in events]
    if connect is connect_tcp:
        assert kinds == [("open", True), ("data", True), ("data", False), ("close", True)]
    else:
        assert kinds == [("datagram", True), ("datagram", False)]
    assert {(event.local, event.remote, event.service) for event in events} == {
        (local, address, "echo client")
    }


# --- TCP ------------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_calls_of_one_turn_leave_in_one_write() -> None:
    events: list[TapEvent] = []
    async with serving() as (_, address):
        client = await connect_tcp(reactor, address, ECHO, taps=[events.append])
        assert await gatherResults([coroutine(client, "ECHO", b"%d" % n) for n in range(500)]) == [
            b"%d" % n for n in range(500)
        ]
        assert sum(event.outgoing and event.kind == "data" for event in events) == 1
        assert isinstance(client, StreamClient)
        assert client._connection is not None
        assert client._connection.transport.getTcpNoDelay()
        client.close()


@pytest_twisted.ensureDeferred
async def test_replies_in_small_fragments() -> None:
    def say(xid: bytes, call: bytes) -> bytes:
        reply = xid + SUCCESS + RESULT.build(bytes(5000))
        parts = [reply[at : at + 1020] for at in range(0, len(reply), 1020)]
        return b"".join(mark(len(part), part is parts[-1]) + part for part in parts)

    async with saying(say) as address:
        client = await connect_tcp(reactor, address, ECHO)
        assert await client.call("ECHO", b"") == bytes(5000)
        client.close()


@pytest_twisted.ensureDeferred
async def test_late_doubled_and_unknown_replies_are_dropped() -> None:
    def say(xid: bytes, call: bytes) -> bytes:
        reply = record(xid + SUCCESS + RESULT.build(b"x"))
        return record(b"????" + SUCCESS + RESULT.build(b"y")) + record(b"no") + reply + reply

    async with saying(say) as address:
        client = await connect_tcp(reactor, address, ECHO)
        for _ in range(3):
            assert await client.call("ECHO", b"") == b"x"
        client.close()


@pytest_twisted.ensureDeferred
async def test_a_server_that_closes() -> None:
    async with saying(lambda xid, call: None) as address:
        client = await connect_tcp(reactor, address, ECHO)
        with pytest.raises(RpcConnectionLost, match="was closed by the server before ECHO was answered"):
            await client.call("ECHO", b"")
        with pytest.raises(RpcConnectionLost, match="was closed by the server"):
            await client.call("ECHO", b"")


@pytest.mark.parametrize(
    "said",
    [mark(2**31 - 1), mark(0), mark(1001), mark(600, last=False) + bytes(600) + mark(401)],
    ids=["2 GiB", "empty", "a byte too many", "adding up"],
)
@pytest_twisted.ensureDeferred
async def test_a_hostile_server_costs_its_connection(said: bytes) -> None:
    async with saying(lambda xid, call: said) as address:
        client = await connect_tcp(reactor, address, ECHO, limits=RpcLimits(tcp_reply=1000))
        with pytest.raises(RpcConnectionLost, match="sent what is no reply"):
            await client.call("ECHO", b"")
        assert not client.connected


@pytest.mark.parametrize("result", [b"", b"\0\0\0\5abc", b"\xff\xff\xff\xff"])
@pytest_twisted.ensureDeferred
async def test_a_damaged_result_costs_its_call_alone(result: bytes) -> None:
    replies = iter([SUCCESS + result, SUCCESS + RESULT.build(b"x")])
    async with saying(lambda xid, call: record(xid + next(replies))) as address:
        client = await connect_tcp(reactor, address, ECHO)
        with pytest.raises(RpcProtocolError, match="The result of ECHO is damaged"):
            await client.call("ECHO", b"")
        assert await client.call("ECHO", b"") == b"x"
        client.close()


@pytest_twisted.ensureDeferred
async def test_nobody_listens() -> None:
    with open_socket("tcp", HOST, 0) as free:
        address = Address.of(free.getsockname())
    with pytest.raises(ConnectError, match="cannot be reached: connection refused"):
        await connect_tcp(reactor, address, ECHO)
    with pytest.raises(ConnectError, match="No address is known"):
        await connect_tcp(reactor, Address("no.such.host.invalid", 1), ECHO)
    with pytest.raises(ConnectError, match="No address is known"):
        await connect_udp(reactor, Address("no.such.host.invalid", 1), ECHO)


@pytest_twisted.ensureDeferred
async def test_a_host_by_name() -> None:
    async with serving() as (_, address):
        for connect in (connect_tcp, connect_udp):
            client = await connect(reactor, Address("localhost", address.port), ECHO)
            assert client.peer == address
            assert await client.call("ECHO", b"x") == b"x"
            client.close()


# --- UDP ------------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_lost_datagram_is_sent_again_with_the_same_number() -> None:
    async with saying_udp(lambda call: []) as (server, address):
        server._say = lambda call: [] if len(server.calls) < 2 else [call[:4] + SUCCESS + RESULT.build(b"x")]
        client = await connect_udp(reactor, address, ECHO)
        assert await client.call("ECHO", b"") == b"x"
        assert len(server.calls) == 2
        assert server.calls[0] == server.calls[1]
        client.close()


@pytest_twisted.ensureDeferred
async def test_waits_between_repetitions_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.transport.rpc_client.RETRY", 0.05)
    monkeypatch.setattr("wire.transport.rpc_client.LONGEST_RETRY", 0.2)
    async with saying_udp(lambda call: []) as (server, address):
        client = await connect_udp(reactor, address, ECHO, timeout=0.85)
        with pytest.raises(RpcTimeout):
            await client.call("ECHO", b"")
        assert 4 <= len(server.calls) <= 6  # at 0, 0.05, 0.15, 0.35, 0.55, 0.75
        client.close()


@pytest_twisted.ensureDeferred
async def test_doubled_and_foreign_datagrams_are_dropped() -> None:
    def say(call: bytes) -> list[bytes]:
        reply = call[:4] + SUCCESS + RESULT.build(b"x")
        return [b"", b"????" + reply[4:], reply, reply]

    async with saying_udp(say) as (server, address), saying_udp(lambda call: []) as (stranger, _):
        client = await connect_udp(reactor, address, ECHO)
        for _ in range(3):
            assert await client.call("ECHO", b"") == b"x"
        call = coroutine(client, "ECHO", b"")
        server._say = lambda call: []
        await eventually(lambda: len(server.calls) >= 4)
        stranger.transport.write(
            server.calls[-1][:4] + SUCCESS + RESULT.build(b"z"), (HOST, client.local.port)
        )
        await sleep(0.1)
        server._say = say
        assert await call == b"x"
        client.close()


@pytest_twisted.ensureDeferred
async def test_nobody_listens_over_udp() -> None:
    with open_socket("udp", HOST, 0) as free:
        address = Address.of(free.getsockname())
    client = await connect_udp(reactor, address, ECHO)
    with pytest.raises(RpcConnectionLost, match="found nobody who listens before ECHO was answered"):
        await client.call("ECHO", b"")
    assert not client.connected


# --- reserved ports -------------------------------------------------------------------------------------------------


@pytest.mark.root
@CONNECT
@pytest_twisted.ensureDeferred
async def test_a_reserved_port(connect: Any, namespace: NetworkNamespace) -> None:
    """In a network of its own: outside, other tests' connections of the last minute may have taken all of them."""
    service = Serving(ECHO, echo)
    with namespace.inside():
        async with serving(service) as (_, address):
            await use_reserved_ports(connect, service, address)


async def use_reserved_ports(connect: Any, service: Serving, address: Address) -> None:
    clients = [await connect(reactor, address, ECHO, source_port="reserved") for _ in range(3)]
    for client in clients:
        assert await client.call("ECHO", b"x") == b"x"
    assert [call.peer.port for call in service.calls if call.peer.port not in RESERVED] == []
    assert len({call.peer.port for call in service.calls}) == 3
    for client in clients:
        client.close()


@CONNECT
@pytest_twisted.ensureDeferred
async def test_any_port_where_reserved_ones_are_not_allowed(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = socket.socket.bind

    class Unprivileged(socket.socket):
        def bind(self, address: Any) -> None:
            if 0 < address[1] < 1024:
                raise PermissionError(13, os.strerror(13))
            bind(self, address)

    async with serving() as (_, address):
        monkeypatch.setattr("socket.socket", Unprivileged)
        client = await connect(reactor, address, ECHO, source_port="reserved")
        monkeypatch.undo()
        assert client.local.port >= 1024
        assert await client.call("ECHO", b"x") == b"x"
        client.close()
