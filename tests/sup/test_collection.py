"""A collection's control files and what a scan of it finds."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sup.collection import (
    Collection,
    CollectionError,
    HostNotPermitted,
    Locked,
    Scan,
    before,
    log_line,
)
from sup.releases import NoSuchRelease
from sup.walk import NEW, Wanted


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    for name in ("sup/demo/list", "data/a", "data/b", "p1/a", "p1/c", "p2/a", "p2/b"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(name)
    control(base, "list", "upgrade data\n")
    return base


def control(base: Path, name: str, text: str) -> None:
    (base / "sup/demo" / name).write_text(text)


@pytest.fixture
def demo(base: Path) -> Iterator[Collection]:
    with Collection(b"demo", os.fsencode(base), (os.fsencode(base),)) as demo:
        yield demo


def names(scan: Scan) -> list[bytes]:
    return [entry.name for entry in scan.entries()]


def scan(demo: Collection, wanted: Wanted = Wanted(), release: bytes | None = None, now: float = 1e9) -> Scan:  # noqa: B008
    return demo.scan(demo.chain(release), wanted, now)


def test_scan(demo: Collection) -> None:
    found = scan(demo)
    assert names(found) == [b"data", b"data/a", b"data/b"]
    assert found.scantime == 10**9 - 1


def test_the_scan_time_is_the_second_before() -> None:
    assert before(1000.0) == 999
    assert before(1000.999) == 999


def test_no_list_file(demo: Collection, base: Path) -> None:
    (base / "sup/demo/list").unlink()
    with pytest.raises(CollectionError, match=r"^Can't read list file sup/demo/list$"):
        scan(demo)


@pytest.mark.parametrize("text", ["upgrad data", "upgrade /etc", "upgrade ../x", "upgrade ~root"])
def test_bad_list_files(demo: Collection, base: Path, text: str) -> None:
    control(base, "list", text)
    with pytest.raises(CollectionError, match="ist file"):
        scan(demo)


def test_control_files_stay_out(demo: Collection, base: Path) -> None:
    control(base, "list", "upgrade . *\n")
    assert b"sup" not in names(scan(demo))
    assert b"sup/demo/list" not in names(scan(demo))
    control(base, "list", "upgrade sup/demo/list\n")
    assert names(scan(demo)) == [b"sup/demo/list"]


def test_the_compatibility_switch_lets_them_in(base: Path) -> None:
    control(base, "list", "upgrade .\n")
    with Collection(b"demo", os.fsencode(base), (os.fsencode(base),), historic=True) as demo:
        assert b"sup/demo/list" in names(scan(demo))


def test_includes_are_seen_from_the_base_even_with_a_prefix(demo: Collection, base: Path) -> None:
    control(base, "prefix", "# where\np1\nignored\n")
    control(base, "list", "include sup/demo/more.* sup/demo/none\n")
    control(base, "more.1", "upgrade a\n")
    control(base, "more.2", "upgrade c\n")
    assert names(scan(demo)) == [b"a", b"c"]


def test_prefix(demo: Collection, base: Path) -> None:
    control(base, "prefix", "p1\n")
    control(base, "list", "upgrade .\n")
    assert os.path.samestat(demo.data(), os.stat(base / "p1"))
    assert names(scan(demo)) == [b".", b"a", b"c"]


def test_the_base_as_prefix_still_keeps_control_files_out(demo: Collection, base: Path) -> None:
    control(base, "prefix", f"{base}\n")
    control(base, "list", "upgrade .\n")
    assert b"sup" not in names(scan(demo))


@pytest.mark.parametrize("prefix", ["none", "data/a", "/etc", ".."])
def test_prefixes_that_cannot_be_entered(demo: Collection, base: Path, prefix: str) -> None:
    control(base, "prefix", prefix + "\n")
    with pytest.raises(CollectionError, match=r"^Can't chdir to .* from base directory "):
        demo.data()
    control(base, "prefix", "")
    control(base, "releases", f"one prefix={prefix}\n")
    with pytest.raises(NoSuchRelease):
        demo.chain(b"one")


def test_a_prefix_in_another_root(base: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/z").touch()
    control(base, "prefix", f"{tmp_path}/other")
    control(base, "list", "upgrade z")
    with Collection(b"demo", os.fsencode(base), (os.fsencode(base), os.fsencode(tmp_path / "other"))) as demo:
        assert names(scan(demo)) == [b"z"]


def test_a_base_outside_the_roots(base: Path, tmp_path: Path) -> None:
    (tmp_path / "away").symlink_to(base)
    with pytest.raises(PermissionError):
        Collection(b"demo", os.fsencode(tmp_path / "away"), (os.fsencode(tmp_path / "roots"),))


def test_a_chain_takes_each_file_from_its_first_tree(demo: Collection, base: Path) -> None:
    control(base, "releases", "one prefix=p1 next=two\ntwo prefix=p2 list=list.two\n")
    control(base, "list", "upgrade .\n")
    control(base, "list.two", "upgrade a b\n")
    found = scan(demo, release=b"one")
    assert names(found) == [b".", b"a", b"b", b"c"]
    assert [list(part.entries) for part in found.parts] == [[b".", b"a", b"c"], [b"b"]]


def test_an_old_file_of_the_first_tree_hides_a_new_one_of_the_second(demo: Collection, base: Path) -> None:
    control(base, "releases", "one prefix=p1 next=two\ntwo prefix=p2\n")
    control(base, "list", "upgrade a b c\n")
    changed = max(os.stat(base / name).st_ctime for name in ("p1/a", "p1/c"))
    while os.stat(base / "p2/a").st_ctime < int(changed) + 1:
        (base / "p2/a").touch()
    assert names(scan(demo, Wanted(int(changed), newonly=True), b"one")) == []
    everything = scan(demo, Wanted(int(changed)), b"one").entries()
    assert [entry.flags & NEW for entry in everything] == [0, 0, 0]


def test_no_such_release(demo: Collection, base: Path) -> None:
    with pytest.raises(NoSuchRelease):
        demo.chain(b"one")
    control(base, "releases", "one colour=red\n")
    with pytest.raises(CollectionError, match="Invalid release option colour for release one"):
        demo.chain(b"one")


def test_hosts(demo: Collection, base: Path) -> None:
    def resolve(name: str) -> list[str]:
        return []

    assert demo.admit(demo.chain(None), "127.0.0.1", resolve) is None
    control(base, "host", "127.0.0.1 key\n")
    assert demo.admit(demo.chain(None), "127.0.0.1", resolve) == b"key"
    with pytest.raises(HostNotPermitted):
        demo.admit(demo.chain(None), "127.0.0.2", resolve)
    control(base, "host", "")
    with pytest.raises(HostNotPermitted):
        demo.admit(demo.chain(None), "127.0.0.1", resolve)
    control(base, "releases", "one prefix=p1 host=host.one next=two\ntwo prefix=p2 host=host.two\n")
    control(base, "host.one", "127.0.0.1 first\n")
    control(base, "host.two", "127.0.0.1 second\n127.0.0.2\n")
    assert demo.admit(demo.chain(b"one"), "127.0.0.1", resolve) == b"first"
    with pytest.raises(HostNotPermitted):
        demo.admit(demo.chain(b"one"), "127.0.0.2", resolve)


def test_crypt_key(demo: Collection, base: Path) -> None:
    assert demo.crypt_key() is None
    control(base, "crypt", "")
    assert demo.crypt_key() is None
    control(base, "crypt", "secret key\nmore\n")
    assert demo.crypt_key() == b"secret key"


def test_lock(demo: Collection, base: Path) -> None:
    demo.lock()
    control(base, "lock", "")
    with open(base / "sup/demo/lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(Locked):
            demo.lock()
    demo.lock()
    with open(base / "sup/demo/lock") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        demo.close()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_logfile(demo: Collection, base: Path) -> None:
    assert not demo.has_log()
    demo.log(b"never made\n")
    assert not (base / "sup/demo/logfile").exists()
    control(base, "logfile", "first\n")
    assert demo.has_log()
    demo.log(b"second\n")
    assert (base / "sup/demo/logfile").read_text() == "first\nsecond\n"
    (base / "sup/demo/logfile").unlink()
    (base / "sup/demo/logfile").symlink_to(base / "data/a")
    demo.log(b"third\n")
    assert (base / "data/a").read_text() == "data/a"


def test_log_line() -> None:
    line = log_line(0, 1795219339.5, 1795219340.1, "localhost", "default", 0, "Succ\ness")
    text = line.decode()
    assert text.endswith(" localhost default 0 Succ?ess\n")
    assert len(text.split(" localhost")[0]) == 3 * 15 + 2


def test_scan_file(demo: Collection, base: Path) -> None:
    control(base, "scan", "V2\n100644 5 7 data/x\n100644 900 7 data/y\n")
    os.utime(base / "sup/demo/scan", (1000, 1000))
    found = scan(demo)
    assert names(found) == [b"data/x", b"data/y"]
    assert found.scantime == 1000
    assert names(scan(demo, Wanted(5, newonly=True))) == [b"data/y"]
    assert names(scan(demo, Wanted(1000, newonly=True))) == []


def test_damaged_and_foreign_scan_files(demo: Collection, base: Path) -> None:
    control(base, "scan", "V2\ndamage\n")
    os.utime(base / "sup/demo/scan", (1000, 1000))
    assert names(scan(demo, Wanted(1000, newonly=True))) == []  # not even looked at
    with pytest.raises(CollectionError, match=r"^scanfile format inconsistent$"):
        scan(demo)
    control(base, "scan", "V3\ndamage\n")
    assert names(scan(demo)) == [b"data", b"data/a", b"data/b"]


def test_control_file_names_of_a_release_stay_in_their_directory(demo: Collection, base: Path) -> None:
    (base / "outside").write_text("upgrade data\n")
    control(base, "releases", "one list=../../outside\n")
    with pytest.raises(CollectionError, match="Can't read list file"):
        scan(demo, release=b"one")


def test_too_many_names(base: Path) -> None:
    with (
        Collection(b"demo", os.fsencode(base), (os.fsencode(base),), limit=2) as demo,
        pytest.raises(CollectionError, match="more than 2 names"),
    ):
        scan(demo)
