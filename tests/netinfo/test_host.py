"""Portmapper, binder and domains of a host in one process; the domains it makes and unmakes (NETINFO 4.2)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs, eventAsText

from netinfo.binder import DomainError
from netinfo.client.domain import Domain
from netinfo.client.errors import NetInfoError
from netinfo.client.names import Portmapper, parse_server
from netinfo.client.reactor import ReactorNetwork
from netinfo.generation import APPLE, NEXT
from netinfo.host import Host
from netinfo.ports import ANY
from netinfo.rawformat import load
from netinfo.registration import (
    RegistrationError,
    register_domain,
    set_mappings,
    unregister_domain,
    unset_mappings,
)
from netinfo.settings import Settings
from netinfo.starter import sample
from netinfo.store import StoreError
from tests.netinfo import served
from tests.peers import free_port, loopback
from wire.formats.netinfo import NETINFO, NiId, NiStatus, Property
from wire.formats.nibind import NIBIND, REGISTRATION_LIMIT, AddrInfo, BindArgs, CloneArgs, Registration
from wire.formats.portmap import IPPROTO_UDP, Mapping
from wire.transport.errors import ListenError, TransportError
from wire.transport.limits import RpcLimits


def network() -> ReactorNetwork:
    from twisted.internet import reactor

    return ReactorNetwork(reactor)


async def pause(seconds: float = 0.05) -> None:
    from twisted.internet import reactor

    await deferLater(reactor, seconds)


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait until something holds."""
    waited = 0.0
    while not condition():
        assert waited < seconds, "waited in vain"
        await pause()
        waited += 0.05


def opened(host: Host, tag: bytes = b"network") -> Domain:
    return Domain(network(), [parse_server(served.reach(host, tag))])


def portmapper(host: Host) -> Portmapper:
    assert host.portmapper_address is not None
    return Portmapper(host.portmapper_address.host, host.portmapper_address.port)


@pytest_twisted.ensureDeferred
async def test_a_domain_is_found_served_and_kept(tmp_path: Path) -> None:
    async with served.host(state=tmp_path) as host:
        await host.start_domain(b"network", sample(b"network", "127.0.0.1"))
        domain = opened(host)
        users = await domain.find(b"/users")
        made = await domain.create(users, (Property(b"name", (b"zed",)),))
        checksum = await domain.checksum()
        domain.close()
    async with served.host(state=tmp_path) as again:
        assert again.stored() == (b"network",)
        await again.start_stored()
        domain = opened(again)
        assert await domain.checksum() == checksum
        assert await domain.self_id(made.child) == made.child
        domain.close()


@pytest_twisted.ensureDeferred
async def test_the_binder_makes_and_unmakes_domains(tmp_path: Path) -> None:
    async with served.host(state=tmp_path, hostname="srv") as host:
        await host.create_master(b"fresh")
        await until(lambda: host.registry.find(b"fresh"))
        domain = opened(host, b"fresh")
        root = await domain.read(NiId(0, 0))
        assert root == (Property(b"master", (b"srv/fresh",)),)
        assert (await domain.find(b"/machines/srv")).object == 2
        domain.close()
        with pytest.raises(DomainError, match=r"exists already"):
            await host.create_master(b"fresh")
        host.registry.remove(b"fresh")
        await host.destroy(b"fresh")
        await host.destroy(b"never-there")
    assert os.listdir(tmp_path) == []


@pytest_twisted.ensureDeferred
async def test_apple_s_binder_knows_aliases_and_root_s_password() -> None:
    async with served.host(generation=APPLE) as host:
        text = b'{ "alias_name" = ( "public" ); "alias_addrs" = ( "127.0.0.0/255.0.0.0" ); }'
        await host.start_domain(b"network", load(text))
        assert not await host.is_root_password(b""), "there is no root to ask"
        domain = opened(host, b"public")
        assert (await domain.read(NiId(0, 0)))[0].name == b"alias_name"
        domain.close()
        await host.start_domain(b"local", sample(b"local", "127.0.0.1"))
        assert await host.is_root_password(b"secret")
        assert not await host.is_root_password(b"guess")


