"""Installing as SUP 8.3 to 8.6 says, and none of the original's weaknesses (SUP 12.4)."""

import errno
import gzip
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sup import install
from sup.durability import FILE_BY_FILE, IN_BATCHES, NOT_DURABLE, Durability
from sup.install import UnknownType
from tests.sup.installing import MTIME, NEW, Bench, changed, directory, file, finished, symlink, update
from wire.formats.sup import EntryFlag, ListEntry, Recv

Make = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Make]:
    """Makes a bench; a test that does not call `finish` itself has it closed at the end."""
    benches: list[Bench] = []

    def make(**settings: Any) -> Bench:
        benches.append(Bench(tmp_path, **settings))
        return benches[-1]

    yield make
    for each in benches:
        assert (each.outside / "file").read_text() == "precious"
        assert sorted(path.name for path in each.outside.iterdir()) == ["file"]
        assert list(each.top.rglob("#*.sup")) == [], "temporary files are left"


@pytest.mark.parametrize("durability", [NOT_DURABLE, FILE_BY_FILE, IN_BATCHES])
def test_a_small_tree(bench: Make, durability: Durability) -> None:
    b = bench(durability=durability)
    b.receive(file(b"data/a", 0o4755), [b"hel", b"lo"])
    b.receive(file(b"data/b", 0o600, links=(b"data/c", b"data/deep/d")), b"b")
    b.receive(file(b"data/empty"), b"")
    b.receive(symlink(b"data/l", b"a"))
    b.receive(file(b"data/odd \n#\xff"), b"odd")
    b.receive(directory(b"data/deep", 0o700, mtime=MTIME - 5))
    b.receive(directory(b"data", 0o2775, mtime=MTIME - 9))
    b.finish()
    assert b.problems == []
    data = b.top / "data"
    assert (data / "a").read_bytes() == b"hello"
    assert stat.S_IMODE((data / "a").stat().st_mode) == 0o4755
    assert stat.S_IMODE((data / "b").stat().st_mode) == 0o600
    assert len({(data / name).stat().st_ino for name in ("b", "c", "deep/d")}) == 1
    assert (data / "empty").read_bytes() == b""
    assert os.readlink(data / "l") == "a"
    assert os.fsencode(data) + b"/odd \n#\xff" in map(os.fsencode, data.iterdir())
    assert {(data / name).lstat().st_mtime for name in ("a", "b", "empty", "l")} == {MTIME}
    assert (data / "deep").stat().st_mtime == MTIME - 5
    assert data.stat().st_mtime == MTIME - 9
    assert stat.S_IMODE(data.stat().st_mode) == 0o2775
    assert stat.S_IMODE((data / "deep").stat().st_mode) == 0o700


def test_what_is_said(bench: Make) -> None:
    b = bench()
    b.receive(file(b"data/a", links=(b"data/deep/b",)), b"a")
    b.receive(symlink(b"data/l", b"a"))
    b.receive(file(b"data/odd \n#\xff"), b"odd")
    b.receive(directory(b"data/deep"))
    b.receive(directory(b"data"))
    b.receive(directory(b"empty"))
    b.finish()
    assert b.said == [
        "SUP Created directory data for data/a",
        "SUP Receiving file data/a",
        "SUP Created directory data/deep for data/deep/b",
        "SUP Created link data/deep/b to data/a",
        "SUP Created symbolic link data/l to a",
        "SUP Receiving file data/odd \\n#\\xff",
        "SUP Created directory empty",
        "SUP Updated directory data/deep",
        "SUP Updated directory data",
    ]


def test_an_old_file_stays_until_the_new_one_is_complete(bench: Make) -> None:
    b = bench()
    b.receive(file(b"a"), b"old")
    seen: list[bytes] = []

    def pieces() -> Iterator[bytes]:
        for piece in (b"ne", b"w"):
            seen.append((b.top / "a").read_bytes())
            yield piece

    async def transfer(write: Callable[[bytes], None]) -> None:
        for piece in pieces():
            write(piece)

    finished(b.installer.receive(b"a", file(b"a", size=3), transfer))
    assert seen == [b"old", b"old"]
    assert (b.top / "a").read_bytes() == b"new"
    b.finish()


