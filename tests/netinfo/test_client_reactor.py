"""The network on the reactor, against a host in the same process."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from netinfo.client import connect
from netinfo.client.domain import Domain, Options
from netinfo.client.errors import CannotConnectError
from netinfo.client.names import Portmapper, TaggedServer
from netinfo.client.network import Answer, Target
from netinfo.client.reactor import ReactorNetwork
from netinfo.starter import sample
from tests.netinfo import served
from tests.peers import free_port, loopback
from wire.formats.netinfo import NETINFO, Binding, NiStatus
from wire.formats.nibind import NIBIND
from wire.formats.portmap import PORTMAP, Mapping
from wire.formats.rpc import AUTH_NONE
from wire.transport.errors import ConnectError, RpcDenied, RpcError


def network() -> ReactorNetwork:
    from twisted.internet import reactor

    return ReactorNetwork(reactor)


@pytest_twisted.ensureDeferred
async def test_calls_over_both_transports() -> None:
    async with served.host() as host:
        server = await host.start_domain(b"network", sample(b"network", "127.0.0.1"))
        assert server.address is not None
        link = await network().connect_tcp("127.0.0.1", server.address.port, NETINFO, 5.0)
        assert (await link.call(NETINFO.by_name["ROOT"], None, AUTH_NONE, 5.0)).body.object == 0
        whole = await link.call(NETINFO.by_name["READALL"], 0, AUTH_NONE, 5.0)
        assert whole.status == NiStatus.NI_OK
        assert len(whole.body.objects) == len(server.domain.tree.directories)
        link.close()
        datagrams = await network().connect_udp("127.0.0.1", server.address.port, NETINFO)
        assert await datagrams.call(NETINFO.by_name["PING"], None, AUTH_NONE, 5.0) is None
        with pytest.raises(RpcDenied, match=r"AUTH_TOOWEAK"):
            await datagrams.call(NETINFO.by_name["ROOT"], None, AUTH_NONE, 5.0)
        datagrams.close()


@pytest_twisted.ensureDeferred
async def test_a_multicall_takes_the_first_success() -> None:
    async with served.host() as host:
        server = await host.start_domain(b"network", sample(b"network", "127.0.0.1"))
        assert server.address is not None
        bind = NETINFO.by_name["BIND"]
        ports = (server.address.port,) * 2
        targets = [
            Target("127.0.0.1", port, NETINFO, bind, Binding(tag, 0x7F000005))
            for port, tag in zip(ports, (b"nobody", b"local"), strict=True)
        ]
        assert await network().multicall(targets, (5.0,)) == Answer(1, "127.0.0.1", None)
        assert await network().multicall(targets[:1], (0.1, 0.1)) is None
        assert await network().multicall([], (0.01,)) is None


@pytest_twisted.ensureDeferred
async def test_names_are_resolved() -> None:
    assert await network().resolve("127.0.0.1") == "127.0.0.1"
    with pytest.raises(ConnectError, match=r"no-such-host.invalid"):
        await network().resolve("no-such-host.invalid")
    await network().sleep(0.001)


@pytest_twisted.ensureDeferred
async def test_a_twisted_program_opens_a_domain_in_one_line() -> None:
    from twisted.internet import reactor

    async with served.host() as host:
        await host.start_domain(b"network", sample(b"network", "127.0.0.1"))
        domain = await connect(reactor, served.reach(host))
        ann = await domain.find(b"/users/ann")
        assert (await domain.read(ann))[0].values == (b"ann",)
        domain.close()
        with pytest.raises(CannotConnectError):
            await connect(reactor, "127.0.0.1:1", Options(read_timeout=1.0))


@pytest_twisted.ensureDeferred
async def test_the_portmapper_passes_bind_on_and_nothing_else() -> None:
    from wire.codec import codec
    from wire.formats.nibind import BindArgs
    from wire.formats.portmap import CallitArgs

    async with served.host() as host:
        await host.start_domain(b"network", sample(b"network", "127.0.0.1"))
        assert host.portmapper_address is not None
        port = host.portmapper_address.port

        def callit(name: str, argument: Any) -> Target:
            procedure = NIBIND.by_name[name]
            inner = CallitArgs(NIBIND.number, 1, procedure.number, codec(procedure.argument).build(argument))
            return Target("127.0.0.1", port, PORTMAP, PORTMAP.by_name["CALLIT"], inner)

        good = callit("BIND", BindArgs(0x7F000005, b"local", b"network"))
        answer = await network().multicall([good], (5.0,))
        assert answer is not None
        assert host.binder_address is not None
        assert (answer.result.port, answer.result.results) == (host.binder_address.port, b"")
        for refused in (
            callit("BIND", BindArgs(0x0A000009, b"local", b"network")),
            callit("BIND", BindArgs(0x7F000005, b"local", b"nope")),
            callit("LISTREG", None),
            callit("UNREGISTER", b"network"),
        ):
            assert await network().multicall([refused], (0.2,)) is None
        link = await network().connect_udp("127.0.0.1", port, PORTMAP)
        with pytest.raises(RpcError):
            await link.call(PORTMAP.by_name["CALLIT"], callit("LISTREG", None).argument, AUTH_NONE, 0.2)
        assert await link.call(PORTMAP.by_name["SET"], Mapping(7, 1, 6, 700), AUTH_NONE, 5.0) is True
        link.close()


@pytest_twisted.ensureDeferred
async def test_a_call_can_be_aborted_and_the_domain_used_further() -> None:
    from twisted.internet import reactor

    async with served.host() as host:
        server = await host.start_domain(b"network", sample(b"network", "127.0.0.1"))
        domain = await connect(reactor, served.reach(host))
        waiting: Deferred[None] = Deferred()
        server.service.find_parent = lambda: waiting
        call = Deferred.fromCoroutine(domain.rparent())
        call.cancel()
        with pytest.raises(CancelledError):
            await call
        waiting.callback(None)
        assert (await domain.root()).object == 0
        domain.close()


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_killed_is_replaced_by_one_whose_binder_answers() -> None:
    """Three servers of one domain, each on a host of its own; the first two go, one after the other."""
    port = free_port()
    async with AsyncExitStack() as stack:
        hosts = [
            await stack.enter_async_context(served.host(loopback(), portmapper_port=port)) for _ in range(3)
        ]
        for host in hosts:
            await host.start_domain(b"network", sample(b"network", host.settings.listen))
        servers = [TaggedServer(Portmapper(host.settings.listen, port), b"network") for host in hosts]
        domain = Domain(network(), servers, Options(read_timeout=1.0))
        for host in hosts[:2]:
            await domain.ping()
            assert domain.servers[0] == servers[hosts.index(host)]
            await host.stop()
        assert (await domain.find(b"/users/ann")).object
        assert domain.servers[0] == servers[2]
        domain.close()
