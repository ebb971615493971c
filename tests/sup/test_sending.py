"""What is sent for a NEED: denials, link groups, order, data, and files that change under our hands."""

import gzip
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sup.collection import Part, Scan
from sup.listfile import Rules
from sup.names import plain_name
from sup.sending import (
    BATCH_FILES,
    CHUNK,
    MAX_FILE,
    PIECE,
    Choice,
    CompressionFailed,
    FileShrank,
    Owners,
    Reader,
    Sendable,
    choose,
)
from sup.tree import Tree
from sup.walk import NEW, walk
from wire.formats.sup import EntryFlag, NeedEntry, Recv


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for name in ("a", "d/b", "d/e/c"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 10)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "quoted").symlink_to("any where")
    os.link(tmp_path / "a", tmp_path / "d/hard")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


@pytest.fixture
def tree(top: Path) -> Iterator[Tree]:
    with Tree(os.fsencode(top)) as tree:
        yield tree


@pytest.fixture
def scan(tree: Tree) -> Scan:
    rules = Rules(upgrade=frozenset([b"."]), symlink=frozenset([b"quoted"]), execute={b"a": (b"touch a",)})
    return Scan((Part(tree, walk(tree, rules)),), 0)


def need(*names: bytes, update: int = 0) -> list[NeedEntry]:
    return [NeedEntry(name, update) for name in names]


def names(choice: Choice) -> list[bytes]:
    return [outgoing.entry.name for outgoing in choice.outgoing]


def everything(reader: Reader) -> list[Sendable]:
    made = []
    while batch := reader.batch():
        made += batch
    return made


def read(
    scan: Scan, *needed: NeedEntry, with_data: bool = True, compress: bool = False
) -> list[tuple[Recv, bytes]]:
    result = []
    for one in everything(Reader(choose(scan, needed).outgoing, with_data, compress)):
        data = one.data
        while piece := one.rest():
            data += piece
        one.close()
        result.append((one.recv, data))
    return result


def test_files_then_directories_backwards(scan: Scan) -> None:
    choice = choose(scan, need(b"d", b"d/e/c", b".", b"d/b", b"d/e", b"quoted"))
    assert names(choice) == [b"d/b", b"d/e/c", b"quoted", b"d/e", b"d", b"."]
    assert choice.denied == ()


def test_denied(scan: Scan, top: Path) -> None:
    (top / "d/b").unlink()
    (top / "d/e/c").unlink()
    (top / "d/e/c").mkdir()
    reasons: dict[bytes, str] = {}
    asked = need(b"/etc/passwd", b"x/../y", b"none", b"fifo", b"d/b", b"d/e/c", b"a")
    choice = choose(scan, asked, reasons.__setitem__)
    assert choice.denied == (b"/etc/passwd", b"d/b", b"d/e/c", b"fifo", b"none", b"x/../y")
    assert names(choice) == [b"a"]
    assert sorted(reasons) == [b"d/b", b"d/e/c", b"fifo"]


def test_a_quoted_link_that_became_a_file_is_denied(scan: Scan, top: Path) -> None:
    (top / "quoted").unlink()
    (top / "quoted").write_bytes(b"now a file")
    assert choose(scan, need(b"quoted")).denied == (b"quoted",)


def test_a_file_that_became_a_link_out_of_the_tree_is_denied(scan: Scan, top: Path) -> None:
    (top / "d/b").unlink()
    (top / "d/b").symlink_to("/etc/passwd")
    assert choose(scan, need(b"d/b")).denied == (b"d/b",)


def test_files_beyond_2_gib_are_denied(scan: Scan, top: Path) -> None:
    os.truncate(top / "d/b", MAX_FILE + 1)
    reasons: list[str] = []
    assert choose(scan, need(b"d/b"), lambda _, why: reasons.append(why)).denied == (b"d/b",)
    assert "2 GiB" in reasons[0]
    os.truncate(top / "d/b", MAX_FILE)
    assert choose(scan, need(b"d/b")).denied == ()


def test_names_as_the_original_takes_them(scan: Scan) -> None:
    assert plain_name(b"././/a\0zz") == b"a"
    assert plain_name(b"./") == b"./"
    assert names(choose(scan, need(b"./a", b"d/b\0zz"))) == [b"a", b"d/b"]


def test_hard_links_travel_with_the_first_needed_name(scan: Scan) -> None:
    choice = choose(scan, need(b"link", b"d/hard", b"a"))
    assert names(choice) == [b"a"]
    assert choice.outgoing[0].links == [b"d/hard", b"link"]
    assert names(choose(scan, need(b"d/hard"))) == [b"d/hard"]


def test_the_leader_decides_about_data(scan: Scan) -> None:
    [(recv, data)] = read(scan, NeedEntry(b"a", 1), NeedEntry(b"d/hard", 0))
    assert recv.size is None
    assert recv.links == (b"d/hard",)
    assert recv.flags == NEW | EntryFlag.UPDATE | EntryFlag.NEEDED
    assert data == b""


def test_recv_of_a_file(scan: Scan, top: Path) -> None:
    owners = Owners()
    status = os.stat(top / "a")
    assert read(scan, *need(b"a")) == [
        (
            Recv(
                b"a",
                status.st_mode,
                NEW | EntryFlag.NEEDED,
                owners.user(status.st_uid),
                owners.group(status.st_gid),
                int(status.st_mtime),
                (),
                (b"touch a",),
                10,
            ),
            b"a" * 10,
        )
    ]


