"""Masters and clones: who is which, who may read all, and the transfer as a stream."""

from __future__ import annotations

import attrs
import pytest

from netinfo.access import HISTORIC, Access, Caller, Guards
from netinfo.domain import Domain
from netinfo.generation import APPLE, NEXT, Generation
from netinfo.hierarchy import Server
from netinfo.rawformat import Branch, plant
from netinfo.replication import (
    Tuning,
    clones,
    is_clone,
    is_update,
    master_addresses,
    master_of,
    snapshot,
    transfer,
    tuning,
)
from netinfo.starter import bare_clone, bare_master
from netinfo.tree import Tree
from tests.netinfo.base import ANON, SU, Base, prop, refused, user
from tests.netinfo.test_hierarchy import machine, with_machines
from wire.codec import codec
from wire.formats.netinfo import NETINFO, NiStatus, Object, ReadallBody, Result

BOTH = pytest.mark.parametrize("generation", [NEXT, APPLE], ids=lambda g: g.name)
S = NiStatus


def rooted(*properties: str) -> Branch:
    return Branch((prop("master", *properties),))


def test_master_is_named_in_the_root() -> None:
    tree = plant(bare_master(b"network", b"srv", ["10.0.0.1", "10.0.0.2"]))
    assert master_of(tree) == (b"srv", b"network")
    assert master_addresses(tree) == ("10.0.0.1", "10.0.0.2")
    assert master_of(Tree()) is master_of(plant(Branch())) is master_of(plant(rooted("none"))) is None
    assert master_of(plant(rooted())) is None
    assert master_addresses(plant(rooted("srv/network"))) == ()


@BOTH
@pytest.mark.parametrize(
    ("tag", "own", "next_is", "apple_is"),
    [
        (b"network", ("127.0.0.1", "10.0.0.1"), False, False),
        (b"network", ("127.0.0.1", "10.0.0.2"), True, True),
        (b"other", ("127.0.0.1", "10.0.0.1"), False, True),
        (b"local", ("127.0.0.1", "10.0.0.2"), False, False),
    ],
)
def test_who_is_a_clone(
    generation: Generation, tag: bytes, own: tuple[str, ...], next_is: bool, apple_is: bool
) -> None:
    tree = plant(bare_master(b"network", b"srv", ["10.0.0.1"]), generation)
    assert is_clone(tree, tag, own, generation) is (next_is if generation is NEXT else apple_is)


@BOTH
def test_domain_whose_master_is_not_known_is_no_clone(generation: Generation) -> None:
    assert not is_clone(plant(Branch(), generation), b"network", ("10.0.0.1",), generation)
    assert not is_clone(plant(rooted("far/network")), b"network", ("10.0.0.1",), generation)


def a_clone(generation: Generation) -> Domain:
    tree = plant(bare_clone(b"far", "10.0.0.1", b"network"), generation)
    return Domain(b"network", tree, clone=True)


@BOTH
def test_updates_come_from_the_masters_reserved_ports(generation: Generation) -> None:
    clone = a_clone(generation)
    assert is_update(clone, Caller("10.0.0.1", 1023))
    assert not is_update(clone, Caller("10.0.0.1", 1024))
    assert not is_update(clone, Caller("10.0.0.1", 0))
    assert not is_update(clone, Caller("10.0.0.2", 1023))
    assert not is_update(clone, Caller("127.0.0.1", 1023, own=True, superuser=True))
    signed = attrs.evolve(user(0, b"", "10.0.0.1"), port=1023)
    assert is_update(clone, signed) is (generation is NEXT)


@BOTH
def test_orphan_takes_updates_from_loopback_in_apples_way(generation: Generation) -> None:
    clone = a_clone(generation)
    clone.tree.destroy(clone.tree.directories[2])
    assert is_update(clone, Caller("127.0.0.1", 600)) is (generation is APPLE)
    assert not is_update(clone, Caller("10.0.0.1", 600))


@BOTH
def test_clones_are_those_who_serve_the_domain_too(generation: Generation) -> None:
    tree = with_machines(
        machine("srv", ("10.0.0.1", "10.0.0.9"), "./network", "srv/local", "./second"),
        machine("one", ("10.0.0.2", "10.0.0.3"), "one/local", "./network", "./net2"),
        machine("two", "10.0.0.4", "two/local"),
        machine("lost", (), "./network"),
        generation=generation,
    )
    own = ("127.0.0.1", "10.0.0.1", "10.0.0.9")
    expected: tuple[Server, ...] = (Server("10.0.0.2", b"network"),)
    if generation is APPLE:
        expected = (Server("10.0.0.1", b"second"), *expected, Server("10.0.0.2", b"net2"))
    assert clones(tree, b"network", own, generation) == expected


