"""What is transferred, row by row of SUP 11, between Debian's programs and ours in every pairing."""

import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from tests.interop.pairs import Pair, PairOfOurServer, our_server
from tests.interop.trees import odd_tree, snapshot, without_times, write
from tests.peers import next_second, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.root]


def test_everything_arrives_and_then_only_what_changes(pair: Pair) -> None:
    """Rows 1 to 3, on a tree with everything in it."""
    pair.options = "delete use-rel-suffix"
    odd_tree(pair.srv)
    before = int(time.time())
    assert "completed" in pair.sup("-v")
    assert snapshot(pair.cli) == snapshot(pair.srv)
    scanned = pair.when()
    assert scanned is not None
    assert before - 1 <= scanned <= int(time.time())
    assert "Receiving" not in pair.sup("-v")
    next_second()
    pair.sup("-v")
    said = pair.sup("-v")
    assert "Receiving" not in said
    assert "Updating" not in said
    assert "completed" in said
    assert snapshot(pair.cli) == snapshot(pair.srv)

    next_second()
    write(pair.srv, "data/many/3/301", b"changed", mtime=1_800_000_000)
    (pair.srv / "data/private").chmod(0o640)
    os.unlink(pair.srv / "data/many/4/404")
    os.unlink(os.fsencode(pair.srv) + b"/data/odd/\xff\xfe")
    write(pair.srv, "data/new/file", b"added")
    said = pair.sup("-v")
    assert said.count("Receiving file") == 2
    assert "Updating file data/private" in said
    assert "Deleted file data/many/4/404" in said
    touched = (b"data/many/3", b"data/many/4", b"data/odd", b"data/new", b"data")
    assert without_times(snapshot(pair.cli), *touched) == without_times(snapshot(pair.srv), *touched)


def test_followed_links_special_files_and_foreign_owners(pair: Pair) -> None:
    """Row 1, what the tree of everything leaves out."""
    pair.serve("upgrade data\nsymlink data/quoted\n", hello="hello", other="x")
    (pair.srv / "data/flink").symlink_to("hello")
    (pair.srv / "data/quoted").symlink_to("hello")
    (pair.srv / "data/dangling").symlink_to("nowhere")
    os.link(pair.srv / "data/hello", pair.srv / "data/hard")
    write(pair.srv, "data/dir/inner", b"inner")
    (pair.srv / "data/dirlink").symlink_to("dir")
    os.mkfifo(pair.srv / "data/fifo")
    os.chown(pair.srv / "data/other", 65534, 65534)
    (pair.srv / "data/dir").chmod(0o700)
    os.chown(pair.srv / "data/dir", 65534, 65534)
    assert "Access denied to data/fifo" in pair.sup("-v")
    tree = snapshot(pair.cli)
    assert tree[b"data/hello"].same_as == (b"data/flink", b"data/hard", b"data/hello")
    assert tree[b"data/quoted"].content == b"hello"
    assert tree[b"data/dirlink/inner"] == attrs.evolve(
        tree[b"data/dir/inner"], same_as=(b"data/dirlink/inner",)
    )
    assert not {b"data/dangling", b"data/fifo"} & set(tree)
    assert b"data/fifo" in pair.last()
    assert b"data/dangling" not in pair.last()
    for name in ("data/other", "data/dir"):
        assert os.stat(pair.cli / name).st_uid == 65534
        assert os.stat(pair.cli / name).st_gid == 65534


def test_what_a_client_lost_or_edited_is_not_restored(pair: Pair) -> None:
    """Row 3."""
    pair.serve(a="a", b="b", c="c", d="d")
    next_second()  # what was there is older than the scan ...
    pair.sup()
    next_second()  # ... and what changes now is newer: to the original the second of its scan is past (SUP 4.1)
    write(pair.srv, "data/a", b"new a", mtime=1_700_000_001)
    (pair.srv / "data/b").chmod(0o600)
    os.utime(pair.srv / "data/c")
    (pair.cli / "data/d").unlink()
    (pair.cli / "data/b").write_text("local edit")
    said = pair.sup("-v")
    assert said.count("Receiving file") == 3
    assert [pair.got(f"data/{name}") for name in "abcd"] == ["new a", "b", "c", None]
    assert stat.S_IMODE(os.stat(pair.cli / "data/b").st_mode) == 0o600


