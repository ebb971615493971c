"""Waiting for the disk, and taking back what it would not take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList

from netinfo.access import HISTORIC, Access, Caller
from netinfo.domain import Domain
from netinfo.events import Changed, Replaced
from netinfo.generation import NEXT
from netinfo.keeper import StoreKeeper
from netinfo.rawformat import load, plant
from netinfo.server import database_of, open_database
from netinfo.settings import Settings
from netinfo.store import Store, StoreError
from netinfo.tree import image_of
from wire.formats.netinfo import NETINFO, NI_INDEX_NULL, CreateArgs, NiId, NiStatus, Property

TEXT = load(b'{ "master" = ( "srv/network" ); CHILDREN = ( { "name" = ( "users" ); } ) }')
SU = Caller("127.0.0.1", own=True, superuser=True)
CREATE = NETINFO.by_name["CREATE"].number


class Kept:
    """A domain with its store; `write` makes a change and hands it in."""

    def __init__(self, path: Path) -> None:
        from twisted.internet import reactor

        self.path = database_of(path, b"network")
        self.store, tree = open_database(self.path, TEXT, Settings())
        self.domain = Domain(b"network", tree, access=Access(NEXT, HISTORIC))
        self.keeper = StoreKeeper(reactor, self.store, self.domain)

    def write(self, name: bytes) -> Deferred[None]:
        users = self.domain.tree.path(b"users")
        assert users is not None
        args = CreateArgs(
            NiId(users.number, users.instance), (Property(b"name", (name,)),), NI_INDEX_NULL, None
        )
        assert self.domain.call(CREATE, args, SU).status == NiStatus.NI_OK
        events: list[Any] = [e for e in self.domain.take() if isinstance(e, (Changed, Replaced))]
        return self.keeper.keep(events)

    def on_disk(self) -> int:
        """The checksum of what is in the store, which must be closed."""
        store = Store(self.path)
        try:
            return store.load(NEXT).checksum
        finally:
            store.close()


@asynccontextmanager
async def kept(path: Path) -> AsyncIterator[Kept]:
    made = Kept(path)
    try:
        yield made
    finally:
        made.keeper.close()


@pytest_twisted.ensureDeferred
async def test_what_was_waited_for_is_on_disk(tmp_path: Path) -> None:
    async with kept(tmp_path) as domain:
        await domain.write(b"ann")
        await DeferredList([domain.write(b"u%d" % number) for number in range(50)])
        checksum = domain.domain.tree.checksum
    assert domain.on_disk() == checksum


@pytest_twisted.ensureDeferred
async def test_what_could_not_be_written_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kept(tmp_path) as domain:
        await domain.write(b"ann")
        before = domain.domain.tree.checksum
        save = domain.store.save
        failing = StoreError("the disk is full", full=True)

        def fail(commits: Any) -> None:
            raise failing

        monkeypatch.setattr(domain.store, "save", fail)
        writes = [domain.write(b"x%d" % number) for number in range(5)]
        results: list[Any] = await DeferredList(writes, consumeErrors=True)
        assert [ok for ok, _ in results] == [False] * 5
        assert {failure.value for _, failure in results} == {failing}
        assert domain.domain.tree.checksum == before
        monkeypatch.setattr(domain.store, "save", save)
        await domain.write(b"ben")
        checksum = domain.domain.tree.checksum
        assert checksum != before
    assert domain.on_disk() == checksum


@pytest_twisted.ensureDeferred
async def test_a_write_in_the_middle_of_a_failure_fails_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kept(tmp_path) as domain:
        before = domain.domain.tree.checksum

        def fail(commits: Any) -> None:
            raise StoreError("the disk is gone")

        monkeypatch.setattr(domain.store, "save", fail)
        first, second = domain.write(b"a"), domain.write(b"b")
        late: list[Deferred[None]] = []
        at_once: list[bool] = []

        def write_more(_: Any) -> None:
            late.append(domain.write(b"c"))
            at_once.append(late[0].called)

        first.addErrback(write_more)
        await DeferredList([first, second], consumeErrors=True)
        await DeferredList(late, consumeErrors=True)
        assert at_once == [True]
        assert domain.domain.tree.checksum == before


@pytest_twisted.ensureDeferred
async def test_a_transferred_domain_replaces_what_was_there(tmp_path: Path) -> None:
    async with kept(tmp_path) as domain:
        other = plant(load(b'{ "name" = ( "new" ); CHILDREN = ( { }, { } ) }'), NEXT)
        await domain.write(b"ann")
        domain.domain.tree = other
        await domain.keeper.keep([Replaced(other, image_of(other))])
    assert domain.on_disk() == other.checksum


@pytest_twisted.ensureDeferred
async def test_a_transfer_that_cannot_be_written_leaves_the_old_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kept(tmp_path) as domain:
        domain.domain.tree = old = plant(
            load(b'{ "name" = ( "old" ); CHILDREN = ( { "name" = ( "users" ); } ) }'), NEXT
        )
        await domain.keeper.keep([Replaced(old, image_of(old))])

        def fail(work: Any) -> None:
            raise StoreError("the disk is gone")

        with monkeypatch.context() as broken:
            broken.setattr(domain.store, "save", fail)
            for _ in range(2):
                domain.domain.tree = other = plant(load(b"{ }"), NEXT)
                with pytest.raises(StoreError):
                    await domain.keeper.keep([Replaced(other, image_of(other))])
                assert domain.domain.tree is old
        await domain.write(b"ann")
    assert domain.on_disk() == old.checksum
