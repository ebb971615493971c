"""Calls whose results are long: clients against our server, and against one that says what a test wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol

from tests.transport.raw import HOST
from tests.transport.rpc_peers import (
    saying,
    serving,
)
from tests.transport.services import ECHO, Serving
from wire.codec import codec
from wire.formats.netinfo import NETINFO, NiId, NiStatus, Object, ReadallBody, Result
from wire.formats.rpc import AcceptStatus
from wire.transport.endpoint import Listening, listen_on, open_socket
from wire.transport.errors import (
    RpcAcceptError,
    RpcConnectionLost,
    RpcProtocolError,
    RpcTimeout,
)
from wire.transport.limits import RpcLimits
from wire.transport.record import mark
from wire.transport.rpc_client import connect_tcp, connect_udp
from wire.transport.rpc_message import accepted
from wire.transport.rpc_server import IncomingCall, Streamed
from wire.transport.tap import Address

SUCCESS = accepted(AcceptStatus.SUCCESS)
CONNECT = pytest.mark.parametrize("connect", [connect_tcp, connect_udp], ids=["tcp", "udp"])
RESULT = codec(ECHO.by_name["ECHO"].result)


# --- long results ---------------------------------------------------------------------------------------------------

READALL = codec(NETINFO.by_name["READALL"].result)


def domain(size: int) -> Result:
    objects = tuple(Object(NiId(number, 1), (), 0, (number,)) for number in range(size))
    return Result(NiStatus.NI_OK, ReadallBody(1, size, objects))


@pytest.mark.parametrize("size", [0, 1, 30, 10_000])
@pytest_twisted.ensureDeferred
async def test_a_long_result_is_parsed_while_it_arrives(size: int) -> None:
    encoded = READALL.build(domain(size))

    def serve(call: IncomingCall) -> Any:
        return Streamed(encoded[at : at + 5000] for at in range(0, len(encoded), 5000))

    async with serving(Serving(NETINFO, serve)) as (_, address):
        client = await connect_tcp(reactor, address, NETINFO, limits=RpcLimits(tcp_reply=150_000))
        for _ in range(2):
            assert await client.call_long("READALL", 0) == domain(size)
        results = [Deferred.fromCoroutine(client.call_long("READALL", 0)) for _ in range(3)]
        assert await gatherResults(results) == [domain(size)] * 3
        if size == 10_000:
            with pytest.raises(RpcConnectionLost, match="longer than the 150000 bytes allowed"):
                await client.call("READALL", 0)
        client.close()


@pytest_twisted.ensureDeferred
async def test_a_long_result_over_udp_is_an_ordinary_one() -> None:
    async with serving(Serving(NETINFO, lambda call: domain(10))) as (_, address):
        client = await connect_udp(reactor, address, NETINFO)
        assert await client.call_long("READALL", 0) == domain(10)
        client.close()


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (lambda encoded: encoded[:-8], "ends too early"),
        (lambda encoded: encoded[:4000] + bytes([255] * 4000), "damaged"),
        (lambda encoded: encoded[:-4] + encoded[40:] * 9, "longer than the 500000 bytes"),
    ],
    ids=["cut", "damaged", "too long"],
)
@pytest_twisted.ensureDeferred
async def test_damage_in_a_long_result_costs_its_call_alone(
    said: Callable[[bytes], bytes], complaint: str
) -> None:
    encoded = READALL.build(domain(10_000))
    replies = iter([said(encoded), encoded])

    def say(xid: bytes, call: bytes) -> bytes:
        reply = xid + SUCCESS + next(replies)
        parts = [reply[at : at + 1020] for at in range(0, len(reply), 1020)]
        return b"".join(mark(len(part), part is parts[-1]) + part for part in parts)

    async with saying(say) as address:
        client = await connect_tcp(reactor, address, NETINFO, limits=RpcLimits(long_reply=500_000))
        with pytest.raises(RpcProtocolError, match=complaint):
            await client.call_long("READALL", 0)
        assert await client.call_long("READALL", 0) == domain(10_000)
        client.close()


@pytest_twisted.ensureDeferred
async def test_a_long_call_that_is_refused() -> None:
    async with serving(Serving(ECHO)) as (_, address):
        client = await connect_tcp(reactor, address, NETINFO)
        with pytest.raises(RpcAcceptError, match="does not serve this program"):
            await client.call_long("READALL", 0)
        client.close()


@pytest_twisted.ensureDeferred
async def test_a_long_result_may_take_its_time_but_not_fall_silent() -> None:
    encoded = READALL.build(domain(1000))
    clock: Any = reactor

    class Slow(Protocol):
        transport: Any

        def dataReceived(self, data: bytes) -> None:
            reply = data[4:8] + SUCCESS + encoded
            self.parts = [reply[at : at + 4000] for at in range(0, len(reply), 4000)]
            self.next()

        def next(self) -> None:
            if len(self.parts) > (0 if talkative else 3):
                part = self.parts.pop(0)
                self.transport.write(mark(len(part), not self.parts) + part)
                clock.callLater(0.1, self.next)

    listening = open_socket("tcp", HOST, 0)
    address = Address.of(listening.getsockname())
    factory: Any = Factory.forProtocol(Slow)
    factory.noisy = False
    port = Listening(address, await listen_on(reactor, listening, factory))
    talkative = True
    client = await connect_tcp(reactor, address, NETINFO, timeout=0.4)
    assert await client.call_long("READALL", 0) == domain(1000)
    talkative = False
    with pytest.raises(RpcTimeout):
        await client.call_long("READALL", 0)
    client.close()
    await port.stop()
