"""The database of a domain: what was saved is there again, durable, or refused whole."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs
import pytest

from netinfo import store as store_module
from netinfo.access import Caller
from netinfo.domain import Domain
from netinfo.events import Changed, Replaced
from netinfo.generation import NEXT
from netinfo.rawformat import Branch, branch_of, plant
from netinfo.store import GroupCommit, Store, StoreError
from netinfo.tree import Commit, Image, Tree, image_of
from wire.formats.netinfo import NI_INDEX_NULL, CreateArgs, ListArgs, LookupArgs, NiStatus, Property

ODD = Property(b'\xff\x00odd "\\\n', (b"", b"\xc3\xa9", b"\xe9", b"]", b"\xed\xb3\xa9"))


def a_tree() -> Tree:
    leaves = tuple(Branch((Property(b"name", (b"leaf%d" % i,)), ODD)) for i in range(5))
    return plant(Branch((Property(b"master", (b"h/t",)),), (Branch((), leaves), Branch())))


def same(one: Tree, other: Tree) -> bool:
    return (
        [d.to_object() for d in one.walk()] == [d.to_object() for d in other.walk()]
        and [d.version for d in one.walk()] == [d.version for d in other.walk()]
        and one.totals == other.totals
        and list(one.vacancies()) == list(other.vacancies())
    )


def test_new_database_is_empty(tmp_path: Path) -> None:
    store = Store(tmp_path / "t.sqlite")
    assert store.load().directories == {}
    store.close()
    assert (tmp_path / "t.sqlite").stat().st_mode & 0o777 == 0o600


def test_whole_domain_comes_back(tmp_path: Path) -> None:
    tree = a_tree()
    store = Store(tmp_path / "t.sqlite")
    store.save([image_of(tree)])
    store.close()
    store = Store(tmp_path / "t.sqlite")
    assert same(store.load(), tree)
    store.close()


def test_commits_come_back_in_one_transaction(tmp_path: Path) -> None:
    tree = a_tree()
    store = Store(tmp_path / "t.sqlite")
    store.save([image_of(tree)])
    commits: list[Commit] = []
    leaves = tree.directories[1]
    for where in (0, 1, 3, 3, NI_INDEX_NULL):
        commits.append(tree.create(leaves, (Property(b"where", (b"%d" % where,)),), where)[1])
    commits.append(tree.destroy(tree.directories[2]))
    commits.append(tree.destroy(tree.directories[4]))
    commits.append(tree.write(tree.directories[0], (ODD, ODD)))
    commits.append(tree.create(tree.directories[0], (), 0)[1])
    store.save(commits)
    store.save([])
    assert same(store.load(), tree)
    store.close()


def test_undone_commit_leaves_what_is_stored(tmp_path: Path) -> None:
    tree = a_tree()
    store = Store(tmp_path / "t.sqlite")
    store.save([image_of(tree)])
    first = tree.write(tree.directories[3], ())
    second = tree.destroy(tree.directories[3])
    tree.undo(second)
    tree.undo(first)
    assert same(store.load(), tree)
    store.close()


def test_second_server_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "t.sqlite")
    with pytest.raises(StoreError, match=r"t\.sqlite is in use by another server"):
        Store(tmp_path / "t.sqlite")
    store.close()
    Store(tmp_path / "t.sqlite").close()


def test_unreachable_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/t\.sqlite\.lock cannot be opened"):
        Store(tmp_path / "nowhere" / "t.sqlite")


def filled(path: Path) -> Path:
    store = Store(path)
    store.save([image_of(a_tree())])
    store.close()
    return path


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    path.write_bytes(b"this is no database" * 100)
    path.chmod(0o644)
    with pytest.raises(StoreError, match=r"t\.sqlite is not a NetInfo database"):
        Store(path)
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == [path.name]
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE other (a)").connection.commit()
    with pytest.raises(StoreError, match=r"t\.sqlite is not a NetInfo database"):
        Store(path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_and_left_alone(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Such as /dev/null, which a server of root could close to everybody else."""
    path = tmp_path / "thing"
    make(path)
    mode = path.stat().st_mode
    with pytest.raises(StoreError, match=r"thing is not a NetInfo database"):
        Store(path)
    assert path.stat().st_mode == mode
    assert os.listdir(tmp_path) == [path.name]


