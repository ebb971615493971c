"""The walk lists what the rules say, in order, and says what it had to leave out (SUP 4.1, 6.1.3)."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sup.listfile import Rules
from sup.names import LONGEST_NAME
from sup.tree import Tree
from sup.walk import Entry, Listener, TooManyEntries, Wanted, int32, walk
from wire.formats.sup import EntryFlag


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    for name in ("d/a", "d/b.o", "d/e/f", "d/e/g.o", "d/.dot", "d/CVS/Root", "z", "sup/demo/list"):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return top


@pytest.fixture
def tree(top: Path) -> Iterator[Tree]:
    with Tree(os.fsencode(top)) as tree:
        yield tree


def upgrade(*names: bytes) -> Rules:
    return Rules(upgrade=frozenset(names))


def names(found: dict[bytes, Entry]) -> list[bytes]:
    return list(found)


def test_a_directory_and_what_is_in_it_in_bytewise_order(tree: Tree, top: Path) -> None:
    found = walk(tree, upgrade(b"d", b"z"))
    assert names(found) == [
        b"d", b"d/.dot", b"d/CVS", b"d/CVS/Root", b"d/a", b"d/b.o", b"d/e", b"d/e/f", b"d/e/g.o", b"z",
    ]  # fmt: skip
    status = os.stat(top / "d/a")
    assert found[b"d/a"] == Entry(
        b"d/a", status.st_mode, int(EntryFlag.NEW), int(status.st_mtime), int(status.st_ctime)
    )
    assert stat.S_ISDIR(found[b"d"].mode)


def test_missing_starts_are_reported_and_skipped(tree: Tree) -> None:
    reasons: list[tuple[bytes, str]] = []
    assert names(walk(tree, upgrade(b"none", b"z"), listener=Listener(lambda *why: reasons.append(why)))) == [
        b"z"
    ]
    assert reasons == [(b"none", "No such file or directory")]


def test_omit_stops_the_exact_name_only(tree: Tree) -> None:
    rules = Rules(upgrade=frozenset([b"d", b"d/CVS/Root"]), omit=frozenset([b"d/CVS", b"d/e/f"]))
    assert names(walk(tree, rules)) == [b"d", b"d/.dot", b"d/CVS/Root", b"d/a", b"d/b.o", b"d/e", b"d/e/g.o"]


def test_always_is_exempt_from_omit_and_omitany(tree: Tree) -> None:
    rules = Rules(
        upgrade=frozenset([b"d"]),
        always=frozenset([b"d/e", b"d/b.o"]),
        omit=frozenset([b"d/e"]),
        omitany=re.compile(rb".*\.o\Z"),
    )
    assert names(walk(tree, rules)) == [
        b"d", b"d/.dot", b"d/CVS", b"d/CVS/Root", b"d/a", b"d/b.o", b"d/e", b"d/e/f", b"d/e/g.o",
    ]  # fmt: skip


def test_refused_names_and_what_is_below_them(tree: Tree) -> None:
    wanted = Wanted(refused=frozenset([b"d/e", b"d/a", b"d/CVS/"]))
    assert names(walk(tree, upgrade(b"d", b"d/e/f"), wanted)) == [
        b"d",
        b"d/.dot",
        b"d/CVS",
        b"d/CVS/Root",
        b"d/b.o",
    ]
    assert walk(tree, upgrade(b"d"), Wanted(refused=frozenset([b"."]))) == {}


def test_only_new_files(tree: Tree, top: Path) -> None:
    now = int(os.stat(top / "d/a").st_ctime)
    assert walk(tree, upgrade(b"d"), Wanted(now + 10, newonly=True)) == {}
    assert len(walk(tree, upgrade(b"d"), Wanted(now - 10, newonly=True))) == 9
    everything = walk(tree, upgrade(b"d"), Wanted(now + 10))
    assert len(everything) == 9
    assert not any(entry.flags for entry in everything.values())


def test_flags_and_commands(tree: Tree) -> None:
    rules = Rules(
        upgrade=frozenset([b"d"]),
        backup=frozenset([b"d/a"]),
        noaccount=frozenset([b"d/a", b"d/e"]),
        execute={b"d/a": (b"one", b"two")},
    )
    found = walk(tree, rules, Wanted(2**31 - 1))
    assert found[b"d/a"].flags == EntryFlag.BACKUP | EntryFlag.NOACCOUNT
    assert found[b"d/a"].commands == (b"one", b"two")
    assert found[b"d/e"].flags == EntryFlag.NOACCOUNT
    assert found[b"d/e/f"].flags == 0


def test_control_files_are_left_out_unless_asked_for(tree: Tree) -> None:
    assert b"sup" in walk(tree, upgrade(b"."))
    found = names(walk(tree, upgrade(b"."), own=b"sup"))
    assert found[0] == b"."
    assert b"d/a" in found
    assert not [name for name in found if name.startswith(b"sup")]
    assert names(walk(tree, Rules(always=frozenset([b"."])), own=b"sup")) == found
    assert b"sup/demo/list" in walk(tree, upgrade(b"sup"), own=b"sup")
    assert names(walk(tree, upgrade(b"sup/demo/list"), own=b"sup")) == [b"sup/demo/list"]


def test_links(tree: Tree, top: Path) -> None:
    (top / "d/quoted").symlink_to("nowhere")
    (top / "d/e/verbatim").symlink_to("../a")
    (top / "d/followed").symlink_to("a")
    (top / "d/dangling").symlink_to("nowhere")
    (top / "dir").symlink_to("d/e")
    (top.parent / "secret").touch()
    (top / "away").symlink_to("../secret")
    reasons: list[tuple[bytes, str]] = []
    rules = Rules(
        upgrade=frozenset([b"d", b"dir", b"away"]),
        symlink=frozenset([b"d/quoted"]),
        rsymlink=frozenset([b"d/e"]),
    )
    found = walk(tree, rules, listener=Listener(lambda *why: reasons.append(why)))
    assert stat.S_ISLNK(found[b"d/quoted"].mode)
    assert stat.S_ISLNK(found[b"d/e/verbatim"].mode)
    assert stat.S_ISREG(found[b"d/followed"].mode)
    assert stat.S_ISREG(found[b"dir/verbatim"].mode)
    assert stat.S_ISDIR(found[b"dir"].mode)
    assert b"d/dangling" not in found
    assert b"away" not in found
    assert [name for name, _ in reasons] == [b"away"]


def test_a_link_that_leads_back_is_not_followed_for_ever(tree: Tree, top: Path) -> None:
    (top / "d/e/up").symlink_to("..")
    (top / "d/x").symlink_to("e")
    reasons: list[bytes] = []
    found = walk(tree, upgrade(b"d"), listener=Listener(lambda name, _: reasons.append(name)))
    assert b"d/x/f" in found
    assert sorted(reasons) == [b"d/e/up", b"d/x/up"]


def test_special_files_are_listed(tree: Tree, top: Path) -> None:
    os.mkfifo(top / "d/fifo")
    assert stat.S_ISFIFO(walk(tree, upgrade(b"d"))[b"d/fifo"].mode)


def as_ordinary_user(action: Callable[[], list[bytes]]) -> list[bytes]:
    """The result of `action` in a process that is not root, whatever this one is."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            os.write(writing, b"\0".join(action()))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as result:
        answer = result.read()
    os.waitpid(child, 0)
    return answer.split(b"\0")


