"""The domains a server starts with: complete, reachable, with the passwords that are documented."""

from __future__ import annotations

import pytest

from netinfo.access import Access, Caller
from netinfo.addresses import to_number
from netinfo.domain import Domain
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.hierarchy import Server, candidates, servers, serves
from netinfo.networks import Trust
from netinfo.passwords import crypt_matches
from netinfo.properties import values_of
from netinfo.rawformat import dump, load, plant
from netinfo.replication import is_clone, master_addresses, master_of
from netinfo.starter import PASSWORDS, bare_clone, bare_master, sample
from tests.netinfo.base import user

TAGS = pytest.mark.parametrize("tag", [b"network", b"local"])
STANDARD = [
    b"machines", b"users", b"groups", b"networks", b"mounts", b"protocols", b"services", b"rpcs", b"printers",
    b"aliases", b"locations",
]  # fmt: skip


@TAGS
@pytest.mark.parametrize("address", ["127.0.0.1", "192.42.172.1", "10.0.7.5"])
def test_samples_are_complete(tag: bytes, address: str) -> None:
    branch = sample(tag, address)
    tree = plant(branch)
    assert [values_of(child.properties, b"name")[0] for child in branch.children] == STANDARD
    assert load(dump(branch)) == branch
    assert b"@" not in dump(branch)
    names = [values_of(d.properties, b"name") for d in tree.walk() if d.number]
    assert all(names)
    for name, key in ((b"services", b"port"), (b"protocols", b"number"), (b"rpcs", b"number")):
        found = tree.path(name)
        assert found is not None
        assert len(found.children) >= 6
        assert all(values_of(child.properties, key)[0].isdigit() for child in tree.children(found))
    rpcs = tree.path(b"rpcs", b"netinfo")
    assert rpcs is not None
    assert values_of(rpcs.properties, b"number") == (b"200100000",)


@TAGS
def test_sample_passwords_are_those_told(tag: bytes) -> None:
    tree = plant(sample(tag, "127.0.0.1"))
    users = tree.path(b"users")
    assert users is not None
    real = {}
    for each in tree.children(users):
        stored = values_of(each.properties, b"passwd")
        assert stored != ()
        if stored != (b"*",):
            real[values_of(each.properties, b"name")[0]] = stored[0]
    assert real.keys() == PASSWORDS[tag].keys()
    for name, password in PASSWORDS[tag].items():
        assert crypt_matches(password, real[name])


@pytest.mark.parametrize("generation", [NEXT, APPLE], ids=lambda g: g.name)
def test_sample_users_can_authenticate(generation: Generation) -> None:
    tree = plant(sample(b"network", "127.0.0.1"), generation)
    access = Access(generation)
    assert access.identify(tree, user(0, b"secret")).superuser
    assert access.identify(tree, user(101, b"pencil")).name == b"ann"


@pytest.mark.parametrize("address", ["127.0.0.1", "192.42.172.1", "10.0.7.5", "10.0.7.6"])
def test_sample_network_serves_its_machines_where_they_are(address: str) -> None:
    tree = plant(sample(b"network", address, "teacher"))
    assert master_of(tree) == (b"teacher", b"network")
    assert master_addresses(tree) == (address,)
    assert not is_clone(tree, b"network", (address,), NEXT)
    assert servers(tree) == (Server(address, b"network"),)
    assert candidates(tree) == ()
    assert serves(tree, b"local", to_number(address))
    machines = tree.path(b"machines")
    assert machines is not None
    addresses = [values_of(child.properties, b"ip_address")[0] for child in tree.children(machines)]
    assert len(set(addresses)) == 3
    for other in addresses:
        assert serves(tree, b"local", to_number(other.decode()))
        assert other.decode().rpartition(".")[0] == address.rpartition(".")[0]
    networks = Trust(tree).networks
    assert networks == (tuple(map(int, address.split(".")[:3])),)


def test_sample_local_finds_its_parent_by_broadcast_and_by_name() -> None:
    tree = plant(sample(b"local", "192.42.172.1"))
    assert master_of(tree) == (b"localhost", b"local")
    assert candidates(tree) == (Server("255.255.255.255", b"network"), Server("192.42.172.1", b"network"))
    assert servers(tree) == (Server("127.0.0.1", b"local"),)


def test_samples_for_nothing_else() -> None:
    with pytest.raises(ValueError, match="no sample for a domain called other"):
        sample(b"other", "127.0.0.1")
    with pytest.raises(ValueError, match="is not an IPv4 address"):
        sample(b"network", "localhost")


@pytest.mark.parametrize(
    ("generation", "ids", "checksum"),
    [(NEXT, [(0, 3), (1, 2), (2, 1)], 10), (APPLE, [(0, 3), (1, 1), (2, 0)], 5)],
    ids=["next", "apple"],
)
def test_bare_master_is_what_the_originals_made(
    generation: Generation, ids: list[tuple[int, int]], checksum: int
) -> None:
    """NETINFO 11, ids; NETINFO 4.2, contents."""
    tree = plant(bare_master(b"network", b"srv", ["10.0.0.1", "10.0.0.2"]), generation)
    assert [(d.number, d.instance) for d in tree.walk()] == ids
    assert tree.checksum == checksum
    assert [values_of(d.properties, b"name") for d in tree.walk()] == [(), (b"machines",), (b"srv",)]
    assert values_of(tree.directories[2].properties, b"serves") == (b"./network",)


def test_bare_clone_knows_its_master() -> None:
    tree = plant(bare_clone(b"far", "10.0.0.1", b"network"))
    assert is_clone(tree, b"network", ("10.0.0.2",), NEXT)
    domain = Domain(b"network", tree, clone=True)
    assert domain.call(7, tree.directories[0].id, Caller("10.0.0.2")).body.properties[0].values == (
        b"far/network",
    )