def test_a_lost_server_leaves_the_old_file(bench: Make) -> None:
    b = bench()
    b.receive(file(b"a"), b"old")

    async def transfer(write: Callable[[bytes], None]) -> None:
        write(b"ha")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        finished(b.installer.receive(b"a", file(b"a", size=4), transfer))
    finished(b.installer.flush())
    b.close()
    assert (b.top / "a").read_bytes() == b"old"
    assert b.problems == []


class TestBatches:
    """Files get their names only when a barrier has brought their data to the disk."""

    @pytest.fixture
    def events(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        events: list[str] = []
        rename, utime = os.rename, os.utime

        def noted_rename(source: bytes, target: bytes, **options: int) -> None:
            events.append(f"name {os.fsdecode(target)}")
            rename(source, target, **options)

        def noted_utime(path: bytes, **options: Any) -> None:
            events.append("time")
            utime(path, **options)

        monkeypatch.setattr(os, "rename", noted_rename)
        monkeypatch.setattr(os, "utime", noted_utime)
        return events

    @staticmethod
    def watched(events: list[str]) -> Durability:
        return Durability(lambda _: events.append("sync"), lambda _: events.append("barrier"))

    def test_data_first_then_time_and_name(self, bench: Make, events: list[str]) -> None:
        b = bench(durability=self.watched(events))
        b.receive(file(b"a"), b"a")
        b.receive(file(b"b"), b"b")
        assert events == []
        b.finish()
        assert events == ["barrier", "time", "name a", "time", "name b", "barrier"]

    def test_a_file_at_a_time(self, bench: Make, events: list[str]) -> None:
        b = bench(durability=Durability(lambda _: events.append("sync"), None))
        b.receive(file(b"a"), b"a")
        assert events == ["sync", "time", "name a"]
        b.finish()
        assert events == ["sync", "time", "name a", "sync"]

    @pytest.mark.parametrize("barrier", [True, False])
    def test_attributes_too(self, bench: Make, events: list[str], barrier: bool) -> None:
        sync = Durability(lambda _: events.append("sync"), None)
        b = bench(durability=self.watched(events) if barrier else sync)
        (b.top / "a").write_text("a")
        b.receive(update(b"a"))
        b.finish()
        assert events == ["time", "barrier" if barrier else "sync"]

    @pytest.mark.parametrize("barrier", [True, False])
    def test_nothing_without_a_change(self, bench: Make, events: list[str], barrier: bool) -> None:
        b = bench(durability=self.watched(events))
        (b.top / "l").symlink_to("a")
        b.receive(symlink(b"l", b"a"))
        b.finish()
        assert events == []

    def test_every_directory_on_the_way(self, bench: Make) -> None:
        """Where there is no barrier; one that has gone since has nothing to bring to the disk."""
        synced: list[str] = []
        b = bench(durability=Durability(lambda fd: synced.append(os.readlink(f"/dev/fd/{fd}")), None))
        (b.top / "was/d").mkdir(parents=True)
        b.known |= {b"was", b"was/d"}
        b.receive(file(b"was"), b"x")
        b.receive(file(b"a/b/c"), b"x")
        synced.clear()
        b.finish()
        assert synced == [str(b.top), str(b.top / "a"), str(b.top / "a/b")]

    def test_a_batch_is_full_with_many_files(
        self, bench: Make, events: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(install, "BATCH_FILES", 3)
        b = bench(durability=self.watched(events))
        for number in range(7):
            b.receive(file(b"%d" % number), b"x")
        assert [event for event in events if event.startswith("name")] == ["name 0", "name 1", "name 2"]
        b.finish()
        assert len([event for event in events if event.startswith("name")]) == 7

    def test_a_batch_is_full_with_much_data(
        self, bench: Make, events: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(install, "BATCH_BYTES", 10)
        b = bench(durability=self.watched(events))
        b.receive(file(b"a"), b"x" * 10)
        b.receive(file(b"b"), b"x" * 10)
        assert "name a" in events
        b.finish()

    def test_a_batch_is_full_after_a_second(self, bench: Make, events: list[str]) -> None:
        b = bench(durability=self.watched(events))
        b.receive(file(b"a"), b"x")
        b.time = 0.5
        b.receive(file(b"b"), b"x")
        b.time = 1.0
        b.receive(file(b"c"), b"x")
        b.receive(file(b"d"), b"x")
        b.time = 2.0
        b.receive(file(b"e"), b"x")
        assert [event for event in events if event.startswith("name")] == ["name a", "name b", "name c"]
        b.finish()

    def test_a_disk_that_does_not_take_the_data_is_noticed(self, bench: Make) -> None:
        def fail(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        b = bench(durability=Durability(lambda _: None, fail))
        (b.top / "a").write_text("old")
        b.receive(file(b"a"), b"new")
        b.finish()
        assert b.problems == ["Can't bring 1 files to the disk (Input/output error)"]
        assert (b.top / "a").read_text() == "old"


def failing(monkeypatch: pytest.MonkeyPatch, function: str, number: int) -> None:
    close = os.close

    def fail(*arguments: Any, **_: object) -> None:
        if function == "close":
            close(*arguments)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, fail)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("function", ["write", "rename", "utime", "fchmod", "open", "close"])
def test_every_error_is_noticed_and_the_next_file_comes(
    bench: Make, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    b = bench()
    b.receive(file(b"first"), b"1")
    (b.top / "a").write_text("old")
    with monkeypatch.context() as patch:
        failing(patch, function, number)
        b.receive(file(b"a"), [b"new ", b"text"])
    b.receive(file(b"z"), b"last")
    b.finish()
    (problem,) = b.problems
    assert os.strerror(number) in problem
    assert (b.top / "a").read_text() == "old"
    assert (b.top / "z").read_text() == "last"


def test_a_short_write_is_continued(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:3]))
    b = bench()
    b.receive(file(b"a"), b"0123456789")
    b.finish()
    assert (b.top / "a").read_bytes() == b"0123456789"


class TestTypeChanges:
    """One run turns anything into anything (SUP 8.3.2, where the original needs two)."""

    @pytest.mark.parametrize("order", [0, 1])
    def test_a_file_becomes_a_directory(self, bench: Make, order: int) -> None:
        b = bench()
        (b.top / "d").write_text("was a file")
        b.requested[b"d"] = ListEntry(b"d", 0o040755, NEW, MTIME)
        coming = [(file(b"d/x"), b"x"), (directory(b"d", 0o750), b"")]
        for recv, data in coming if order == 0 else coming[::-1]:
            b.receive(recv, data)
        b.finish()
        assert b.problems == []
        assert (b.top / "d/x").read_text() == "x"
        assert stat.S_IMODE((b.top / "d").stat().st_mode) == 0o750
        assert "SUP Removed regular file d" in b.said

    def test_a_link_becomes_a_directory_and_its_target_stays(self, bench: Make) -> None:
        b = bench()
        (b.top / "d").symlink_to(b.outside)
        b.requested[b"d"] = ListEntry(b"d", 0o040755, NEW, MTIME)
        b.receive(file(b"d/x"), b"x")
        b.receive(directory(b"d"))
        b.finish()
        assert b.problems == []
        assert "SUP Removed symbolic link d" in b.said
        assert (b.top / "d/x").read_text() == "x"

    @pytest.mark.parametrize("new", [file(b"d"), symlink(b"d", b"target")])
    def test_a_directory_becomes_something_else(self, bench: Make, new: Recv) -> None:
        b = bench()
        (b.top / "d/e").mkdir(parents=True)
        (b.top / "d/x").write_text("")
        (b.top / "d/e/y").write_text("")
        b.known = {b"d", b"d/x", b"d/e", b"d/e/y"}
        b.receive(new, b"new")
        b.finish()
        assert b.problems == []
        assert stat.S_IFMT((b.top / "d").lstat().st_mode) == stat.S_IFMT(new.mode or 0)
        assert "SUP Removed directory d" in b.said

    @pytest.mark.parametrize("new", [file(b"d"), symlink(b"d", b"target")])
    def test_not_when_the_user_has_files_there(self, bench: Make, new: Recv) -> None:
        b = bench()
        (b.top / "d").mkdir()
        (b.top / "d/own").write_text("mine")
        (b.top / "d/x").write_text("")
        b.known = {b"d", b"d/x"}
        b.receive(new, b"new")
        b.finish()
        (problem,) = b.problems
        assert "d/own, which no upgrade brought here" in problem
        assert (b.top / "d/own").read_text() == "mine"
        assert (b.top / "d/x").exists()

    @pytest.mark.parametrize(("old", "new"), [("file", "link"), ("link", "file")])
    def test_files_and_links(self, bench: Make, old: str, new: str) -> None:
        b = bench()
        for kind in (old, new):
            b.receive(
                file(b"x") if kind == "file" else symlink(b"x", os.fsencode(b.outside / "file")), b"data"
            )
        b.finish()
        assert b.problems == []
        assert (b.top / "x").is_symlink() is (new == "link")

    def test_a_file_of_the_users_own_is_not_taken_for_a_directory(self, bench: Make) -> None:
        b = bench()
        (b.top / "d").write_text("mine")
        b.receive(file(b"d/x"), b"x")
        b.finish()
        (problem,) = b.problems
        assert problem == "Can't create d/x or temp file for it (it is not a directory)"
        assert (b.top / "d").read_text() == "mine"

    def test_a_link_of_the_users_own_is_not_followed(self, bench: Make) -> None:
        b = bench()
        (b.top / "d").symlink_to(b.outside)
        b.receive(file(b"d/x"), b"x")
        b.finish()
        (problem,) = b.problems
        assert "symbolic link (--follow-symlinks would follow it)" in problem

    def test_unless_that_is_wanted(self, bench: Make, tmp_path: Path) -> None:
        (tmp_path / "disk2").mkdir()
        b = bench(follow=True)
        (b.top / "d").symlink_to(tmp_path / "disk2")
        b.receive(file(b"d/x"), b"x")
        b.receive(directory(b"d", 0o700))
        b.finish()
        assert b.problems == []
        assert (tmp_path / "disk2/x").read_text() == "x"
        assert stat.S_IMODE((tmp_path / "disk2").stat().st_mode) == 0o700
        assert (b.top / "d").is_symlink()


class TestHostile:
    """What a server may send, and what must not come of it (SUP 9.2)."""

    @pytest.mark.parametrize("follow", [False, True])
    def test_a_link_and_then_a_file_through_it(self, bench: Make, follow: bool) -> None:
        b = bench(follow=follow)
        b.receive(symlink(b"x", os.fsencode(b.outside)))
        b.receive(file(b"x/file"), b"bad")
        b.receive(file(b"x/new"), b"bad")
        b.receive(update(b"x/file", 0o777))
        b.receive(directory(b"x/dir"))
        b.receive(symlink(b"x/link", b"bad"))
        b.finish()
        assert len(b.problems) == 5

    def test_hard_links_through_it_and_of_it(self, bench: Make) -> None:
        b = bench()
        b.receive(symlink(b"x", os.fsencode(b.outside)))
        b.receive(file(b"a", links=(b"x/file", b"x/new")), b"bad")
        b.receive(symlink(b"s", os.fsencode(b.outside / "file")))
        b.receive(update(b"s", 0o777, links=(b"t",)))
        b.finish()
        assert len(b.problems) == 3
        assert not (b.top / "t").exists()

    @pytest.mark.parametrize("name", [b"sup/demo/when", b"sup/demo/last", b"sup/demo/new/x", b"sup/demo"])
    def test_control_files(self, bench: Make, name: bytes) -> None:
        b = bench()
        (b.control / "when").write_text("1\n")
        b.known = {b"sup", b"sup/demo", b"sup/demo/when", b"sup/demo/last"}
        b.requested[b"sup"] = b.requested[b"sup/demo"] = ListEntry(b"sup", 0o040755, NEW, MTIME)
        mode = stat.S_IMODE(b.control.stat().st_mode)
        b.receive(file(name), b"bad")
        b.receive(symlink(name, b"bad"))
        b.receive(update(name, 0o777))
        b.receive(directory(name, 0o777))
        b.receive(file(b"good", links=(name,)), b"good")
        b.finish()
        assert len(b.problems) >= 4
        assert (b.control / "when").read_text() == "1\n"
        assert sorted(path.name for path in b.control.iterdir()) == ["when"]
        assert stat.S_IMODE(b.control.stat().st_mode) == mode

    @pytest.mark.parametrize("new", [file(b"sup"), symlink(b"sup", b"elsewhere")])
    def test_the_directory_of_control_files_is_not_replaced(self, bench: Make, new: Recv) -> None:
        b = bench()
        b.known = {b"sup", b"sup/demo"}
        b.receive(new, b"bad")
        b.finish()
        assert len(b.problems) == 1
        assert b.control.is_dir()

    @pytest.mark.parametrize("new", [file(b"."), symlink(b".", b"/")])
    def test_the_base_directory_is_not_replaced(self, bench: Make, new: Recv) -> None:
        b = bench()
        (b.top / "x").write_text("x")
        b.known = {b"x", b"."}
        b.receive(new, b"bad")
        b.finish()
        assert len(b.problems) == 1
        assert (b.top / "x").exists()

    @pytest.mark.parametrize("link", [b"/tmp/x", b"../x", b"a/../../x", b"", b"x\0y"])
    def test_names_of_hard_links(self, bench: Make, link: bytes) -> None:
        b = bench()
        b.receive(file(b"a", links=(link,)), b"a")
        b.finish()
        (problem,) = b.problems
        assert problem.startswith("Unable to create link")

    def test_a_hard_link_that_nobody_listed(self, bench: Make) -> None:
        b = bench()
        (b.top / "own").write_text("mine")

        async def transfer(write: Callable[[bytes], None]) -> None:
            write(b"a")

        b.requested[b"a"] = ListEntry(b"a", 0o100644, NEW, MTIME)
        finished(b.installer.receive(b"a", file(b"a", links=(b"own",), size=1), transfer))
        b.finish()
        assert b.problems == ["Unable to create link own (it is not in the list)"]
        assert (b.top / "own").read_text() == "mine"

    @pytest.mark.parametrize("mode", [0o010644, 0o020644, 0o060644, 0o140755, 0o000644])
    def test_types_that_sup_does_not_have(self, bench: Make, mode: int) -> None:
        b = bench()
        with pytest.raises(UnknownType, match="Unknown file type"):
            b.receive(changed(directory(b"x"), mode=mode))
        b.finish()
        assert not (b.top / "x").exists()

    def test_messages_do_not_talk_to_the_terminal(self, bench: Make) -> None:
        b = bench()
        b.receive(file(b"\x1b]0;bad\x07", commands=(b"echo \x1b[2J",)), b"")
        b.finish()
        assert all(line.isprintable() for line in b.said)


class TestAttributes:
    """Owner, mode and time (SUP 8.3, 8.5)."""

    def test_an_update_changes_attributes_alone(self, bench: Make) -> None:
        b = bench()
        (b.top / "a").write_text("mine")
        b.receive(update(b"a", 0o755))
        b.finish()
        found = (b.top / "a").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_mtime) == (0o755, MTIME)
        assert (b.top / "a").read_text() == "mine"
        assert b.said == ["SUP Updating file a"]

    def test_an_update_of_a_file_that_is_not_there(self, bench: Make) -> None:
        b = bench()
        b.receive(update(b"a"))
        b.finish()
        assert b.problems == ["Can't update a: there is no such file here"]

    def test_noaccount(self, bench: Make) -> None:
        b = bench()
        (b.top / "a").write_text("old")
        (b.top / "a").chmod(0o755)
        flags = NEW | EntryFlag.NOACCOUNT
        b.receive(file(b"a", 0o4777, user=b"daemon", flags=flags), b"new")
        b.receive(directory(b"d", 0o777, flags=flags))
        b.receive(update(b"a", 0o4777, flags=flags | EntryFlag.UPDATE))
        b.finish()
        found = (b.top / "a").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_mtime) == (0o600, os.getuid(), MTIME)
        assert stat.S_IMODE((b.top / "d").stat().st_mode) == 0o755

    def test_without_times(self, bench: Make) -> None:
        b = bench(set_times=False)
        b.receive(file(b"a"), b"a")
        b.receive(symlink(b"l", b"a"))
        b.receive(directory(b"d"))
        b.finish()
        assert MTIME not in {(b.top / name).lstat().st_mtime for name in ("a", "l", "d")}

    def test_times_before_1970(self, bench: Make) -> None:
        b = bench()
        b.receive(file(b"a", mtime=-2085978496), b"a")
        b.finish()
        assert (b.top / "a").stat().st_mtime == -2085978496

    @pytest.mark.parametrize("user", [b"no such user", b"", None])
    def test_set_id_bits_of_an_unknown_user_are_dropped(self, bench: Make, user: bytes | None) -> None:
        b = bench()
        b.receive(file(b"a", 0o6755, user=user), b"a")
        b.receive(directory(b"d", 0o2755, user=user))
        b.finish()
        assert stat.S_IMODE((b.top / "a").stat().st_mode) == 0o755
        assert stat.S_IMODE((b.top / "d").stat().st_mode) == 0o755
        assert b.problems == []

    def test_set_id_bits_are_for_the_owner_meant(self, bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A client that may not give files away must not make its own user's set-id program of another's."""
        failing(monkeypatch, "fchown", errno.EPERM)
        b = bench()
        b.receive(file(b"a", 0o6755, user=b"daemon", group=b"daemon"), b"a")
        b.finish()
        assert stat.S_IMODE((b.top / "a").stat().st_mode) == 0o755
        assert b.problems == []

    @pytest.mark.root
    def test_owners(self, bench: Make) -> None:
        b = bench()
        b.receive(file(b"a", 0o6755, user=b"daemon", group=b"daemon"), b"a")
        b.receive(directory(b"d", 0o2755, user=b"daemon", group=b"daemon"))
        b.receive(file(b"g", 0o6755, user=b"daemon", group=b"no such group"), b"a")
        b.finish()
        daemon = (b.top / "a").stat()
        assert daemon.st_uid == (b.top / "d").stat().st_uid != 0
        assert stat.S_IMODE(daemon.st_mode) == 0o6755
        assert stat.S_IMODE((b.top / "d").stat().st_mode) == 0o2755
        assert stat.S_IMODE((b.top / "g").stat().st_mode) == 0o4755

    def test_a_directory_that_is_as_it_should_be_is_left_alone(self, bench: Make) -> None:
        b = bench()
        b.receive(directory(b"d"))
        b.finish()
        again = bench()
        again.receive(directory(b"d", 0o700, flags=0))
        again.finish()
        assert again.said == []
        assert stat.S_IMODE((b.top / "d").stat().st_mode) == 0o755

    def test_read_only_directories(self, bench: Make) -> None:
        b = bench()
        b.receive(directory(b"d", 0o555))
        b.receive(file(b"d/x", 0o444), b"x")
        b.finish()
        assert b.problems == []
        assert stat.S_IMODE((b.top / "d").stat().st_mode) == 0o555


class TestLinks:
    """Links of both kinds (SUP 4.4, 4.5)."""

    def test_a_symbolic_link_that_is_right_is_left_alone(self, bench: Make) -> None:
        b = bench()
        b.receive(symlink(b"l", b"a"))
        before = (b.top / "l").lstat().st_ino
        b.receive(symlink(b"l", b"a"))
        assert (b.top / "l").lstat().st_ino == before
        b.receive(symlink(b"l", b"longer than before", flags=0))
        b.finish()
        assert os.readlink(b.top / "l") == "longer than before"
        assert sorted(path.name for path in b.top.iterdir()) == ["l", "sup"]

    def test_a_symbolic_link_to_nothing(self, bench: Make) -> None:
        b = bench()
        b.receive(symlink(b"l", b"a", links=()))
        b.finish()
        assert b.problems == ["Missing linkname for symbolic link l"]

    def test_hard_links_follow_their_leader(self, bench: Make) -> None:
        b = bench()
        (b.top / "a").write_text("old")
        os.link(b.top / "a", b.top / "b")
        (b.top / "c").write_text("apart")
        b.receive(file(b"a", links=(b"b", b"c")), b"new")
        b.finish()
        assert {(b.top / name).stat().st_ino for name in "abc"} == {(b.top / "a").stat().st_ino}
        assert (b.top / "c").read_text() == "new"

    def test_an_update_links_too(self, bench: Make) -> None:
        b = bench()
        (b.top / "h1").write_text("x")
        b.receive(update(b"h1", links=(b"h2",)))
        b.receive(update(b"h1", links=(b"h2",)))
        b.finish()
        assert (b.top / "h1").stat().st_ino == (b.top / "h2").stat().st_ino
        assert b.said.count("SUP Created link h2 to h1") == 1

    def test_where_there_are_no_hard_links_there_is_a_copy(
        self, bench: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failing(monkeypatch, "link", errno.EPERM)
        b = bench()
        b.receive(file(b"a", 0o751, links=(b"d/b",)), b"data")
        b.finish()
        assert b.problems == []
        found = (b.top / "d/b").stat()
        assert (b.top / "d/b").read_text() == "data"
        assert (stat.S_IMODE(found.st_mode), found.st_mtime) == (0o751, MTIME)


class TestBackup:
    """Backups (SUP 8.4)."""

    FLAGS = NEW | EntryFlag.BACKUP

    def test_one_generation(self, bench: Make) -> None:
        b = bench(backup=True)
        for version in (b"1", b"22", b"333"):
            b.receive(file(b"d/f", 0o4751, flags=self.FLAGS), version)
        b.finish()
        backup = b.top / "d/BACKUP/f"
        assert backup.read_text() == "22"
        assert (b.top / "d/f").read_text() == "333"
        assert stat.S_IMODE(backup.stat().st_mode) == 0o640
        assert backup.stat().st_mtime != MTIME
        assert b.said.count("SUP Backup of d/f created") == 2

    @pytest.mark.parametrize(("wanted", "flags"), [(False, FLAGS), (True, NEW)])
    def test_only_if_both_sides_want_it(self, bench: Make, wanted: bool, flags: int) -> None:
        b = bench(backup=wanted)
        for version in (b"1", b"2"):
            b.receive(file(b"f", flags=flags), version)
        b.finish()
        assert not (b.top / "BACKUP").exists()

    def test_a_backup_that_fails_keeps_the_file(self, bench: Make) -> None:
        b = bench(backup=True)
        b.receive(file(b"f", flags=self.FLAGS), b"1")
        (b.top / "BACKUP").symlink_to(b.outside)
        b.receive(file(b"f", flags=self.FLAGS), b"2")
        b.finish()
        assert len(b.problems) == 1
        assert (b.top / "f").read_text() == "1"


class TestCompression:
    """Data as gzip streams (SUP 5.1)."""

    def test_good_and_bad(self, bench: Make) -> None:
        b = bench(compress=True)
        (b.top / "bad").write_text("old")
        b.receive(file(b"good"), gzip.compress(b"hello"))
        b.receive(file(b"bad"), b"not gzip")
        b.receive(file(b"cut"), gzip.compress(b"hello")[:-3])
        b.finish()
        assert (b.top / "good").read_text() == "hello"
        assert (b.top / "bad").read_text() == "old"
        assert not (b.top / "cut").exists()
        assert [problem.split(" (")[0] for problem in b.problems] == [
            "Error in uncompressing file bad",
            "Error in uncompressing file cut",
        ]


class TestCommands:
    """Commands of the list file (SUP 8.7)."""

    COMMANDS = (b"cat f >> out", b"echo first >> out", b"cat f >> out")

    def test_not_without_permission(self, bench: Make) -> None:
        b = bench()
        b.receive(file(b"f", commands=self.COMMANDS), b"data\n")
        b.receive(directory(b"d", commands=(b"echo d >> out",)))
        b.finish()
        assert not (b.top / "out").exists()
        assert "SUP Please execute cat f >> out" in b.said
        assert "SUP Please execute echo d >> out" in b.said

    @pytest.mark.parametrize("durability", [NOT_DURABLE, IN_BATCHES])
    def test_in_order_and_when_the_file_is_there(self, bench: Make, durability: Durability) -> None:
        b = bench(execute=True, durability=durability)
        b.receive(file(b"f", commands=self.COMMANDS), b"data\n")
        b.receive(update(b"f", commands=(b"echo again >> out",)))
        b.receive(directory(b"d", 0o700, commands=(b"ls -ld d | cut -c1-10 >> out",)))
        b.finish()
        assert (b.top / "out").read_text() == "data\nfirst\nagain\ndrwx------\n"
        assert b.problems == []

    def test_failures(self, bench: Make) -> None:
        b = bench(execute=True)
        b.receive(file(b"f", commands=(b"exit 3", b"kill -9 $$")), b"")
        b.finish()
        assert b.problems == [
            "Execute command returned failure status 3",
            "Execute command killed by signal 9",
        ]


@pytest.mark.root
def test_a_directory_on_another_file_system(bench: Make, tmp_path: Path) -> None:
    """Files cannot be renamed into it: they are copied, and are still never half there."""
    import subprocess

    synced: list[str] = []

    def noted(fd: int) -> None:
        synced.append(os.readlink(f"/dev/fd/{fd}"))
        os.fsync(fd)

    b = bench(durability=Durability(noted, IN_BATCHES.barrier))
    (b.top / "m").mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "tmpfs", b.top / "m"], capture_output=True, check=False
    ).returncode:
        b.finish()
        pytest.skip("no tmpfs can be mounted here")
    for held in ("brought", "foreign"):
        (b.top / "m" / held).mkdir()
        (b.top / "m" / held / "file").write_text("old")
    b.known |= {b"m/brought", b"m/brought/file"}
    try:
        b.receive(file(b"m/brought"), b"new")
        b.receive(file(b"m/foreign"), b"new")
        finished(b.installer.flush())
        assert b.problems == [
            "Can't create m/foreign from temp file (it holds m/foreign/file, which no upgrade brought here)"
        ]
        b.problems.clear()
        b.receive(file(b"m/a", 0o4751, links=(b"b", b"m/c")), b"data")
        b.receive(symlink(b"m/l", b"a"))
        b.finish()
        assert b.problems == []
        found = (b.top / "m/a").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_mtime) == (0o4751, MTIME)
        assert (b.top / "b").read_text() == (b.top / "m/c").read_text() == "data"
        assert os.readlink(b.top / "m/l") == "a"
        assert synced[-1] == str(b.top / "m")
        assert (b.top / "m/brought").read_text() == "new"
        assert (b.top / "m/foreign/file").read_text() == "old"
        assert sorted(path.name for path in (b.top / "m").iterdir()) == ["a", "brought", "c", "foreign", "l"]
    finally:
        subprocess.run(["umount", b.top / "m"], check=True)