def test_keep_old_and_all(pair: Pair) -> None:
    """Row 4."""
    pair.serve(a="a", b="b", c="c")
    pair.sup()
    next_second()

    def edit() -> None:
        (pair.cli / "data/b").write_text("newer here")
        os.utime(pair.cli / "data/a", (1, 1))
        (pair.cli / "data/c").chmod(0o777)

    edit()
    said = pair.sup("-v", "-k", "-o")
    assert "Receiving file data/a" in said
    assert "Receiving file data/b" not in said
    assert pair.got("data/b") == "newer here"
    edit()
    said = pair.sup("-v", "-o")
    assert said.count("Receiving file") == 2
    assert stat.S_IMODE(os.stat(pair.cli / "data/c").st_mode) == 0o777
    edit()
    said = pair.sup("-v", "-a")
    assert said.count("Receiving file") == 3
    assert snapshot(pair.cli) == snapshot(pair.srv)


def test_deletion(pair: Pair) -> None:
    """Row 5."""
    pair.serve("upgrade data\nrsymlink data\n", a="a", b="b", keep="keep")
    write(pair.srv, "data/dir/x", b"x")
    (pair.srv / "data/sl").symlink_to("a")
    (pair.cli / "sup/demo").mkdir(parents=True)
    pair.sup()
    (pair.cli / "sup/demo/refuse").write_text("data/b\n")
    for name in ("data/a", "data/b", "data/dir/x", "data/sl"):
        (pair.srv / name).unlink()
    (pair.srv / "data/dir").rmdir()
    assert "elete" not in pair.sup("-v")
    said = pair.sup("-v", "-o")
    assert "Please delete file data/a" in said
    assert "Please delete directory data/dir" in said
    assert "Please delete symbolic link data/sl" in said
    assert "Would delete file data/a" in pair.sup("-v", "-f", "-d")
    assert pair.got("data/a") == "a"
    said = pair.sup("-v", "-d")
    order = [line.split()[-1] for line in said.splitlines() if "Deleted" in line]
    assert order == ["data/sl", "data/dir/x", "data/dir", "data/a"]
    assert pair.names() == {"data", "data/b", "data/keep"}
    assert b"data/b" not in pair.last()


def test_hard_links_and_trees_of_links(pair: Pair) -> None:
    """Rows 6 and 7."""
    pair.serve("upgrade data\nrsymlink data/links\n", one="1")
    for name in ("two", "three"):
        os.link(pair.srv / "data/one", pair.srv / "data" / name)
    for name, target in (("l", "../x"), ("d/l", "/abs"), ("dangling", "no")):
        (pair.srv / "data/links" / name).parent.mkdir(parents=True, exist_ok=True)
        (pair.srv / "data/links" / name).symlink_to(target)
    next_second()
    pair.sup()
    assert snapshot(pair.cli) == snapshot(pair.srv)
    assert os.stat(pair.cli / "data/one").st_nlink == 3
    (pair.cli / "data/two").unlink()
    pair.sup("-o")
    assert pair.got("data/two") == "1"
    assert os.stat(pair.cli / "data/two").st_nlink == 1


def test_changes_of_type(pair: Pair) -> None:
    """Row 8."""
    pair.options = "delete"
    pair.serve("upgrade data\nsymlink data/fl data/lf\n", df="", fd="file", fl="file")
    (pair.srv / "data/df").unlink()
    write(pair.srv, "data/df/in", b"in")
    (pair.srv / "data/lf").symlink_to("fd")
    pair.sup()
    assert snapshot(pair.cli) == snapshot(pair.srv)
    next_second()
    (pair.srv / "data/df/in").unlink()
    (pair.srv / "data/df").rmdir()
    for name in ("fd", "fl", "lf"):
        (pair.srv / "data" / name).unlink()
    write(pair.srv, "data/df", b"now a file")
    write(pair.srv, "data/fd/in", b"now a directory")
    (pair.srv / "data/fl").symlink_to("df")
    write(pair.srv, "data/lf", b"now a file")
    before = pair.when()
    if pair.real_client:  # it needs two runs for file to directory
        assert "completed with errors" in pair.sup("-v")
        assert pair.when() == before
    assert "completed at" in pair.sup("-v")
    assert without_times(snapshot(pair.cli), b"data", b"data/fd") == without_times(
        snapshot(pair.srv), b"data", b"data/fd"
    )


