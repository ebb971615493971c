"""Opening domains by path, by name and by server, over a small hierarchy (NETINFO 4.5)."""

from __future__ import annotations

from typing import Any

import pytest

from netinfo.access import HISTORIC, Access, Caller
from netinfo.addresses import to_number, to_text
from netinfo.client.domain import Domain, Options
from netinfo.client.errors import CannotConnectError, NetInfoError
from netinfo.client.names import DirectServer, Portmapper, parse_domain_path
from netinfo.client.network import run
from netinfo.client.opening import NETINFO_LOCAL_PORT, Opener
from netinfo.client.sources import parse_source
from netinfo.credential import credential
from netinfo.domain import Domain as Rules
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.rawformat import load, plant
from tests.netinfo.calls import FakeNetwork
from wire.formats.netinfo import NETINFO, Binding, NiStatus, Result
from wire.formats.nibind import NIBIND, AddrInfo
from wire.formats.portmap import PORTMAP
from wire.transport.errors import ConnectError, RpcTimeout
from wire.transport.tap import Address

WS1, SRV, HQ = "10.0.0.5", "10.0.0.1", "10.0.1.1"
DATABASES = {
    (WS1, b"local"): b"""{ "master" = ( "localhost/local" ); CHILDREN = ( { "name" = ( "machines" ); } ) }""",
    (SRV, b"local"): b"""{ "master" = ( "localhost/local" ); CHILDREN = ( { "name" = ( "machines" ); } ) }""",
    (
        SRV,
        b"network",
    ): b"""{ "master" = ( "srv/network" ); CHILDREN = ( { "name" = ( "machines" ); CHILDREN = (
        { "name" = ( "srv" ); "ip_address" = ( "10.0.0.1" ); "serves" = ( "./network", "srv/local" ); },
        { "name" = ( "copy" ); "ip_address" = ( "10.0.0.2" ); "serves" = ( "./network" ); },
        { "name" = ( "ws1" ); "ip_address" = ( "10.0.0.5" ); "serves" = ( "ws1/local" ); } ) } ) }""",
    (HQ, b"company"): b"""{ "master" = ( "hq/company" ); CHILDREN = ( { "name" = ( "machines" ); CHILDREN = (
        { "name" = ( "hq" ); "ip_address" = ( "10.0.1.1" ); "serves" = ( "./company" ); },
        { "name" = ( "srv" ); "ip_address" = ( "10.0.0.1" ); "serves" = ( "sales/east/network" ); } ) } )
        }""",
}
PARENTS = {
    (WS1, b"local"): (SRV, b"network"),
    (SRV, b"local"): (SRV, b"network"),
    (SRV, b"network"): (HQ, b"company"),
}
SU = Caller("127.0.0.1", own=True, superuser=True)


class World:
    """Three hosts, four databases. The portmappers are at port 10111; `ws1` is this host."""

    def __init__(self, generation: Generation = NEXT) -> None:
        self.rules = {
            place: Rules(place[1], plant(load(text), generation), access=Access(generation, HISTORIC))
            for place, text in DATABASES.items()
        }
        self.ports = {place: 900 + index for index, place in enumerate(DATABASES)}
        self.parents = dict(PARENTS)
        self.down: set[str] = set()
        self.network = FakeNetwork(self._answer)
        self.opener = Opener(self.network, Portmapper(WS1, 10111))

    def _answer(self, address: Address, program: Any, procedure: Any, argument: Any) -> Any:
        if address.host in self.down:
            raise RpcTimeout(f"{address.host} is silent")
        if program is PORTMAP:
            assert address.port == 10111
            return 766
        if program is NIBIND:
            port = self.ports.get((address.host, argument))
            return Result(NiStatus.NI_OK, AddrInfo(port, port)) if port else Result(NiStatus.NI_NOTAG, None)
        place = next(
            (p for p, port in self.ports.items() if (p[0], port) == (address.host, address.port)), None
        )
        if place is None:
            raise ConnectError(f"nobody is at {address}")
        if procedure.name == "RPARENT":
            parent = self.parents.get(place)
            if parent is None:
                return Result(NiStatus.NI_NETROOT, None)
            if parent[0] == "silent":
                return Result(NiStatus.NI_NORESPONSE, None)
            return Result(NiStatus.NI_OK, Binding(parent[1], to_number(parent[0])))
        return self.rules[place].call(procedure.number, argument, SU)

    def open(self, name: str) -> Domain:
        return run(self.opener.open(parse_source(name, Portmapper(port=10111)).domain))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (".", f"{WS1}:10111/local"),
        ("..", f"{SRV}:10111/network"),
        ("../..", f"{HQ}:10111/company"),
        ("/", f"{HQ}:10111/company"),
        ("/sales\\/east", f"{SRV}:10111/network"),
        ("/sales\\/east/ws1", f"{WS1}:10111/local"),
        ("../srv", f"{SRV}:10111/local"),
        ("../ws1", f"{WS1}:10111/local"),
        ("./.././ws1", f"{WS1}:10111/local"),
        (f"{SRV}/network", f"{SRV}:10111/network"),
        (f"network@{SRV}", f"{SRV}:10111/network"),
        (f"{SRV}:902", f"{SRV}:902"),
    ],
)
def test_domains_are_opened_by_name(name: str, found: str) -> None:
    world = World()
    domain = world.open(name)
    assert str(domain) == found
    assert len(world.network.still_open()) == 1, "none of those on the way"
    domain.close()
    assert world.network.still_open() == []


