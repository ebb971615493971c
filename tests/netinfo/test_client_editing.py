"""Changes as people think of them, over a domain in memory (NETINFO 6.3, 6.5)."""

from __future__ import annotations

from typing import Any

import pytest

from netinfo.client import editing
from netinfo.client.domain import Domain
from netinfo.client.errors import CommunicationError, NetInfoError
from netinfo.client.local import open_local
from netinfo.client.looking import read_tree
from netinfo.client.network import run
from netinfo.domain import Domain as Rules
from netinfo.generation import NEXT
from netinfo.rawformat import Branch, load, plant
from wire.formats.netinfo import NiId, NiStatus, Property

TEXT = b"""{ "master" = ( "srv/network" ); CHILDREN = (
  { "name" = ( "users" ); CHILDREN = (
    { "name" = ( "ann" ); "uid" = ( "101" ); "twice" = ( "a" ); "twice" = ( "b" ); },
    { "name" = ( "ben" ); "uid" = ( "102" ); } ) },
  { "name" = ( "groups" ); "empty" = ( ); } ) }"""


@pytest.fixture
def domain() -> Domain:
    return open_local(Rules(b"network", plant(load(TEXT), NEXT)), "test", lambda changes: None)


def find(domain: Domain, path: bytes) -> NiId:
    return run(domain.find(path))


def read(domain: Domain, path: bytes) -> dict[bytes, tuple[bytes, ...]]:
    return {prop.name: prop.values for prop in run(domain.read(find(domain, path)))}


def test_a_property_by_name_is_the_first_of_that_name(domain: Domain) -> None:
    ann = find(domain, b"/users/ann")
    assert run(editing.index_of(domain, ann, b"twice")) == 2
    assert run(editing.property_of(domain, ann, b"twice")) == (b"a",)
    assert run(editing.index_of(domain, ann, b"nope")) is None
    with pytest.raises(NetInfoError) as caught:
        run(editing.property_of(domain, ann, b"nope"))
    assert caught.value.status == NiStatus.NI_NOPROP


def test_values_are_appended_merged_inserted_and_removed(domain: Domain) -> None:
    ann = find(domain, b"/users/ann")

    def members() -> tuple[bytes, ...]:
        return read(domain, b"/users/ann")[b"members"]

    def here() -> NiId:
        return run(domain.self_id(ann))

    run(editing.append_values(domain, here(), b"members", [b"a", b"b"]))
    run(editing.append_values(domain, here(), b"members", [b"a"]))
    assert members() == (b"a", b"b", b"a")
    run(editing.merge_values(domain, here(), b"members", [b"b", b"c"]))
    assert members() == (b"a", b"b", b"c"), "a merge leaves each value once"
    unchanged = here()
    run(editing.merge_values(domain, here(), b"members", [b"a"]))
    assert here() == unchanged, "nothing new is not written"
    run(editing.insert_value(domain, here(), b"members", b"first", 0))
    run(editing.insert_value(domain, here(), b"members", b"last", 99))
    assert members() == (b"first", b"a", b"b", b"c", b"last")
    run(editing.remove_values(domain, here(), b"members", [b"a", b"last"]))
    assert members() == (b"first", b"b", b"c")
    with pytest.raises(NetInfoError) as missing:
        run(editing.remove_values(domain, here(), b"members", [b"b", b"zed"]))
    assert (missing.value.status, missing.value.about) == (NiStatus.NI_NONAME, "zed")
    assert members() == (b"first", b"b", b"c"), "and nothing was removed"


def test_only_a_property_that_is_there_can_be_renamed(domain: Domain) -> None:
    run(editing.rename_property(domain, find(domain, b"/users/ann"), b"twice", b"once"))
    assert run(editing.property_of(domain, find(domain, b"/users/ann"), b"once")) == (b"a",)
    for change in (
        editing.rename_property(domain, find(domain, b"/users/ann"), b"nope", b"x"),
        editing.remove_values(domain, find(domain, b"/users/ann"), b"nope", [b"x"]),
    ):
        with pytest.raises(NetInfoError) as caught:
            run(change)
        assert caught.value.status == NiStatus.NI_NOPROP


def test_setting_overwrites_or_appends(domain: Domain) -> None:
    here = run(editing.set_property(domain, find(domain, b"/users/ann"), b"uid", (b"7",)))
    run(editing.set_property(domain, here, b"new", (b"x", b"y")))
    assert [p.name for p in run(domain.read(here))] == [b"name", b"uid", b"twice", b"twice", b"new"]
    assert read(domain, b"/users/ann")[b"uid"] == (b"7",)


