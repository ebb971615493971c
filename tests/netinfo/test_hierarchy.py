"""Who serves whom: BIND, the servers of a domain, and where its parent may be."""

from __future__ import annotations

import pytest

from netinfo.access import StatusError
from netinfo.addresses import Interface, to_number
from netinfo.domain import Domain, Surroundings
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.hierarchy import Server, apple_rounds, candidates, is_root, parent, served, servers, serves
from netinfo.rawformat import Branch, plant
from netinfo.tree import Tree
from tests.netinfo.base import prop
from wire.formats.netinfo import Binding, NiStatus

BOTH = pytest.mark.parametrize("generation", [NEXT, APPLE], ids=lambda g: g.name)


def with_machines(*machines: Branch, root: Branch | None = None, generation: Generation = NEXT) -> Tree:
    properties = root.properties if root else ()
    return plant(Branch(properties, (Branch((prop("name", "machines"),), machines),)), generation)


def machine(name: str, address: str | tuple[str, ...], *serves: str) -> Branch:
    addresses = (address,) if isinstance(address, str) else address
    return Branch((prop("name", name), prop("ip_address", *addresses), prop("serves", *serves)))


def test_serves_values_are_split_at_their_first_slash() -> None:
    tree = with_machines(machine("m", "10.0.0.1", "./network", "a/b/c", "none", "/x", "y/"))
    assert list(served(tree.directories[2])) == [(b".", b"network"), (b"a", b"b/c"), (b"", b"x"), (b"y", b"")]


def test_bind_looks_at_the_first_machine_with_the_address() -> None:
    tree = with_machines(
        machine("one", ("10.0.0.1", "10.0.0.2"), "./network", "../up", "one/local", "other/tag"),
        machine("two", ("10.0.0.2", "10.0.0.3"), "two/second"),
    )
    assert serves(tree, b"local", to_number("10.0.0.1"))
    assert serves(tree, b"tag", to_number("10.0.0.2"))
    assert serves(tree, b"second", to_number("10.0.0.3"))
    assert not serves(tree, b"second", to_number("10.0.0.2"))
    assert not serves(tree, b"network", to_number("10.0.0.1"))
    assert not serves(tree, b"up", to_number("10.0.0.1"))
    assert not serves(tree, b"local", to_number("1.0.0.10"))  # not Apple's reversed address
    assert not serves(plant(Branch()), b"local", 1)
    assert not serves(Tree(), b"local", 1)


def test_servers_of_a_domain_at_all_their_addresses() -> None:
    tree = with_machines(
        machine("one", ("10.0.0.1", "what?", "10.0.0.2"), "./network", "./second"),
        machine("two", (), "./network"),
        machine("three", "10.0.0.3", "three/local"),
    )
    assert servers(tree) == (
        Server("10.0.0.1", b"network"),
        Server("10.0.0.2", b"network"),
        Server("10.0.0.1", b"second"),
        Server("10.0.0.2", b"second"),
    )


def test_candidates_for_the_parent() -> None:
    tree = with_machines(
        machine("one", ("10.0.0.1", "10.0.0.2"), "../up", "./network", "../also"),
        machine("broadcasthost", "255.255.255.255", "../network"),
        machine("lost", (), "../network"),
    )
    assert candidates(tree) == (
        Server("10.0.0.1", b"up"),
        Server("10.0.0.1", b"also"),
        Server("255.255.255.255", b"network"),
    )
    assert candidates(Tree()) == ()


def asked(domain: Domain) -> Binding | NiStatus:
    try:
        return parent(domain)
    except StatusError as refused:
        return refused.status


@BOTH
def test_parent_is_told_as_it_was_found(generation: Generation) -> None:
    tree = with_machines(machine("up", "10.0.0.1", "../up"), generation=generation)
    domain = Domain(b"network", tree)
    assert not is_root(domain)
    assert asked(domain) == (NiStatus.NI_NORESPONSE if generation is NEXT else NiStatus.NI_NETROOT)
    domain.surroundings.parent = Binding(b"up", 1)
    assert asked(domain) == Binding(b"up", 1)
    tree.destroy(tree.directories[2])
    assert is_root(domain)
    assert asked(domain) == NiStatus.NI_NETROOT


@BOTH
def test_forced_root_has_no_parent(generation: Generation) -> None:
    tree = with_machines(machine("up", "10.0.0.1", "../up"), generation=generation)
    domain = Domain(b"network", tree, surroundings=Surroundings(forced_root=True, parent=Binding(b"up", 1)))
    assert asked(domain) == NiStatus.NI_NETROOT


@BOTH
def test_is_root_property_is_apples(generation: Generation) -> None:
    root = Branch((prop("isRoot", "YES"),))
    tree = with_machines(machine("up", "10.0.0.1", "../up"), root=root, generation=generation)
    assert is_root(Domain(b"network", tree)) is (generation is APPLE)


HOME = Interface("eth0", "10.1.0.5", "255.255.0.0", "10.1.255.255")
OTHER = Interface("eth1", "10.2.0.5", "255.255.0.0", "10.2.255.255")


def test_apple_asks_near_before_far() -> None:
    found = [
        Server("192.0.2.1", b"far"),
        Server("10.2.7.7", b"near"),
        Server("10.1.0.5", b"network"),
        Server("10.1.0.5", b"own"),
        Server("127.0.0.1", b"network"),
    ]
    rounds = apple_rounds(found, b"network", [HOME, OTHER], lambda servers: servers.reverse())
    assert rounds == (
        (Server("10.1.0.5", b"own"),),
        (Server("10.1.0.5", b"own"), Server("10.2.7.7", b"near")),
        (Server("10.1.0.5", b"own"), Server("10.2.7.7", b"near"), Server("192.0.2.1", b"far")),
    )


def test_apple_spreads_a_broadcast_over_its_interfaces() -> None:
    rounds = apple_rounds([Server("255.255.255.255", b"up")], b"local", [HOME, OTHER], lambda _: None)
    spread = (Server("10.1.255.255", b"up"), Server("10.2.255.255", b"up"))
    assert rounds == (spread, spread)
    assert apple_rounds([], b"local", [HOME], lambda _: None) == ()