def test_a_child_that_nobody_serves_is_named() -> None:
    world = World()
    with pytest.raises(NetInfoError, match=r"child domain nowhere of .*company: No such directory"):
        world.open("/nowhere")
    assert world.network.still_open() == []


def test_a_parent_brings_all_its_servers_the_nearest_first() -> None:
    world = World()
    parent = world.open("..")
    assert [str(server) for server in parent.servers] == [f"{SRV}:10111/network", "10.0.0.2:10111/network"]


def test_apple_s_servers_list_themselves() -> None:
    world = World(APPLE)
    parent = world.open("..")
    assert [str(server) for server in parent.servers] == [f"{SRV}:10111/network", "10.0.0.2:10111/network"]


def test_a_parent_that_does_not_know_its_own_address_is_taken_as_it_is() -> None:
    world = World()
    world.rules[(SRV, b"network")] = Rules(b"network", plant(load(b'{ "name" = ( "odd" ); }'), NEXT))
    assert [str(server) for server in world.open("..").servers] == [f"{SRV}:10111/network"]


def test_a_silent_parent_is_asked_again_by_the_patient() -> None:
    world = World()
    world.parents[(WS1, b"local")] = ("silent", b"")
    with pytest.raises(NetInfoError) as caught:
        world.open("..")
    assert caught.value.status == NiStatus.NI_NORESPONSE
    world.opener = Opener(world.network, Portmapper(WS1, 10111), Options(patience=10.0))

    async def sleep(seconds: float) -> None:
        assert seconds == 4.0
        world.parents = dict(PARENTS)

    world.network.sleep = sleep  # type: ignore[method-assign]
    assert str(world.open("..")) == f"{SRV}:10111/network"


def test_above_the_root_there_is_nothing() -> None:
    with pytest.raises(NetInfoError) as caught:
        World().open("/..")
    assert caught.value.status == NiStatus.NI_NETROOT


def test_a_circle_of_parents_ends() -> None:
    world = World()
    world.parents[(HQ, b"company")] = (SRV, b"network")
    with pytest.raises(NetInfoError, match=r"more than 32 domains above"):
        world.open("/")


def test_what_cannot_be_reached_cannot_be_opened() -> None:
    world = World()
    world.down = {SRV}
    with pytest.raises(CannotConnectError, match=r"silent"):
        world.open(f"{SRV}/network")
    world.down = {WS1}
    with pytest.raises(CannotConnectError, match=r"local domain"):
        world.open(".")
    with pytest.raises(NetInfoError, match=r"No such tag"):
        World().open(f"{SRV}/nope")


def test_mac_os_x_s_local_domain_needs_no_portmapper() -> None:
    world = World()
    place = ("127.0.0.1", b"local")
    world.rules[place] = world.rules[(WS1, b"local")]

    def answer(address: Address, program: Any, procedure: Any, argument: Any) -> Any:
        if program is not NETINFO:
            raise RpcTimeout("no portmapper")
        assert address == Address("127.0.0.1", NETINFO_LOCAL_PORT)
        return world.rules[place].call(procedure.number, argument, SU)

    world.network.answer = answer
    domain = run(Opener(world.network, Portmapper()).open(parse_domain_path(".")))
    assert domain.servers == [DirectServer("127.0.0.1", 1033)]


def test_children_are_listed_by_the_names_they_have() -> None:
    world = World()
    network = world.open("..")
    assert run(world.opener.children(network)) == (b"srv", b"ws1")
    local = world.open(".")
    assert run(world.opener.children(local)) == ()


@pytest.mark.parametrize(
    ("name", "path"),
    [("/", b"/"), (".", b"/sales\\/east/ws1"), ("..", b"/sales\\/east"), ("../srv", b"/sales\\/east/srv")],
)
def test_the_path_of_a_domain_is_made_of_its_parents_names(name: str, path: bytes) -> None:
    world = World()
    domain = world.open(name)
    assert run(world.opener.name_of(domain)) == path
    domain.close()
    assert world.network.still_open() == []


def test_a_domain_that_its_parent_does_not_list_is_unknown() -> None:
    world = World()
    text = DATABASES[(HQ, b"company")].replace(b"sales/east/network", b"sales/other")
    world.rules[(HQ, b"company")] = Rules(b"company", plant(load(text), NEXT))
    assert run(world.opener.name_of(world.open("."))) == b"/###UNKNOWN###/ws1"


def test_credentials_go_along() -> None:
    world = World()
    local = world.open(".")
    local.credential = credential(0, "next")
    assert run(world.opener.parent(local)).credential == local.credential
    assert to_text(to_number(SRV)) == SRV