# --- READALL ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        (SU, S.NI_OK),
        (Caller("127.0.0.1", 5000, own=True), S.NI_OK),
        (Caller("192.42.172.1", 5000), S.NI_OK),  # a server of the domain, by its address
        (Caller("192.42.172.5", 600), S.NI_PERM),
        (ANON, S.NI_PERM),
    ],
)
def test_read_all_is_for_own_addresses_and_clones(caller: Caller, expected: NiStatus) -> None:
    b = Base(NEXT, Guards())
    assert b("READALL", 1, caller).status == expected
    assert b("READALL", b.domain.tree.checksum, caller).status == expected
    assert Base(NEXT)("READALL", 1, caller).status == S.NI_OK  # as it was historically


def test_clone_receives_passwords_and_others_what_they_see() -> None:
    b = Base(NEXT, Guards())
    passwords = [p.values for p in b.domain.tree.directories[6].properties if p.name == b"passwd"]
    for caller in (SU, Caller("192.42.172.1", 600)):
        objects = b("READALL", 1, caller).body.objects
        assert [p.values for p in objects[6].properties if p.name == b"passwd"] == passwords
    half = Base(NEXT, Guards(readall=False))
    assert all(
        p.values == () for p in half("READALL", 1, ANON).body.objects[6].properties if p.name == b"passwd"
    )


@BOTH
def test_clone_answers_only_where_the_root_says_so(generation: Generation) -> None:
    b = Base(generation, clone=True)
    assert b("READALL", 1) == refused(S.NI_NOTMASTER)
    b.domain.tree.write(b.domain.tree.directories[0], (prop("cloneReplyReadall", "yes"),))
    assert b("READALL", 1).status == (S.NI_OK if generation is APPLE else S.NI_NOTMASTER)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_streamed_transfer_is_the_reply_in_pieces(count: int, batch: int) -> None:
    tree = plant(Branch((prop("name", "x"),), (Branch((prop("a", "bcd"),)),) * count))
    row = NETINFO.by_name["READALL"]
    whole = codec(row.result).build(
        Result(S.NI_OK, ReadallBody(tree.checksum, tree.highest_id, tuple(snapshot(tree))))
    )
    chunks = list(transfer(tree, snapshot(tree), batch))
    assert b"".join(chunks) == whole
    assert len(chunks) == (count + 1) // batch + 2


def test_stream_is_of_one_moment() -> None:
    b = Base(NEXT, Guards(), clone=False)
    expected = b("READALL", 1, SU)
    chunks = transfer(b.domain.tree, snapshot(b.domain.tree), batch=2)
    data = next(chunks)
    b.create(9, prop("name", "later"))
    b.domain.tree.write(b.domain.tree.directories[9], ())
    data += b"".join(chunks)
    assert codec(NETINFO.by_name["READALL"].result).parse_exact(data) == expected


def test_worked_example_of_the_spec() -> None:
    """NETINFO 5.3: root {0,3}, machines {1,2}, srv {2,1}."""
    domain = Domain(b"network", plant(bare_master(b"network", b"srv", ["192.42.172.1"])))
    domain.access = Access(NEXT, HISTORIC)
    reply = domain.reply(25, 0, ANON)
    assert reply.startswith(bytes.fromhex("00000000 0000000a 00000003 00000001 00000000 00000003 00000001"))
    body = domain.call(25, 0, ANON).body
    assert [each.id.instance for each in body.objects] == [3, 2, 1]
    assert isinstance(body.objects[0], Object)


# --- the root's settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ([], Tuning(2.0, 5, 1800.0)),
        ([prop("update_latency", "7")], Tuning(7.0, 5, 1800.0)),
        ([prop("update_latency", "0")], Tuning(1.0, 5, 1800.0)),
        ([prop("update_latency", "99999"), prop("subthreads", "9")], Tuning(7200.0, 9, 1800.0)),
        ([prop("update_latency", "soon"), prop("subthreads")], Tuning(2.0, 5, 1800.0)),
        ([prop("cleanup_wait", "1")], Tuning(2.0, 5, 60.0)),
        ([prop("cleanup_wait", "-1")], Tuning(2.0, 5, None)),
        ([prop("cleanup_wait", "unlimited")], Tuning(2.0, 5, None)),
        ([prop("cleanup_wait", "600")], Tuning(2.0, 5, 600.0)),
    ],
)
def test_tuning_of_the_apple_generation(properties: list, expected: Tuning) -> None:  # type: ignore[type-arg]
    assert tuning(plant(Branch(tuple(properties)), APPLE), APPLE) == expected
    assert tuning(plant(Branch(tuple(properties))), NEXT) == Tuning(0.0, 5, 1800.0)
    assert tuning(Tree(APPLE), APPLE) == Tuning(2.0)