def test_what_cannot_be_read_is_left_out_and_reported(tree: Tree, top: Path) -> None:
    (top / "d/a").chmod(0)
    (top / "d/e").chmod(0o300)
    (top / "d/CVS").chmod(0o444)

    def action() -> list[bytes]:
        reasons: list[bytes] = []
        found = walk(tree, upgrade(b"d"), listener=Listener(lambda name, _: reasons.append(name)))
        return [*found, b"--", *sorted(reasons)]

    assert as_ordinary_user(action) == [b"d", b"d/.dot", b"d/b.o", b"--", b"d/CVS", b"d/a", b"d/e"]
    for name in ("d/e", "d/CVS"):
        (top / name).chmod(0o755)


def test_odd_names(top: Path, tree: Tree) -> None:
    odd = [b"\xff", b"new\nline", b" ", b"#", b"%s", b"n" * 200, b"\\"]
    os.mkdir(os.fsencode(top) + b"/odd")
    for name in odd:
        with open(os.fsencode(top) + b"/odd/" + name, "wb"):
            pass
    assert names(walk(tree, upgrade(b"odd"))) == [b"odd", *sorted(b"odd/" + name for name in odd)]


def test_names_too_long_to_travel(top: Path, tree: Tree) -> None:
    reasons: list[bytes] = []
    place = os.open(top / "d", os.O_RDONLY)
    for length in (250,) * 7 + (238,):
        os.mkdir("n" * length, dir_fd=place)
        below = os.open("n" * length, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(os.open("x", os.O_CREAT, dir_fd=place))
    os.close(os.open("xx", os.O_CREAT, dir_fd=place))
    os.close(place)
    found = names(walk(tree, upgrade(b"d"), listener=Listener(lambda name, _: reasons.append(name))))
    assert max(map(len, found)) == LONGEST_NAME
    assert [len(name) for name in reasons] == [LONGEST_NAME + 1]


def test_too_many(tree: Tree) -> None:
    assert len(walk(tree, upgrade(b"d"), limit=9)) == 9
    with pytest.raises(TooManyEntries, match="more than 8"):
        walk(tree, upgrade(b"d"), limit=8)


def test_times_travel_as_32_bits(top: Path, tree: Tree) -> None:
    assert [int32(number) for number in (0, 2**31 - 1, 2**31, -(2**31), 2208988800)] == [
        0, 2**31 - 1, -(2**31), -(2**31), -2085978496,
    ]  # fmt: skip
    os.utime(top / "z", ns=(0, -1_500_000_000))
    assert walk(tree, upgrade(b"z"))[b"z"].mtime == -2
