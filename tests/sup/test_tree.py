"""A tree opens what is below its top directory or its roots, and nothing else, whatever links say."""

import errno
import os
from pathlib import Path

import pytest

from sup.tree import MAX_DEPTH, LeavesTree, Tree, is_within


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "d/e").mkdir(parents=True)
    (top / "d/e/f").write_bytes(b"hello")
    (top / "link").symlink_to("d/e/f")
    (top / "dirlink").symlink_to("d")
    (top / "dangling").symlink_to("nothing")
    (top / "loop").symlink_to("loop")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/secret").write_bytes(b"secret")
    (top / "away").symlink_to("../out")
    (top / "absolute").symlink_to(tmp_path / "out/secret")
    os.mkfifo(top / "fifo")
    return top


def test_reads_below_the_top(top: Path) -> None:
    with Tree(os.fsencode(top)) as tree:
        assert tree.read(b"d/e/f", 5) == b"hello"
        assert tree.lstat(b"d/e/f").st_size == 5
        assert os.path.samestat(os.fstat(tree.directory(b"d/e")), os.stat(top / "d/e"))
        assert os.path.samestat(os.fstat(tree.directory(b".")), os.stat(top))
        assert tree.readable(b"d/e/f")
        assert not tree.readable(b"d/e/g")
        with pytest.raises(FileNotFoundError):
            tree.open(b"d/x/f")


def test_follows_links_that_stay_inside(top: Path) -> None:
    with Tree(os.fsencode(top)) as tree:
        assert tree.read(b"link", 10) == b"hello"
        assert tree.read(b"dirlink/e/f", 10) == b"hello"
        assert tree.readlink(b"link") == b"d/e/f"
        assert os.path.samestat(tree.stat(b"link"), os.stat(top / "d/e/f"))
        assert os.path.samestat(tree.lstat(b"link"), os.lstat(top / "link"))
        assert os.path.samestat(tree.stat(b"dirlink"), os.stat(top / "d"))
        assert tree.readable(b"link")
        with pytest.raises(FileNotFoundError):
            tree.stat(b"dangling")
        with pytest.raises(OSError, match="loop"):
            tree.stat(b"loop")


@pytest.mark.parametrize("name", [b"away/secret", b"absolute", b"away"])
def test_does_not_follow_links_that_lead_out(top: Path, name: bytes) -> None:
    with Tree(os.fsencode(top)) as tree:
        for use in (tree.open, tree.stat) if name != b"away/secret" else (tree.open, tree.lstat):
            with pytest.raises(LeavesTree):
                use(name)
        assert not tree.readable(name)
    with Tree(os.fsencode(top), [os.fsencode(top.parent / "out")]) as tree:
        assert tree.readable(name)
        if name != b"away":
            assert tree.read(name, 10) == b"secret"


def test_a_directory_exchanged_for_a_link_is_not_followed_by_surprise(top: Path) -> None:
    with Tree(os.fsencode(top)) as tree:
        assert tree.read(b"d/e/f", 10) == b"hello"
        tree.directory(b".")
        (top / "d").rename(top / "was")
        (top / "d").symlink_to("../out")
        with pytest.raises(LeavesTree):
            tree.open(b"d/secret")


def test_only_regular_files_are_opened(top: Path) -> None:
    with Tree(os.fsencode(top)) as tree:
        for name in (b"fifo", b"d"):
            with pytest.raises(OSError, match="not a regular file"):
                tree.open(name)


def test_limits(top: Path) -> None:
    with Tree(os.fsencode(top)) as tree:
        with pytest.raises(OSError, match="longer than 4 bytes") as caught:
            tree.read(b"d/e/f", 4)
        assert caught.value.errno == errno.EFBIG
        with pytest.raises(OSError, match="directories deep"):
            tree.directory(b"/".join([b"d"] * (MAX_DEPTH + 1)))


def test_no_descriptor_is_left_open(top: Path) -> None:
    before = open_descriptors()
    with Tree(os.fsencode(top)) as tree:
        for name in (
            b"d/e/f",
            b"link",
            b"dirlink/e/f",
            b"absolute",
            b"dangling",
            b"fifo",
            b"away/secret",
            b"d/x/y",
        ):
            for use in (tree.open, tree.stat, tree.lstat, tree.readable, tree.readlink):
                try:
                    result = use(name)
                except OSError:
                    continue
                if use == tree.open:
                    assert isinstance(result, tuple)
                    os.close(result[0])
        held = open_descriptors() - before
        assert held <= 3
    assert open_descriptors() == before


def test_is_within() -> None:
    assert is_within(b"/a/b", b"/a")
    assert is_within(b"/a", b"/a")
    assert is_within(b"/a", b"/")
    assert not is_within(b"/ab", b"/a")
