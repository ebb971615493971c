"""A domain on disk: one SQLite database, in which an acknowledged change survives kill -9 and loss of power.

One row for each directory, its properties as JSON (``[["name", "ann"], ["uid", "101"]]``), which a person can read
and SQLite itself can search (``json_each``). The write-ahead log is synced at every commit; `GroupCommit` lets the
changes of many clients share one sync. A database that is not whole is named and refused: half a domain would be
worse than none.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import attrs

from netinfo.events import Changed, Replaced
from netinfo.generation import NEXT, Generation
from netinfo.limits import LIMITS, Limits
from netinfo.tree import Commit, DamagedTreeError, Image, Record, State, Totals, Tree, Vacancy
from wire.formats.netinfo import Property

APPLICATION_ID = 0x4E494442
"""Marks an SQLite file as a NetInfo database ("NIDB")."""
SQLITE = b"SQLite format 3\0"
"""What every SQLite file begins with."""
FORMAT = 1
REMEDY = "Restore it from a backup, or import a dump into a new one"

SCHEMA = """
CREATE TABLE totals (checksum INTEGER NOT NULL, slots INTEGER NOT NULL, version INTEGER NOT NULL);
CREATE TABLE directory (
    number INTEGER PRIMARY KEY,
    instance INTEGER NOT NULL,
    version INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    position INTEGER NOT NULL,
    properties TEXT NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE vacancy (number INTEGER PRIMARY KEY, instance INTEGER NOT NULL);
"""

Row = tuple[int, int, int, int, int, str, int]


class StoreError(Exception):
    """A database that cannot be used, or a change that could not be written; the sentence names the file."""

    def __init__(self, sentence: str, *, full: bool = False) -> None:
        super().__init__(sentence)
        self.full = full
        """There is no space left on the disk."""


class Store:
    """The database of one domain. Not for two threads at once; `GroupCommit` takes it over."""

    def __init__(self, path: Path) -> None:
        """Open *path*, or make it. Raises StoreError if it is no whole NetInfo database or another server has it."""
        self.path = path
        with self._named_errors():
            self._refuse_foreign()
        self._lock = self._take_lock()
        new = not path.exists() or path.stat().st_size == 0
        try:
            with self._named_errors():
                self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                if new:
                    self._make()
                self._check()
                path.chmod(0o600)
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = FULL")
        except BaseException:
            if new:
                path.unlink(missing_ok=True)  # while nobody else can have opened it
            self.close()
            raise

    def close(self) -> None:
        """Let go of the database; everything saved is in it."""
        if hasattr(self, "_database"):
            self._database.close()
        self._lock.close()

    # --- opening ------------------------------------------------------------------------------------------------

    def _refuse_foreign(self) -> None:
        """What is no database is not touched: it gets no lock beside it, and keeps its mode."""
        if not self.path.exists():
            return
        if self.path.is_file():  # neither a directory nor a pipe nor /dev/null
            with self.path.open("rb") as file:
                if file.read(len(SQLITE)) in (b"", SQLITE):
                    return
        raise StoreError(f"{self.path} is not a NetInfo database")

    def _take_lock(self) -> IO[bytes]:
        name = self.path.with_name(self.path.name + ".lock")
        try:
            lock = name.open("ab")
        except OSError as error:
            raise StoreError(f"{name} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise StoreError(f"{self.path} is in use by another server") from None
        return lock

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            raise StoreError(f"{self.path}: {error}", full=full) from error
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._named_errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _make(self) -> None:
        self._database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._database.execute(f"PRAGMA user_version = {FORMAT}")
        self._database.executescript(SCHEMA)
        self._database.execute("INSERT INTO totals VALUES (0, 0, 0)")

    def _check(self) -> None:
        if self._number("PRAGMA application_id") != APPLICATION_ID:
            raise StoreError(f"{self.path} is not a NetInfo database")
        version = self._number("PRAGMA user_version")
        if version != FORMAT:
            raise StoreError(f"{self.path} has format {version}; this program knows format {FORMAT}")
        (verdict,) = self._database.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise StoreError(f"{self.path} is damaged: {verdict}. {REMEDY}")

    def _number(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])

    # --- reading ------------------------------------------------------------------------------------------------

    def load(self, generation: Generation = NEXT, limits: Limits = LIMITS) -> Tree:
        """The domain, empty in a new database. Raises StoreError if what is there is no whole domain."""
        with self._named_errors():
            rows = self._database.execute("SELECT * FROM directory")
            totals = self._database.execute("SELECT * FROM totals").fetchall()
            if len(totals) != 1:
                raise StoreError(f"{self.path} is damaged: it has no totals")
            vacancies = [Vacancy(*row) for row in self._database.execute("SELECT * FROM vacancy")]
            try:
                return Tree.load(map(_from_row, rows), vacancies, Totals(*totals[0]), generation, limits)
            except DamagedTreeError as error:
                raise StoreError(f"{self.path} is damaged: {error}. {REMEDY}") from error

    # --- writing ------------------------------------------------------------------------------------------------

    def begin(self, image: Image) -> None:
        """Save the first content of a new database. Raises StoreError; the file is then removed, as if there had never
        been one: an empty one would be in the way of the next attempt.
        """
        try:
            self.save([image])
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise

    def save(self, work: Iterable[Commit | Image]) -> None:
        """Make changes durable, all or none, in one transaction; an image takes the place of all that was before it.

        Raises StoreError, and has saved nothing.
        """
        latest: dict[int, State] = {}
        totals, anew = None, False
        for item in work:
            totals = item.totals
            if isinstance(item, Image):
                anew = True
                latest = {state.number: state for state in item.states}
            else:
                latest.update((state.number, state) for state in item.after)
        if totals is None:
            return
        with self._transaction() as database:
            if anew:
                database.execute("DELETE FROM directory")
                database.execute("DELETE FROM vacancy")
            _write(database, latest.values())
            database.execute("UPDATE totals SET checksum = ?, slots = ?, version = ?", attrs.astuple(totals))


def _write(database: sqlite3.Connection, states: Iterable[State]) -> None:
    kept: list[Row] = []
    gone: list[tuple[int, int]] = []
    for state in states:
        if isinstance(state, Record):
            kept.append(_to_row(state))
        else:
            gone.append((state.number, state.instance))
    database.executemany("INSERT OR REPLACE INTO directory VALUES (?, ?, ?, ?, ?, ?, ?)", kept)
    database.executemany("DELETE FROM vacancy WHERE number = ?", [row[:1] for row in kept])
    database.executemany("DELETE FROM directory WHERE number = ?", [row[:1] for row in gone])
    database.executemany("INSERT OR REPLACE INTO vacancy VALUES (?, ?)", gone)


def _crc(number: int, instance: int, version: int, parent: int, position: int, properties: str) -> int:
    """What SQLite does not notice: a bit that changed inside a row."""
    return zlib.crc32(f"{number} {instance} {version} {parent} {position} {properties}".encode())


def _to_row(record: Record) -> Row:
    # Names are bytes of any kind; what is no UTF-8 is escaped as Python does it in file names.
    listed = [
        [name.decode("utf-8", "surrogateescape") for name in (prop.name, *prop.values)]
        for prop in record.properties
    ]
    text = json.dumps(listed)
    numbers = (record.number, record.instance, record.version, record.parent, record.position)
    return (*numbers, text, _crc(*numbers, text))


def _from_row(row: Row) -> Record:
    number, instance, version, parent, position, text, crc = row
    if _crc(number, instance, version, parent, position, text) != crc:
        raise DamagedTreeError(f"the row of directory {number} is not as it was written")
    properties = []
    for listed in json.loads(text):
        name, *values = [word.encode("utf-8", "surrogateescape") for word in listed]
        properties.append(Property(name, tuple(values)))
    return Record(number, instance, version, parent, position, tuple(properties))


# --- group commit -----------------------------------------------------------------------------------------------

Done = Callable[[StoreError | None], None]


class GroupCommit:
    """A thread that makes changes durable in the order they are handed in, as many in one sync as are waiting.

    After a failure nothing more is accepted until `resume`: changes already handed in build on the one that failed,
    and fail with it. The owner undoes them all in the domain, the latest first, and then calls `resume`.

    deliver: how a function is run where the domain lives, such as ``reactor.callFromThread``.
    """

    def __init__(self, store: Store, deliver: Callable[[Callable[[], None]], None]) -> None:
        self._store = store
        self._deliver = deliver
        self._wake = threading.Condition()
        self._waiting: list[tuple[list[Commit | Image], Done]] = []
        self._failure: StoreError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"store {store.path.name}", daemon=True)
        self._thread.start()

    def submit(self, events: Sequence[Changed | Replaced], done: Done) -> None:
        """Make these durable; then *done* is delivered with None, or with what went wrong."""
        work = [event.image if isinstance(event, Replaced) else event.commit for event in events]
        with self._wake:
            self._waiting.append((work, done))
            self._wake.notify()

    def resume(self) -> None:
        """All that failed has been undone in the domain: accept changes again."""
        with self._wake:
            self._failure = None

    def close(self) -> None:
        """Save what is waiting, stop the thread and close the store."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._store.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                group, self._waiting = self._waiting, []
                failure = self._failure
            if failure is None:
                try:
                    self._store.save(item for work, _ in group for item in work)
                except StoreError as error:
                    failure = error
                    with self._wake:
                        self._failure = failure
            self._deliver(lambda group=group, failure=failure: _tell(group, failure))  # type: ignore[misc]


def _tell(group: Sequence[tuple[object, Done]], failure: StoreError | None) -> None:
    for _, done in group:
        done(failure)