@pytest_twisted.ensureDeferred
async def test_a_clone_is_made_and_follows_its_master() -> None:
    port = free_port()
    first, second = loopback(), loopback()
    async with (
        served.host(first, portmapper_port=port, hostname="one") as master,
        served.host(second, portmapper_port=port, hostname="two") as copy,
    ):
        beginning = sample(b"network", first)
        server = await master.start_domain(b"network", beginning)
        rules = server.domain
        domain = opened(master)
        machines = await domain.find(b"/machines")
        properties = [("name", b"two"), ("ip_address", second.encode()), ("serves", b"./network")]
        await domain.create(machines, [Property(key.encode(), (value,)) for key, value in properties])
        address = int.from_bytes(bytes(map(int, first.split("."))), "big")
        await copy.create_clone(CloneArgs(b"network", b"srv", address, b"network"))
        await until(lambda: copy.registry.find(b"network"))
        theirs = copy.servers[b"network"].domain
        assert theirs.clone
        await until(lambda: theirs.tree.checksum == rules.tree.checksum)
        await domain.resync()
        await pause(0.2)
        for number in range(20):
            users = await domain.find(b"/users")
            await domain.create(users, (Property(b"name", (b"u%d" % number,)),))
        await until(lambda: theirs.tree.checksum == rules.tree.checksum)
        clone = opened(copy)
        with pytest.raises(NetInfoError) as caught:
            await clone.write(await clone.root(), ())
        assert caught.value.status == NiStatus.NI_RDONLY
        domain.close()
        clone.close()


@pytest_twisted.ensureDeferred
async def test_a_child_finds_its_parent_and_keeps_it() -> None:
    async with served.host() as host:
        for tag in (b"local", b"network"):
            await host.start_domain(tag, sample(tag, "127.0.0.1"))
        local = opened(host, b"local")
        binding = await local.rparent()
        assert (binding.tag, binding.address) == (b"network", 0x7F000001)
        assert await local.rparent() == binding
        top = opened(host)
        with pytest.raises(NetInfoError) as caught:
            await top.rparent()
        assert caught.value.status == NiStatus.NI_NETROOT
        local.close()
        top.close()


@pytest_twisted.ensureDeferred
async def test_apple_s_generation_binds_without_being_known() -> None:
    async with served.host(generation=APPLE) as host:
        for tag in (b"local", b"network"):
            await host.start_domain(tag, sample(tag, "127.0.0.1"))
        local = opened(host, b"local")
        assert (await local.rparent()).tag == b"network"
        figures = {each.name: each.values for each in await local.statistics()}
        assert figures[b"binding"] == (b"127.0.0.1/network",)
        assert figures[b"connections"][0] == b"1"
        local.close()


@pytest_twisted.ensureDeferred
async def test_only_domains_that_are_alive_answer() -> None:
    async with served.host() as host:
        server = await host.start_domain(b"network", sample(b"network", "127.0.0.1"))
        assert await host.is_alive(Registration(b"network", server.ports))
        yes = BindArgs(0x7F000005, b"local", b"network")
        assert await host.asks_bind(Registration(b"network", server.ports), yes)
        gone = Registration(b"gone", AddrInfo(free_port(), 1))
        assert not await host.is_alive(gone)
        assert not await host.asks_bind(gone, yes)


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken_is_said_to_be() -> None:
    async with served.host() as host:
        assert host.binder_address is not None
        with pytest.raises(ListenError, match=r"already in use"):
            await host.start_domain(b"network", served.EMPTY, host.binder_address.port)
        assert host.servers == {}


@pytest_twisted.ensureDeferred
async def test_a_database_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "network.db").write_bytes(b"not a database, but something else that somebody put here" * 9)
    async with served.host(state=tmp_path) as host:
        with pytest.raises(StoreError, match=r"network.db"):
            await host.start_stored()


@pytest_twisted.ensureDeferred
async def test_a_database_that_is_none_keeps_no_other_from_being_served(tmp_path: Path) -> None:
    async with served.host(state=tmp_path) as host:
        await host.start_domain(b"network", sample(b"network", "127.0.0.1"))
    (tmp_path / "local.db").write_bytes(b"not a database, but something else that somebody put here" * 9)
    async with served.host(state=tmp_path) as host:
        with capturedLogs() as logs:
            await host.start_stored()
        told = [eventAsText(event) for event in logs if event["log_level"] is LogLevel.error]
        assert ["domain local is not served" in line and "local.db" in line for line in told] == [True]
        assert list(host.servers) == [b"network"]
        assert (host.registry.find(b"local"), bool(host.registry.find(b"network"))) == (None, True)