def test_recv_of_a_directory_and_a_link(scan: Scan) -> None:
    (link, _), (directory, _) = read(scan, *need(b"quoted", b"d"))
    assert (link.user, link.group, link.links, link.size) == (None, None, (b"any where",), None)
    assert directory.user is not None
    assert directory.links == ()
    assert directory.size is None


def test_list_only_has_no_data(scan: Scan) -> None:
    [(recv, data)] = read(scan, *need(b"a"), with_data=False)
    assert recv.size is None
    assert data == b""


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, CHUNK + PIECE + 1])
@pytest.mark.parametrize("compress", [False, True])
def test_data_of_any_size(scan: Scan, top: Path, size: int, compress: bool) -> None:
    content = os.urandom(size)
    (top / "d/b").write_bytes(content)
    [(recv, data)] = read(scan, *need(b"d/b"), compress=compress)
    assert recv.size == len(data)
    assert (gzip.decompress(data) if compress else data) == content


def test_a_file_that_grows_is_sent_as_announced(scan: Scan, top: Path) -> None:
    (top / "d/b").write_bytes(b"x" * (CHUNK + 10))
    [one] = everything(Reader(choose(scan, need(b"d/b")).outgoing))
    with open(top / "d/b", "ab") as file:
        file.write(b"y" * 10)
    data = one.data
    while piece := one.rest():
        data += piece
    one.close()
    assert data == b"x" * (CHUNK + 10)


def test_a_file_that_grows_while_it_is_packed(scan: Scan, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would never be done with one that grows as fast."""
    (top / "d/b").write_bytes(b"x" * (CHUNK + 10))
    make = tempfile.TemporaryFile

    def growing(**options: Any) -> Any:
        with open(top / "d/b", "ab") as file:
            file.write(b"y" * 10)
        return make(**options)

    monkeypatch.setattr("tempfile.TemporaryFile", growing)
    [(_, data)] = read(scan, *need(b"d/b"), compress=True)
    assert gzip.decompress(data) == b"x" * (CHUNK + 10)


def test_a_file_that_shrinks_after_it_was_announced(scan: Scan, top: Path) -> None:
    (top / "d/b").write_bytes(b"x" * (CHUNK + 10))
    [one] = everything(Reader(choose(scan, need(b"d/b")).outgoing))
    os.truncate(top / "d/b", 5)
    with pytest.raises(FileShrank, match="d/b"):
        one.rest()
    one.close()


def test_a_file_that_cannot_be_opened_has_mode_0(scan: Scan, top: Path) -> None:
    choice = choose(scan, need(b"a", b"d/b"))
    (top / "d/b").unlink()
    (top / "d/b").symlink_to("/etc/passwd")
    reasons: list[bytes] = []
    made = everything(Reader(choice.outgoing, why=lambda name, _: reasons.append(name)))
    assert [one.recv.mode for one in made][1:] == [0]
    assert made[1].recv == Recv(b"d/b", 0)
    assert reasons == [b"d/b"]


def test_batches_are_bounded(top: Path) -> None:
    (top / "many").mkdir()
    for number in range(2 * BATCH_FILES + 1):
        (top / "many" / str(number)).write_bytes(b"x")
    (top / "large").mkdir()
    for number in range(4):
        (top / "large" / str(number)).write_bytes(b"x" * (CHUNK // 2))
    with Tree(os.fsencode(top)) as tree:
        scan = Scan((Part(tree, walk(tree, Rules(upgrade=frozenset([b"large", b"many"])))),), 0)
        wanted = [
            NeedEntry(name, 0) for name, entry in scan.parts[0].entries.items() if stat.S_ISREG(entry.mode)
        ]
        reader = Reader(choose(scan, wanted).outgoing)
        assert [len(reader.batch()) for _ in range(6)] == [2, 2, BATCH_FILES, BATCH_FILES, 1, 0]


def test_packing_that_fails(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(CompressionFailed, match="We died trying to gzip a"):
        Reader(choose(scan, need(b"a")).outgoing, compress=True).batch()


def test_owners_without_a_name_are_empty() -> None:
    owners = Owners()
    assert owners.user(0) == b"root"
    assert owners.user(3_999_999_999) == b""
    assert owners.group(3_999_999_999) == b""


def test_trees_of_a_chain(tmp_path: Path) -> None:
    for name in ("one/a", "one/d/x", "two/b", "two/d/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    with Tree(os.fsencode(tmp_path / "one")) as one, Tree(os.fsencode(tmp_path / "two")) as two:
        first = walk(one, Rules(upgrade=frozenset([b"a", b"d"])))
        second = walk(two, Rules(upgrade=frozenset([b"b", b"d"])))
        del second[b"d"]
        scan = Scan((Part(one, first), Part(two, second)), 0)
        assert [entry.name for entry in scan.entries()] == [b"a", b"b", b"d", b"d/x", b"d/y"]
        everything = need(*[entry.name for entry in scan.entries()])
        assert names(choose(scan, everything)) == [b"a", b"d/x", b"b", b"d/y", b"d"]
        assert [data for _, data in read(scan, *everything)][:4] == [
            b"one/a",
            b"one/d/x",
            b"two/b",
            b"two/d/y",
        ]