def test_newer_format_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "t.sqlite")
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(StoreError, match="has format 2; this program knows format 1"):
        Store(path)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("UPDATE directory SET properties = '[]' WHERE number = 3", "directory 3 is not as it was written"),
        ("UPDATE directory SET properties = x'00' WHERE number = 3", "directory 3 is not as it was written"),
        ("UPDATE directory SET parent = 2 WHERE number = 3", "directory 3 is not as it was written"),
        ("DELETE FROM directory WHERE number = 1", "cannot be reached from the root"),
        ("DELETE FROM directory WHERE number = 0", "there is no root"),
        ("DELETE FROM directory WHERE number = 6", "the checksum is"),
        ("UPDATE totals SET checksum = 1", "should be 1"),
        ("UPDATE totals SET slots = 3", "beyond the highest number, 2"),
        ("UPDATE totals SET slots = 1 << 40", "beyond the limit"),
        ("DELETE FROM totals", "it has no totals"),
    ],
)
def test_damaged_content_is_refused(tmp_path: Path, damage: str, sentence: str) -> None:
    path = filled(tmp_path / "t.sqlite")
    database = sqlite3.connect(path)
    database.execute(damage)
    database.commit()
    database.close()
    store = Store(path)
    with pytest.raises(StoreError, match=sentence) as caught:
        store.load()
    assert "t.sqlite is damaged" in str(caught.value)
    store.close()


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    store = Store(path)
    store.save([image_of(plant(Branch((), (Branch((ODD,)),) * 2000)))])
    store.close()
    pages = bytearray(path.read_bytes())
    pages[4096 * 5 : 4096 * 6] = bytes(4096)
    path.write_bytes(pages)
    with pytest.raises(StoreError, match=r"t\.sqlite is damaged|malformed"):
        Store(path)


def test_full_disk_is_told_and_nothing_saved(tmp_path: Path) -> None:
    tree = a_tree()
    store = Store(tmp_path / "t.sqlite")
    store.save([image_of(tree)])
    store._database.execute("PRAGMA max_page_count = 8")
    before = image_of(tree)
    commits = [
        tree.create(tree.directories[0], (Property(b"big", (b"x" * 60_000,)),), 0)[1] for _ in range(4)
    ]
    with pytest.raises(StoreError, match="full") as caught:
        store.save(commits)
    assert caught.value.full
    for commit in reversed(commits):
        tree.undo(commit)
    assert image_of(tree) == before
    assert same(store.load(), tree)
    store.close()


def test_image_and_the_changes_after_it_are_saved_together_or_not_at_all(tmp_path: Path) -> None:
    """A clone's transfer and the update that follows it may share a transaction."""
    tree, other = a_tree(), plant(Branch((), (Branch(), Branch())))
    store = Store(tmp_path / "t.sqlite")
    store.save([image_of(tree)])
    store._database.execute("PRAGMA max_page_count = 8")
    transferred = image_of(other)
    small = other.write(other.directories[1], (ODD,))
    big = other.write(other.directories[2], (Property(b"big", (b"x" * 60_000,)),))
    with pytest.raises(StoreError, match="full"):
        store.save([transferred, small, big])
    assert same(store.load(), tree)
    other.undo(big)
    store.save([tree.write(tree.directories[1], ()), transferred, small])
    assert same(store.load(), other)
    store.close()


def test_new_database_that_cannot_be_filled_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    store = Store(path)
    store._database.execute("PRAGMA max_page_count = 8")
    with pytest.raises(StoreError, match="full"):
        store.begin(image_of(plant(Branch((), (Branch((ODD,)),) * 2000))))
    store.close()
    assert not path.exists()


def test_new_database_that_cannot_be_made_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SCHEMA", "CREATE TABLE totals (checksum, slots, version); nonsense")
    with pytest.raises(StoreError, match=r"t\.sqlite: .*syntax error"):
        Store(tmp_path / "t.sqlite")
    assert not (tmp_path / "t.sqlite").exists()


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """What survives a loss of power cannot be shown without one: the settings that SQLite promises it for are."""
    store = Store(tmp_path / "t.sqlite")
    settings = [
        store._database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
    ]
    assert settings == ["wal", 2], "2: FULL, the log is synced before COMMIT returns"
    store.close()


WRITER = """
import sys
from pathlib import Path
from netinfo.store import Store
from netinfo.rawformat import Branch, plant
from netinfo.tree import image_of
from wire.formats.netinfo import Property
store = Store(Path(sys.argv[1]))
tree = store.load()
if not tree.directories:
    store.save([image_of(plant(Branch()))])
    tree = store.load()
number = len(tree.directories)
while True:
    _, commit = tree.create(tree.directories[0], (Property(b"name", (b"%d" % number,)),), 0)
    store.save([commit])
    print(number, tree.checksum, flush=True)
    number += 1
"""


def test_acknowledged_changes_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    written = 0
    for after in (3, 40, 1, 17):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        ) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(after)]
            os.kill(writer.pid, signal.SIGKILL)
            lines += writer.stdout.readlines()
        acknowledged = [line.split() for line in lines if line.endswith("\n")]
        written = int(acknowledged[-1][0])
        store = Store(path)
        tree = store.load()
        store.close()
        assert len(tree.directories) in (
            written + 1,
            written + 2,
        )  # the kill may fall between commit and print
        if len(tree.directories) == written + 1:
            assert tree.checksum == int(acknowledged[-1][1])
        assert {d.properties[0].values[0] for d in tree.children(tree.directories[0])} >= {
            b"%d" % n for n in range(1, written + 1)
        }
    assert written >= 61


# --- group commit -----------------------------------------------------------------------------------------------


