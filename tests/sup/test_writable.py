"""Nothing leaves the directory, nothing touches what is sealed, and read-only directories are given back."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sup.writable import MAX_DEPTH, Blocked, WritableTree, beneath, identity


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "file").write_text("precious")
    return directory


@pytest.fixture
def top(tmp_path: Path) -> Path:
    directory = tmp_path / "top"
    directory.mkdir()
    return directory


@pytest.fixture
def tree(top: Path) -> Iterator[WritableTree]:
    with WritableTree(os.fsencode(top)) as tree:
        yield tree


def make_all(tree: WritableTree, name: bytes, may_replace: bool = False) -> list[tuple[bytes, int | None]]:
    return [(made.name, made.replaced) for made in tree.make_parents(name, lambda _: may_replace)]


def test_directories_are_made_and_used(tree: WritableTree, top: Path) -> None:
    assert make_all(tree, b"a/b/c") == [(b"a", None), (b"a/b", None)]
    assert make_all(tree, b"a/b/c") == []
    os.close(tree.create(b"a/b/c"))
    assert (top / "a/b/c").stat().st_mode & 0o777 == 0o600
    assert tree.names(b"a/b") == [b"c"]
    found = tree.lstat(b"a/b/c")
    assert found is not None
    assert stat.S_ISREG(found.st_mode)
    tree.unlink(b"a/b/c")
    tree.remove_directory(b"a/b")
    assert tree.lstat(b"a/b/c") is None
    assert tree.names(b".") == [b"a"]


def test_a_name_in_the_way_goes_only_if_it_may(tree: WritableTree, top: Path) -> None:
    (top / "a").write_text("")
    with pytest.raises(Blocked, match="not a directory"):
        make_all(tree, b"a/b")
    ((name, replaced),) = make_all(tree, b"a/b", may_replace=True)
    assert name == b"a"
    assert replaced is not None
    assert stat.S_ISREG(replaced)
    assert (top / "a").is_dir()


def operations(tree: WritableTree, name: bytes, source_fd: int) -> dict[str, object]:
    """Every way to change what is called `name`, and what it does."""

    def close(fd: int) -> None:
        os.close(fd)

    return {
        "create": lambda: close(tree.create(name)),
        "make_directory": lambda: tree.make_directory(name),
        "symlink": lambda: tree.symlink(b"x", name),
        "rename_into": lambda: tree.rename_into(source_fd, b"source", name),
        "unlink": lambda: tree.unlink(name),
        "remove_directory": lambda: tree.remove_directory(name),
        "chmod": lambda: tree.chmod(name, 0o777),
        "chown": lambda: tree.chown(name, os.getuid(), os.getgid()),
        "set_times": lambda: tree.set_times(name, 0, 0),
        "open": lambda: close(tree.open(name)),
        "readlink": lambda: tree.readlink(name),
        "names": lambda: tree.names(name),
        "directory": lambda: tree.directory(name),
    }


OPERATIONS = tuple(operations(WritableTree.__new__(WritableTree), b"", 0))


def state(directory: Path) -> list[tuple[str, int, int, float]]:
    return [
        (str(path.relative_to(directory)), path.lstat().st_mode, path.lstat().st_uid, path.lstat().st_mtime)
        for path in sorted([directory, *directory.rglob("*")])
    ]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", [b"link/file", b"link/new", b"d/link/file", b"link/../outside/file"])
def test_nothing_is_done_through_a_link(
    tree: WritableTree, top: Path, outside: Path, tmp_path: Path, operation: str, name: bytes
) -> None:
    (tmp_path / "source").write_text("bad")
    (top / "d").mkdir()
    (top / "link").symlink_to(outside)
    (top / "d/link").symlink_to(outside)
    before = state(outside)
    source_fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(Blocked, match="symbolic link"):
            operations(tree, name, source_fd)[operation]()  # type: ignore[operator]
    finally:
        os.close(source_fd)
    assert state(outside) == before


def test_a_directory_that_becomes_a_link_is_noticed_when_it_is_opened_again(
    tree: WritableTree, top: Path, outside: Path
) -> None:
    (top / "d").mkdir()
    (top / "e").mkdir()
    os.close(tree.create(b"d/x"))
    os.close(tree.create(b"e/x"))
    (top / "d/x").unlink()
    (top / "d").rmdir()
    (top / "d").symlink_to(outside)
    with pytest.raises(Blocked):
        tree.create(b"d/x")


def test_the_leaf_itself_is_never_followed(tree: WritableTree, top: Path, outside: Path) -> None:
    (top / "link").symlink_to(outside / "file")
    before = state(outside)
    with pytest.raises(Blocked):
        tree.chmod(b"link", 0o777)
    with pytest.raises(OSError, match="symbolic link"):
        tree.open(b"link")
    tree.set_times(b"link", 0, 0)
    tree.chown(b"link", os.getuid(), os.getgid())
    assert state(outside) == before
    assert (top / "link").lstat().st_mtime == 0
    tree.unlink(b"link")
    assert state(outside) == before


def test_a_fifo_is_not_waited_for(tree: WritableTree, top: Path) -> None:
    os.mkfifo(top / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        tree.open(b"fifo")


def test_sealed_directories(tree: WritableTree, top: Path) -> None:
    (top / "sup/demo/deeper").mkdir(parents=True)
    (top / "sup/demo/when").write_text("1\n")
    fd = os.open(top / "sup/demo", os.O_RDONLY)
    tree.seal(identity(fd))
    os.close(fd)
    for name in (b"sup/demo/when", b"sup/demo/deeper/x", b"sup/demo/new"):
        assert tree.lstat(name) is None
        with pytest.raises(Blocked, match="control files"):
            tree.create(name)
        with pytest.raises(Blocked, match="control files"):
            make_all(tree, name, may_replace=True)
    with pytest.raises(Blocked, match="control files"):
        tree.remove_directory(b"sup/demo")
    os.close(tree.create(b"sup/other"))
    assert (top / "sup/demo/when").read_text() == "1\n"


def test_a_sealed_directory_is_known_by_any_name(top: Path) -> None:
    (top / "real/demo").mkdir(parents=True)
    (top / "alias").symlink_to("real")
    with WritableTree(os.fsencode(top), follow=True) as tree:
        fd = os.open(top / "real/demo", os.O_RDONLY)
        tree.seal(identity(fd))
        os.close(fd)
        with pytest.raises(Blocked, match="control files"):
            tree.create(b"alias/demo/when")


def test_sealing_holds_for_a_directory_already_open(tree: WritableTree, top: Path) -> None:
    (top / "d").mkdir()
    fd = os.dup(tree.directory(b"d"))
    tree.seal(identity(fd))
    os.close(fd)
    with pytest.raises(Blocked):
        tree.create(b"d/x")


def test_a_fixed_directory_lets_names_through(tree: WritableTree, top: Path) -> None:
    (top / "sup").mkdir()
    found = tree.lstat(b"sup")
    assert found is not None
    assert not tree.is_guarded(found)
    tree.fix((found.st_dev, found.st_ino))
    assert tree.is_guarded(found)
    os.close(tree.create(b"sup/x"))
    tree.unlink(b"sup/x")
    with pytest.raises(Blocked):
        tree.remove_directory(b"sup")


def test_local_links_are_followed_where_that_is_wanted(top: Path, outside: Path) -> None:
    (top / "link").symlink_to(outside)
    (top / "flink").symlink_to(outside / "file")
    with WritableTree(os.fsencode(top), follow=True) as tree:
        os.close(tree.create(b"link/new"))
        assert (outside / "new").exists()
        directory = tree.look(b"link")
        assert directory is not None
        assert stat.S_ISDIR(directory.st_mode)
        file = tree.look(b"flink")
        assert file is not None
        assert stat.S_ISLNK(file.st_mode)


def test_links_that_the_collection_brought_are_not_followed_even_then(top: Path, outside: Path) -> None:
    (top / "link").symlink_to(outside)
    with WritableTree(os.fsencode(top), follow=True) as tree:
        tree.distrusted.add(b"link")
        with pytest.raises(Blocked, match="collection brought"):
            tree.create(b"link/new")
        found = tree.look(b"link")
        assert found is not None
        assert stat.S_ISLNK(found.st_mode)


def test_too_deep(tree: WritableTree) -> None:
    with pytest.raises(Blocked, match="deep"):
        tree.directory(b"/".join([b"d"] * (MAX_DEPTH + 1)))
    with pytest.raises(Blocked, match="deep"):
        make_all(tree, b"/".join([b"new"] * (MAX_DEPTH + 2)))
    assert tree.lstat(b"new") is None


def test_a_name_that_no_file_system_holds(tree: WritableTree) -> None:
    assert tree.lstat(b"n" * 300) is None
    assert tree.lstat(b"n" * 300 + b"/file") is None


def test_a_deep_path_can_be_made(tree: WritableTree) -> None:
    name = b"/".join([b"d"] * 200)
    assert len(make_all(tree, name)) == 199


@pytest.mark.parametrize("mode", [0o755, 0o4755, 0o000, 0o2770])
def test_chmod(tree: WritableTree, top: Path, mode: int) -> None:
    (top / "f").write_text("")
    tree.chmod(b"f", mode)
    assert stat.S_IMODE((top / "f").stat().st_mode) == mode


def test_the_top_itself(tree: WritableTree, top: Path) -> None:
    tree.chmod(b".", 0o700)
    tree.set_times(b".", 0, 10**9)
    assert stat.S_IMODE(top.stat().st_mode) == 0o700
    assert top.stat().st_mtime == 1


@pytest.mark.root
def test_read_only_directories_are_unlocked_and_locked_again(top: Path) -> None:
    """Run as another user, since root may write anywhere."""
    os.chown(top, 65534, 65534)
    os.chmod(top.parent, 0o711)
    pid = os.fork()
    if pid == 0:  # the child has the rights of an ordinary user; what it finds is its exit status
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            fd = os.open(top, os.O_RDONLY)
            os.fchdir(fd)
            os.setuid(65534)
            with WritableTree(b".") as tree:
                tree.make_directory(b"d")
                os.close(tree.create(b"d/old"))
                tree.chmod(b"d", 0o555)
                tree.make_directory(b"d/new")
                tree.unlink(b"d/old")
                assert tree.names(b"d") == [b"new"]
                tree.relock()
                found = tree.lstat(b"d")
                assert found is not None
                assert stat.S_IMODE(found.st_mode) == 0o555
                tree.make_directory(b"d/newer")
                tree.chmod(b"d/.", 0o511)  # its new mode: the old one does not come back
                tree.make_directory(b"e")
                tree.chmod(b"e", 0o555)
                tree.make_directory(b"e/new")
            assert [stat.S_IMODE(os.stat(name).st_mode) for name in ("d", "e")] == [0o511, 0o555]
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((*OPERATIONS, "parents")),
            st.lists(st.sampled_from([b"a", b"b", b"out", b"deep"]), min_size=1, max_size=4).map(b"/".join),
        ),
        max_size=12,
    )
)
def test_no_sequence_of_changes_reaches_the_outside(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bytes]]
) -> None:
    room = tmp_path_factory.mktemp("room")
    outside, top = room / "outside", room / "top"
    (outside / "deep").mkdir(parents=True)
    (outside / "a").write_text("precious")
    top.mkdir()
    (top / "out").symlink_to(outside)
    before = state(outside)
    source_fd = os.open(room, os.O_RDONLY)
    with WritableTree(os.fsencode(top)) as tree:
        for step, name in steps:
            (room / "source").write_text("bad")
            try:
                if step == "parents":
                    make_all(tree, name, may_replace=True)
                else:
                    operations(tree, name, source_fd)[step]()  # type: ignore[operator]
            except OSError:
                pass
    os.close(source_fd)
    assert state(outside) == before


def test_what_has_changed_is_known(tree: WritableTree, top: Path) -> None:
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/c").touch()
    tree.lstat(b"a/b/c")
    assert tree.changed == set()
    tree.set_times(b"a/b/c", 0, 0)
    assert tree.changed == {b"a/b"}
    tree.chmod(b"a/b/.", 0o700)
    with tree.unfollowing() as same:
        same.unlink(b"a/b/c")
        same.remove_directory(b"a/b")
    tree.chown(b"a", os.getuid(), os.getgid())
    assert tree.changed == {b"a/b", b"a", b"."}


def test_beneath() -> None:
    assert [beneath(directory, b"x") for directory in (b"", b".", b"a", b"a/b")] == [
        b"x",
        b"x",
        b"a/x",
        b"a/b/x",
    ]
