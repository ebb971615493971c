"""STATISTICS: NeXT's one property, Apple's 44 in their order."""

from __future__ import annotations

import attrs
import pytest

from netinfo.generation import APPLE, NEXT
from netinfo.rawformat import plant
from netinfo.starter import bare_clone
from tests.netinfo.base import ANN, ANON, SU, Base, prop, refused, user
from wire.formats.netinfo import NETINFO, Binding, NiStatus, WriteArgs

ORDER = [
    "checksum", "server_version", "tag", "ip_address", "hostname", "domain_servers", "write_locked",
    "notify_threads", "notifications_pending", "authentications", "readall_proxies", "cleanup_wait", "total_calls",
    "binding", "connections", "ping", "statistics", "root", "self", "parent", "create", "destroy", "read", "write",
    "children", "lookup", "list", "createprop", "destroyprop", "readprop", "writeprop", "renameprop", "listprops",
    "createname", "destroyname", "readname", "writename", "rparent", "listall", "bind", "readall", "crashed",
    "resync", "lookupread",
]  # fmt: skip


def told(b: Base) -> dict[str, list[str]]:
    return {p.name.decode(): [value.decode() for value in p.values] for p in b("STATISTICS")}


def test_next_tells_the_checksum_alone() -> None:
    assert Base(NEXT)("STATISTICS") == (prop("checksum", "82"),)
    assert Base(NEXT)("STATISTICS", caller=user(0, b"checksum")) == (prop("checksum", "82"),)


def test_apple_tells_44_in_order() -> None:
    assert list(told(Base(APPLE))) == ORDER


def test_apple_tells_only_the_checksum_to_lookupd() -> None:
    b = Base(APPLE)
    for password, count in ((b"checksum", 1), (b"Checksum", 44), (b"checksums", 44), (b"", 44)):
        assert len(b("STATISTICS", caller=user(0, password))) == count


def test_apple_tells_of_its_domain() -> None:
    b = Base(APPLE)
    b.create(1, prop("name", "two"), prop("ip_address", "10.0.0.1", "10.0.0.2"), prop("serves", "./network"))
    found = told(b)
    assert found["tag"] == ["network", "master", "1"]
    assert found["ip_address"] == ["192.42.172.1"]
    assert found["hostname"] == ["srv"]
    assert found["domain_servers"] == ["192.42.172.1/network", "10.0.0.1/network", "10.0.0.2/network"]
    assert found["server_version"][0].startswith("ghostports")
    assert found["readall_proxies"] == ["0", "strict"]
    assert found["binding"] == ["root"]


def test_apple_tells_how_it_is_locked() -> None:
    b = Base(APPLE)
    around = b.domain.surroundings
    assert told(b)["write_locked"] == ["No"]
    around.sending = 1
    assert told(b)["write_locked"] == ["Yes (a readall)"]
    around.sending = 3
    assert told(b)["write_locked"] == ["Yes (3 readalls)"]
    around.locked = True
    assert told(b)["write_locked"] == ["Yes (due to SIGINT)"]
    clone = Base(APPLE)
    clone.domain.clone = True
    assert told(clone)["write_locked"] == ["clone"]
    assert told(clone)["tag"] == ["network", "clone"]
    clone.domain.surroundings.receiving = True
    assert told(clone)["write_locked"] == ["clone (reading all)"]


def test_apple_tells_its_binding() -> None:
    b = Base(APPLE)
    b.create(1, prop("name", "up"), prop("ip_address", "10.0.0.1"), prop("serves", "../up"))
    assert told(b)["binding"] == ["notResponding"]
    b.domain.surroundings.parent = Binding(b"up", 0x0A000001)
    assert told(b)["binding"] == ["10.0.0.1/up"]
    b.domain.surroundings.forced_root = True
    assert told(b)["binding"] == ["forcedRoot"]


def test_apple_tells_its_surroundings() -> None:
    b = Base(APPLE)
    around = b.domain.surroundings
    around.addresses = ("127.0.0.1", *(f"10.0.0.{number}" for number in range(20)))
    around.notify_threads, around.waiting_updates = 2, 7
    around.connections, around.cleanup_remaining = (3, 9, 1024, 1), 119.0
    found = told(b)
    assert found["ip_address"] == [f"10.0.0.{number}" for number in range(16)]
    assert found["notify_threads"] == ["2", "5", "2"]
    assert found["notifications_pending"] == ["7"]
    assert found["connections"] == ["3", "9", "1024", "1"]
    assert found["cleanup_wait"] == ["30", "1"]
    around.addresses = ("127.0.0.1",)
    assert told(b)["ip_address"] == ["0.0.0.0"]
    b.domain.tree.write(b.domain.tree.directories[0], (prop("cleanup_wait", "unlimited"),))
    assert told(b)["cleanup_wait"] == ["-1", "-1"]


def test_calls_are_counted_by_procedure() -> None:
    b = Base(APPLE)
    calls = list(b.domain.calls)
    b.domain.call(7, b.id(3), ANON)
    b.domain.reply(7, b.id(3), ANON)
    b.domain.reply(7, b.id(3), ANON)  # from the kept replies
    found = told(b)
    assert int(found["read"][1]) == calls[7] + 3
    assert [found[row.name.lower()][0] for row in NETINFO.procedures] == [str(n) for n in range(29)]
    assert int(found["total_calls"][0]) == sum(calls) + 3
    assert int(told(b)["statistics"][1]) == int(found["statistics"][1]) + 1


def test_authentications_are_counted() -> None:
    b = Base(APPLE)
    before = told(b)["authentications"]
    b("WRITE", WriteArgs(b.id(9), ()), ANN)
    b("WRITE", WriteArgs(b.id(9), ()), user(101, b"wrong"))
    b("WRITE", WriteArgs(b.id(9), ()), SU)
    after = told(b)["authentications"]
    assert [int(x) - int(y) for x, y in zip(after, before, strict=True)] == [1, 1, 1, 1]


@pytest.mark.parametrize("generation", [NEXT, APPLE], ids=lambda g: g.name)
def test_bare_clone_tells_its_checksum(generation: object) -> None:
    b = Base(attrs.evolve(NEXT if generation is NEXT else APPLE))
    b.domain.tree = plant(bare_clone(b"far", "10.0.0.1", b"network"), b.generation)
    b.domain.clone = True
    assert b("STATISTICS")[0] == prop("checksum", str(b.domain.tree.checksum))
    assert b("WRITE", WriteArgs(b.id(0), ()), SU) == refused(NiStatus.NI_RDONLY)