class Owner:
    """What a server does around GroupCommit, with a queue in place of a reactor."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path)
        self.domain = Domain(b"t", self.store.load(NEXT))
        self.results: list[StoreError | None] = []
        self.told = threading.Condition()
        self.group = GroupCommit(self.store, self.deliver)

    def deliver(self, function: object) -> None:
        assert callable(function)
        with self.told:
            function()
            self.told.notify()

    def create(self) -> Changed:
        root = self.domain.tree.directories[0]
        return Changed(self.domain.tree.create(root, (), 0)[1])

    def wait(self, count: int) -> None:
        with self.told:
            assert self.told.wait_for(lambda: len(self.results) >= count, timeout=30)


def test_group_commit_saves_in_order(tmp_path: Path) -> None:
    filled(tmp_path / "t.sqlite")
    owner = Owner(tmp_path / "t.sqlite")
    for _ in range(50):
        owner.group.submit([owner.create(), owner.create()], owner.results.append)
    owner.wait(50)
    assert owner.results == [None] * 50
    owner.group.submit([Replaced(a_tree(), image_of(a_tree()))], owner.results.append)
    owner.domain.tree = a_tree()
    owner.group.submit([owner.create()], owner.results.append)
    owner.group.close()
    assert owner.results == [None] * 52
    store = Store(tmp_path / "t.sqlite")
    assert same(store.load(), owner.domain.tree)
    store.close()


def test_changes_that_wait_share_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "t.sqlite")
    owner = Owner(tmp_path / "t.sqlite")
    sizes: list[int] = []
    begun, disk = threading.Event(), threading.Event()
    save = Store.save

    def slow(store: Store, work: Iterable[Commit | Image]) -> None:
        listed = list(work)
        sizes.append(len(listed))
        begun.set()
        assert disk.wait(30)
        save(store, listed)

    monkeypatch.setattr(Store, "save", slow)
    owner.group.submit([owner.create()], owner.results.append)
    assert begun.wait(30)
    for _ in range(9):
        owner.group.submit([owner.create()], owner.results.append)
    disk.set()
    owner.group.close()
    assert owner.results == [None] * 10
    assert sizes == [1, 9]
    store = Store(tmp_path / "t.sqlite")
    assert same(store.load(), owner.domain.tree)
    store.close()


def test_group_commit_fails_all_that_follows_until_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "t.sqlite")
    owner = Owner(tmp_path / "t.sqlite")
    before = image_of(owner.domain.tree)
    broken = True
    save = Store.save

    def failing(store: Store, commits: object) -> None:
        if broken:
            raise StoreError("no space", full=True)
        save(store, commits)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "save", failing)
    first = owner.create()
    owner.group.submit([first], owner.results.append)
    owner.wait(1)
    broken = False
    second = owner.create()
    owner.group.submit([second], owner.results.append)
    owner.wait(2)
    assert [str(result) for result in owner.results] == ["no space", "no space"]
    owner.domain.undo([first, second])
    assert image_of(owner.domain.tree) == before
    owner.group.resume()
    owner.group.submit([owner.create()], owner.results.append)
    owner.group.close()
    assert owner.results[2] is None
    store = Store(tmp_path / "t.sqlite")
    assert same(store.load(), owner.domain.tree)
    assert branch_of(owner.domain.tree, owner.domain.tree.directories[0]).children[0] == Branch()
    store.close()


@pytest.mark.soak
def test_a_hundred_thousand_directories_under_one_parent(
    tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    count = rounds(20_000, 100_000)
    children = tuple(
        Branch((Property(b"name", (b"h%06d" % n,)), Property(b"uid", (b"%d" % n,)))) for n in range(count)
    )
    store = Store(tmp_path / "t.sqlite")
    store.save([image_of(plant(Branch((), (Branch((Property(b"name", (b"big",)),), children),))))])
    tree = store.load()
    big = tree.path(b"big")
    assert big is not None
    assert len(tree.directories) == count + 2
    for n in (0, 1, 17_777, count - 1):
        assert list(tree.find(big, b"name", b"h%06d" % n)) == [n + 2]
        assert list(tree.find(big, b"uid", b"%d" % n)) == [n + 2]
    domain = Domain(b"t", tree)
    caller = Caller("127.0.0.1", 1000, own=True, superuser=True)
    for where in (0, 10_000, NI_INDEX_NULL):
        call = CreateArgs(big.id, (Property(b"name", (b"new",)),), where, None)
        assert domain.call(5, call, caller).status == NiStatus.NI_OK
    (hits, _) = attrs.astuple(
        domain.call(10, LookupArgs(big.id, b"name", b"new"), caller).body, recurse=False
    )
    assert [list(big.children).index(hit) for hit in hits] == [0, 10_000, count + 2]
    assert len(domain.call(11, ListArgs(big.id, b"name"), caller).body.entries) == count + 3
    changes = [event.commit for event in domain.take() if isinstance(event, Changed)]
    assert sum(len(commit.after) for commit in changes) == 6  # no sister was touched
    store.save(changes)
    assert same(store.load(), tree)
    store.close()