LIST = """# comment
upgrade data/top* data/{a,c} data/.hid data/.dot
  upgrade data/q?r
upgrade data/a data/d
omit data/a/sub data/c
omitany *.o */CVS
always data/d/keep.o data/CVS
include sup/demo/more*
"""


def test_list_commands(pair: Pair) -> None:
    """Row 9."""
    pair.serve(LIST, top1="1", top2="2", other="o", more="m")
    for name in (
        "a/x.c",
        "a/x.o",
        "a/sub/y",
        "c/z",
        "d/keep.o",
        "d/drop.o",
        "CVS/Root",
        ".hid/f",
        ".dot",
        "q r",
    ):
        write(pair.srv, f"data/{name}", name.encode())
    pair.control("more.1", "upgrade data/more\n")
    assert "completed" in pair.sup("-v")
    listed = [
        "top1",
        "top2",
        "a",
        "a/x.c",
        ".hid",
        ".hid/f",
        ".dot",
        "d",
        "d/keep.o",
        "CVS",
        "CVS/Root",
        "more",
    ]
    assert pair.names() == {"data", "data/q r", *(f"data/{name}" for name in listed)}
    assert pair.last() == sorted(f"data/{name}".encode() for name in (*listed, "q r"))
    tree, when = snapshot(pair.cli), pair.when()
    for text, answer in (
        ("frobnicate x\n", "SCM GOAWAY Invalid list file keyword frobnicate"),
        ("UPGRADE data\n", "SCM GOAWAY Invalid list file keyword UPGRADE"),
    ):
        pair.control("list", text)
        said = pair.sup("-v", "-d")
        assert answer in said
        assert "aborted" in said
    (pair.srv / "sup/demo/list").unlink()
    assert "SCM GOAWAY Can't read list file sup/demo/list" in pair.sup("-v", "-d")
    assert (snapshot(pair.cli), pair.when()) == (tree, when)


@our_server
def test_the_whole_base_without_its_control_files(pair: PairOfOurServer) -> None:
    """Row 10, and our deviation from it."""
    pair.serve("upgrade .\n", a="a")
    pair.control("logfile", "")
    pair.sup()
    assert pair.names() == {"data", "data/a"}
    assert pair.last() == [b".", b"data", b"data/a"]
    assert not (pair.cli / "sup/demo/list").exists()
    pair.logged(" default 0 Success")


def test_backup_and_noaccount(pair: Pair) -> None:
    """Row 11."""
    pair.options = "backup"
    pair.serve("upgrade data\nbackup data/bk\nnoaccount data/na\n", bk="v1", na="v1")
    (pair.srv / "data/na").chmod(0o755)
    pair.sup()
    assert stat.S_IMODE(os.stat(pair.cli / "data/na").st_mode) == 0o600
    for version, flags, kept in (("v2", (), "v1"), ("v3", (), "v2"), ("v4", ("-B",), "v2")):
        next_second()
        for name in ("bk", "na"):
            write(pair.srv, f"data/{name}", version.encode(), mtime=1_700_000_000 + ord(version[1]))
        pair.sup(*flags)
        assert pair.got("data/bk") == pair.got("data/na") == version
        assert pair.got("data/BACKUP/bk") == kept
        assert not (pair.cli / "data/BACKUP/na").exists()
    assert os.stat(pair.cli / "data/na").st_mtime == os.stat(pair.srv / "data/na").st_mtime


def test_execute(pair: Pair) -> None:
    """Row 12."""
    pair.serve(
        "upgrade data\nexecute echo %s >> ran (data/a data/b)\nexecute false (data/bad)\n", a="a", b="b"
    )
    next_second()
    said = pair.sup("-v")
    assert "Please execute echo data/a >> ran" in said
    assert pair.got("ran") is None
    next_second()
    (pair.srv / "data/a").chmod(0o600)
    pair.sup("-e")
    assert pair.got("ran") == "data/a\n"
    when = pair.when()
    next_second()
    write(pair.srv, "data/bad", b"x")
    assert "completed with errors" in pair.sup("-v", "-e")
    assert pair.when() == when