@pytest_twisted.ensureDeferred
async def test_a_domain_too_many_for_the_binder_is_told_of() -> None:
    async with served.host() as host:
        for number in range(REGISTRATION_LIMIT):
            assert host.registry.add(Registration(b"t%d" % number, AddrInfo(1, 1)))
        with capturedLogs() as logs:
            server = await host.start_domain(b"more", served.EMPTY)
        told = [eventAsText(event) for event in logs]
        assert any("more is not in the binder" in line and str(server.address) in line for line in told)


@pytest_twisted.ensureDeferred
async def test_statistics_tell_of_connections_and_the_next_comparison() -> None:
    async with served.host(generation=APPLE, limits=RpcLimits(connections=2)) as host:
        await host.start_domain(b"network", sample(b"network", "127.0.0.1"))
        gone, other, domain = (opened(host) for _ in range(3))
        await gone.ping()
        await other.ping()
        await domain.ping()
        figures = {each.name: each.values for each in await domain.statistics()}
        assert figures[b"connections"] == (b"2", b"2", b"2", b"1")
        assert figures[b"cleanup_wait"] == (b"30", b"29")
        for each in (gone, other, domain):
            each.close()


def test_files_that_are_no_databases_are_no_domains(tmp_path: Path) -> None:
    from twisted.internet import reactor

    for name in ("network.db", "local.db", ".hidden.db", "b.db", "a b.db", "notes.txt"):
        (tmp_path / name).touch()
    host = Host(reactor, Settings(), ANY, tmp_path)
    assert host.stored() == (b"local", b"network", b"b")


@pytest_twisted.ensureDeferred
async def test_apple_s_servers_obey_their_root() -> None:
    port = free_port()
    text = f'{{ "master" = ( "srv/network" ); "port" = ( "{port}" ); "trusted_networks" = ( "127" ); }}'
    for generation, expected in ((APPLE, port), (NEXT, None)):
        async with served.host("0.0.0.0", generation=generation, portmapper_port=0) as host:
            server = await host.start_domain(b"network", load(text.encode()))
            assert server.address is not None
            if expected is None:
                assert (server.address.host, server.address.port != port) == ("0.0.0.0", True)
            else:
                assert (server.address.host, server.address.port) == ("127.0.0.1", expected), "desktop mode"


# --- registration -----------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_programs_and_domains_are_registered() -> None:
    async with served.host() as host:
        there = portmapper(host)
        mapping = Mapping(200_000_777, 1, IPPROTO_UDP, 700)
        await set_mappings(network(), there, [mapping])
        assert host.table.port(200_000_777, 1, IPPROTO_UDP) == 700
        with pytest.raises(RegistrationError, match=r"program 200000777"):
            await set_mappings(network(), there, [Mapping(200_000_777, 1, IPPROTO_UDP, 701)])
        await unset_mappings(network(), there, 200_000_777, 1)
        assert host.table.port(200_000_777, 1, IPPROTO_UDP) == 0
        await register_domain(network(), there, b"other", AddrInfo(600, 601))
        assert host.registry.find(b"other") == Registration(b"other", AddrInfo(600, 601))
        await unregister_domain(network(), there, b"other")
        assert host.registry.find(b"other") is None
        with pytest.raises(RegistrationError, match=r"REGISTER"):
            await register_domain(network(), there, b"../x", AddrInfo(1, 2))


@pytest_twisted.ensureDeferred
async def test_a_binder_registers_with_a_portmapper_elsewhere_and_leaves_it() -> None:
    from twisted.internet import reactor

    async with served.host() as elsewhere:
        host = Host(reactor, Settings(), ANY)
        await host.start_binder()
        await host.register_with(portmapper(elsewhere))
        assert host.binder_address is not None
        assert elsewhere.table.port(NIBIND.number, 1, IPPROTO_UDP) == host.binder_address.port
        await host.stop()
        assert elsewhere.table.port(NIBIND.number, 1, IPPROTO_UDP) == 0
        with pytest.raises(TransportError):
            await unset_mappings(network(), Portmapper("127.0.0.1", free_port()), NIBIND.number, 1)


def test_the_procedures_that_a_host_calls_exist() -> None:
    assert {"PING", "BIND"} <= set(NETINFO.by_name)