def test_removing_takes_every_property_of_the_name(domain: Domain) -> None:
    here, removed = run(editing.remove_properties(domain, find(domain, b"/users/ann"), b"twice"))
    assert removed == 2
    assert run(editing.remove_properties(domain, here, b"twice")) == (here, 0)


def test_a_path_is_made_where_it_is_missing(domain: Domain) -> None:
    made = run(editing.make_path(domain, b"/users/carl/uid=7/x\\/y"))
    assert read(domain, b"/users/carl/uid=7") == {b"uid": (b"7",)}
    assert read(domain, b"/users/carl/uid=7/x\\/y") == {b"name": (b"x/y",)}
    assert run(editing.make_path(domain, b"/users/carl/uid=7/x\\/y")) == made, "success without change"
    assert run(editing.make_path(domain, b"/")) == run(domain.root())


def test_trees_are_removed_whole(domain: Domain) -> None:
    run(editing.make_path(domain, b"/users/ann/deep/deeper"))
    users = find(domain, b"/users")
    root = run(domain.root())
    after = run(editing.destroy(domain, users))
    assert after.instance == root.instance + 1
    assert len(run(domain.children(after))) == 1
    with pytest.raises(NetInfoError) as caught:
        run(editing.destroy(domain, after))
    assert caught.value.status == NiStatus.NI_NOTEMPTY
    assert len(run(domain.children(after))) == 1, "nothing was touched"
    groups = find(domain, b"/groups")
    assert run(editing.remove_children(domain, groups)) == groups


def test_trees_are_read_and_loaded(domain: Domain) -> None:
    users = find(domain, b"/users")
    branch = run(read_tree(domain, users))
    assert [child.properties[0].values for child in branch.children] == [(b"ann",), (b"ben",)]
    replaced = Branch((Property(b"name", (b"people",)),), (Branch((Property(b"name", (b"zed",)),)),))
    run(editing.load_tree(domain, users, replaced))
    assert run(read_tree(domain, find(domain, b"/people"))) == replaced
    with pytest.raises(NetInfoError):
        find(domain, b"/users")


def test_a_copy_may_go_into_its_own_original(domain: Domain) -> None:
    users = find(domain, b"/users")
    run(editing.copy_tree(domain, users, users))
    inner = run(read_tree(domain, find(domain, b"/users/users")))
    assert [child.properties[0].values for child in inner.children] == [(b"ann",), (b"ben",)]


def test_the_way_to_a_directory(domain: Domain) -> None:
    assert run(editing.path_of(domain, find(domain, b"/users/ann"))) == b"/users/ann"
    assert run(editing.path_of(domain, run(domain.root()))) == b"/"
    made = run(domain.create(find(domain, b"/users"), ())).child
    assert run(editing.path_of(domain, made)) == b"/users/dir: %d" % made.object
    slashed = run(editing.make_path(domain, b"/a\\/b\\=c"))
    assert run(editing.path_of(domain, slashed)) == b"/a\\/b\\=c"


def test_somebody_else_in_between_is_noticed(domain: Domain) -> None:
    ann = find(domain, b"/users/ann")
    run(editing.set_property(domain, ann, b"uid", (b"7",)))
    with pytest.raises(NetInfoError) as caught:
        run(editing.set_property(domain, ann, b"uid", (b"8",)))
    assert caught.value.status == NiStatus.NI_STALE


def test_a_change_that_cannot_be_kept_is_taken_back() -> None:
    rules = Rules(b"network", plant(load(TEXT), NEXT))

    def full(changes: Any) -> None:
        raise OSError("no space left on the disk")

    domain = open_local(rules, "test", full)
    before = rules.tree.checksum
    with pytest.raises(OSError, match=r"no space left"):
        run(editing.make_path(domain, b"/new"))
    assert rules.tree.checksum == before


def test_a_database_without_a_server_has_neither_parent_nor_binder(domain: Domain) -> None:
    assert run(domain.network.resolve("anything")) == "anything"
    assert run(domain.network.multicall([], [1.0])) is None
    run(domain.network.sleep(1000.0))
    domain.close()
    assert run(domain.root()).object == 0


def test_parents_in_a_circle_end(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may say what it likes."""
    ann = find(domain, b"/users/ann")

    async def around(directory: NiId) -> int:
        return {ann.object: 1, 1: ann.object}[directory.object]

    monkeypatch.setattr(domain, "parent", around)
    with pytest.raises(CommunicationError, match=rf"the parents of directory {ann.object} lead in a circle"):
        run(editing.path_of(domain, ann))