def test_compression(pair: Pair) -> None:
    """Row 17."""
    pair.serve("upgrade data\nsymlink data/sl\n", a="a" * 100_000, empty="")
    write(pair.srv, "data/random", os.urandom(700_000))
    write(pair.srv, "data/large", b"x" * 5_000_000)
    (pair.srv / "data/sl").symlink_to("a")
    assert "completed" in pair.sup("-v", "-z")
    assert snapshot(pair.cli) == snapshot(pair.srv)
    for name in ("a", "large"):
        (pair.cli / "data" / name).unlink()
    pair.sup("-a", options="compress")
    assert snapshot(pair.cli) == snapshot(pair.srv)


def test_list_only(pair: Pair) -> None:
    """Row 18."""
    pair.serve("upgrade data\nsymlink data/sl\n", a="a", b="b")
    (pair.srv / "data/sl").symlink_to("a")
    log = pair.control("logfile", "")
    said = pair.sup("-v", "-f")
    assert "Would create file data/a" in said or "Would receive new file data/a" in said
    assert pair.names() == set()
    assert pair.when() is None
    pair.sup()
    next_second()
    write(pair.srv, "data/a", b"changed", mtime=1_700_000_001)
    os.utime(pair.srv / "data/b", (1_700_000_000, 1_700_000_000))
    said = pair.sup("-v", "-f")
    assert "Would receive file data/a" in said or "Would receive" in said
    assert "Would update file data/b" in said
    assert pair.got("data/a") == "a"
    assert log.read_text().count("\n") == 1


def test_refused_names(pair: Pair) -> None:
    """Row 19."""
    pair.serve(a="a", b="b")
    for name in ("d1/x", "d2/y", "d3/z"):
        write(pair.srv, f"data/{name}", b"x")
    (pair.cli / "sup/demo").mkdir(parents=True)
    (pair.cli / "sup/demo/refuse").write_text("#c\ndata/a\ndata/d1\n./data/d2\ndata/d3/\ndata/b*\n")
    pair.sup()
    assert pair.names() == {"data", "data/b", "data/d3", "data/d3/z"}
    assert pair.last() == [b"data", b"data/b", b"data/d3", b"data/d3/z"]


def test_times_flag_silence_and_system(pair: Pair) -> None:
    """Row 25, as far as a server is concerned."""
    pair.serve(a="a")
    pair.sup("-u")
    assert os.stat(pair.cli / "data/a").st_mtime > 1_700_000_000
    assert "Receiving file data/a" in pair.sup("-v", "-o")
    assert "Last update occurred at" in pair.sup("-t")
    assert pair.sup("-S", "-o") == ""


@our_server
def test_owners_without_a_name(pair: PairOfOurServer) -> None:
    """Row 26: Debian's server crashes; ours sends no name, and the client takes its own account."""
    pair.serve(a="a", b="b")
    os.chown(pair.srv / "data/a", 3_999_999, 3_999_998)
    os.chown(pair.srv / "data/b", 0, 3_999_998)
    (pair.srv / "data/a").chmod(0o6755)
    (pair.srv / "data/b").chmod(0o2755)
    assert "completed" in pair.sup("-v")
    status = os.stat(pair.cli / "data/a")
    assert (status.st_uid, status.st_gid) == (0, 0)
    assert stat.S_IMODE(status.st_mode) == 0o755
    assert stat.S_IMODE(os.stat(pair.cli / "data/b").st_mode) == 0o755


def test_several_collections(pair: Pair, tmp_path: Path) -> None:
    """Row 27."""
    pair.serve(a="a")
    other, bad = tmp_path / "other", tmp_path / "bad"
    for place in (other, bad):
        place.mkdir()
    first = pair.line()
    broken = pair.line(name="broken").replace(str(pair.cli), str(bad))
    last = pair.line().replace(str(pair.cli), str(other))
    said = pair.sup("-v", lines=first + broken + last)
    assert said.count("completed") == 2
    assert "Upgrade of broken aborted" in said
    assert (other / "data/a").read_text() == pair.got("data/a") == "a"


@pytest.mark.soak
@our_server
def test_no_change_is_missed_in_the_second_of_the_scan(
    pair: PairOfOurServer, rounds: Callable[[int, int], int]
) -> None:
    """Row 29, and our deviation from it: the scan time is the second before."""
    pair.serve(a="0")
    for round_ in range(1, rounds(6, 200)):
        pair.sup()
        write(pair.srv, "data/a", str(round_).encode(), mtime=1_700_000_000 + round_)
        pair.sup()
        assert pair.got("data/a") == str(round_)


def test_times_beyond_32_bits_and_before_1970(pair: Pair) -> None:
    """Row 29."""
    pair.serve(late="late", early="early")
    os.utime(pair.srv / "data/late", (2208988800, 2208988800))
    os.utime(pair.srv / "data/early", (-631152000, -631152000))
    pair.sup()
    assert os.stat(pair.cli / "data/late").st_mtime == -2085978496
    assert os.stat(pair.cli / "data/early").st_mtime == -631152000
    next_second()
    pair.sup()
    assert "Receiving" not in pair.sup("-v", "-o")


@our_server
def test_files_beyond_2_gib_are_denied(pair: PairOfOurServer) -> None:
    """Row 29, and our deviation from it."""
    pair.serve(a="a")
    for name, size in (("big", 2**31), ("bigger", 2**32 + 5)):
        write(pair.srv, f"data/{name}")
        os.truncate(pair.srv / f"data/{name}", size)
    said = pair.sup("-v")
    assert "Access denied to data/big" in said
    assert "Access denied to data/bigger" in said
    assert "completed at" in said
    assert pair.names() == {"data", "data/a"}
    assert pair.server.logged("data/bigger is not served: longer than 2 GiB")


@our_server
def test_a_directory_replaced_by_a_link(pair: PairOfOurServer) -> None:
    """Row 31, the server's side: the link is followed, and the same names stay."""
    pair.options = "delete"
    pair.serve("upgrade data\n")
    write(pair.srv, "data/dir/x", b"x")
    pair.sup()
    next_second()
    (pair.srv / "data/dir").rename(pair.srv / "moved")
    (pair.srv / "data/dir").symlink_to("../moved")
    write(pair.srv, "moved/y", b"y")
    pair.sup("-v")
    assert pair.names() == {"data", "data/dir", "data/dir/x", "data/dir/y"}
    (pair.srv / "data/dir").unlink()
    (pair.srv / "data/dir").symlink_to("/etc")
    pair.sup("-v")
    assert pair.names() == {"data"}


def test_local_changes_that_are_not_repaired(pair: Pair) -> None:
    """Row 39: nothing of this is the server's doing."""
    pair.serve("upgrade data\nsymlink data/sl\n", a="a")
    (pair.srv / "data/sl").symlink_to("a")
    pair.sup()
    next_second()
    pair.sup()
    (pair.cli / "data/sl").unlink()
    (pair.cli / "data/sl").symlink_to("elsewhere")
    (pair.cli / "data/a").unlink()
    pair.sup("-d")
    assert pair.got("data/a") is None
    pair.sup("-o")
    assert pair.got("data/a") == "a"
    assert os.readlink(pair.cli / "data/sl") == "elsewhere"


def test_lines_of_the_logfile(pair: Pair) -> None:
    """SUP 6.6, to the letter."""
    pair.serve(a="a")
    log = pair.control("logfile", "")
    began = int(time.time())
    pair.sup()
    pair.logged("Success\n")
    when = pair.when()
    assert when is not None
    pair.sup()
    wait_until(lambda: log.read_text().count("\n") == 2, "the second line")
    moments = {time.ctime(moment)[4:19] for moment in range(began, int(time.time()) + 1)}
    for line, lasttime in zip(log.read_text().splitlines(), (0, when), strict=True):
        since, start, finish, rest = line[:15], line[16:31], line[32:47], line[48:]
        assert since == time.ctime(lasttime)[4:19]
        assert {start, finish} <= moments
        assert re.fullmatch(r"\S+ default 0 Success", rest)
        assert line == f"{since} {start} {finish} {rest}"
