"""The walk: from the rules of a list file to the entries of LIST, with what only the server keeps of them.

The walk goes through directories in any order and sorts at the end: a sorted list of names is all that
anybody sees of it. It looks at nothing but directory entries and inodes; contents are read when they are sent.
"""

import os
import stat
from collections.abc import Callable
from typing import TypeVar, dataclass_transform

import attrs

from sup.listfile import Rules
from sup.names import LONGEST_NAME, TOP, is_covered, is_refused
from sup.tree import LeavesTree, Tree, closing_fd
from wire.formats.sup import FILE_TYPE, EntryFlag, ListEntry

MAX_ENTRIES = 5_000_000
"""Entries of one list."""

NEW, BACKUP, NOACCOUNT = int(EntryFlag.NEW), int(EntryFlag.BACKUP), int(EntryFlag.NOACCOUNT)

_Chain = tuple[int, int, "_Chain | None"]
"""Device and inode of a directory, and the same of the directory it was reached from."""

T = TypeVar("T")


class TooManyEntries(ValueError):
    """A collection has more names than the server lists."""


@dataclass_transform(frozen_default=True)
def _frozen(cls: type[T]) -> type[T]:
    """attrs.frozen, in the form in which type checkers see the fields that ListEntry brings along."""
    return attrs.frozen(cls)


@_frozen
class Entry(ListEntry):
    """One file of a collection: what LIST says of it, and what is needed when it is sent."""

    ctime: int
    """When its inode last changed, in seconds: what makes a file new for a client (SUP 4.1)."""
    commands: tuple[bytes, ...] = ()
    """Shell commands that go with it (SUP 6.1, execute)."""


@attrs.frozen
class Wanted:
    """Which files of a collection a client wants to hear of."""

    lasttime: int = 0
    """Scan time of its last upgrade; what changed later is new (SUP 4.1)."""
    newonly: bool = False
    """List new files only."""
    refused: frozenset[bytes] = frozenset()
    """Names it does not want (SUP 4.2)."""


EVERYTHING = Wanted()


def _nothing(*_: object) -> None:
    pass


@attrs.frozen
class Listener:
    """Hears of a walk while it goes on."""

    left_out: Callable[[bytes, str], None] = _nothing
    """A name that is asked for but cannot be served, and why. What the rules omit is not asked for."""
    entering: Callable[[bytes], None] = _nothing
    """A directory that is about to be listed."""


NOBODY = Listener()


def int32(number: int) -> int:
    """A time as the signed 32 bits of it that travel (SUP 4.3)."""
    return number if -0x80000000 <= number < 0x80000000 else (number + 0x80000000) % 0x100000000 - 0x80000000


def walk(
    tree: Tree,
    rules: Rules,
    wanted: Wanted = EVERYTHING,
    own: bytes = b"",
    listener: Listener = NOBODY,
    limit: int = MAX_ENTRIES,
) -> dict[bytes, Entry]:
    """The entries of a collection by name, in bytewise order of the names (SUP 6.1.3, 2.8).

    `own` is the directory of control files, left out unless a rule names it or something in it (SUP 6.9).
    Raises TooManyEntries beyond `limit` names.
    """
    walking = _Walk(tree, rules, wanted, own, listener, limit)
    for start in sorted(rules.upgrade | rules.always):
        walking.begin(start)
    return dict(sorted(walking.found.items()))


@attrs.define
class _Walk:
    tree: Tree
    rules: Rules
    wanted: Wanted
    own: bytes
    listener: Listener
    limit: int
    found: dict[bytes, Entry] = attrs.field(factory=dict)
    waiting: list[tuple[bytes, _Chain]] = attrs.field(factory=list)

    def begin(self, start: bytes) -> None:
        """Walk from an operand of upgrade or always."""
        always = start in self.rules.always
        if is_refused(start, self.wanted.refused):
            return
        if not always and (start in self.rules.omit or self._omitted_anywhere(start)):
            return
        try:
            above, _, base = start.rpartition(b"/")
            found = self.tree.lstat(start)
            self._enter(start, base, self.tree.directory(above or TOP), found, None)
        except OSError as error:
            self.listener.left_out(start, error.strerror or str(error))
        skipped = self.wanted.refused | {self.own}
        if not always:
            skipped |= self.rules.omit
        while self.waiting:
            self._directory(*self.waiting.pop(), skipped, always)

    def _omitted_anywhere(self, name: bytes) -> bool:
        return self.rules.omitany is not None and self.rules.omitany.match(name) is not None

    def _directory(self, directory: bytes, chain: _Chain, skipped: frozenset[bytes], always: bool) -> None:
        """List what is in a directory; its directories wait."""
        self.listener.entering(directory)
        omitany = None if always else self.rules.omitany
        lead = b"" if directory == TOP else directory + b"/"
        access, encode, regular = os.access, os.fsencode, stat.S_IFREG
        lasttime = self.wanted.lasttime if self.wanted.newonly else None
        try:
            fd = self.tree.open_directory(directory)
        except OSError as error:
            self.listener.left_out(directory, error.strerror or str(error))
            return
        with closing_fd(fd), os.scandir(fd) as entries:
            for item in entries:
                base = item.name
                name = lead + encode(base)
                if name in skipped or (omitany is not None and omitany.match(name)):
                    continue
                try:
                    found = item.stat(follow_symlinks=False)
                except OSError:  # gone since the directory was read
                    continue
                if found.st_mode & FILE_TYPE != regular:
                    self._enter(name, encode(base), fd, found, chain)
                elif lasttime is not None and int32(int(found[stat.ST_CTIME])) <= lasttime:
                    continue  # before the question whether it is readable, which takes as long as the rest
                elif access(base, os.R_OK, dir_fd=fd):
                    self._list(name, found)
                else:
                    self.listener.left_out(name, "not readable by the server's account")

    def _enter(self, name: bytes, base: bytes, fd: int, found: os.stat_result, chain: _Chain | None) -> None:
        """List anything that stands as `base` in the directory `fd`, following links that are not quoted."""
        linked = stat.S_ISLNK(found.st_mode)
        if linked:
            if name in self.rules.symlink or is_covered(name, self.rules.rsymlink):
                self._list(name, found)
                return
            try:
                found = self.tree.stat(name)
            except LeavesTree as error:
                self.listener.left_out(name, str(error.strerror))
                return
            except OSError:  # dangling, which the original skips without a word (SUP 4.5)
                return
        if not stat.S_ISDIR(found.st_mode):
            if os.access(base or b".", os.R_OK, dir_fd=fd):
                self._list(name, found)
            else:
                self.listener.left_out(name, "not readable by the server's account")
            return
        if not os.access(base or b".", os.R_OK | os.X_OK, dir_fd=fd):
            self.listener.left_out(name, "directory not readable by the server's account")
            return
        if linked and _is_in(found, chain):
            self.listener.left_out(name, "link to a directory that it is in")
            return
        self._list(name, found)
        self.waiting.append((name, (found.st_dev, found.st_ino, chain)))

    def _list(self, name: bytes, found: os.stat_result) -> None:
        ctime = int32(int(found[stat.ST_CTIME]))
        rules, wanted = self.rules, self.wanted
        if ctime > wanted.lasttime:
            flags = NEW
        elif wanted.newonly:
            return
        else:
            flags = 0
        if len(name) > LONGEST_NAME:
            self.listener.left_out(name, f"its name is longer than {LONGEST_NAME} bytes")
            return
        if name in rules.backup:
            flags |= BACKUP
        if name in rules.noaccount:
            flags |= NOACCOUNT
        mtime = int32(int(found[stat.ST_MTIME]))
        self.found[name] = Entry(name, found.st_mode, flags, mtime, ctime, rules.execute.get(name, ()))
        if len(self.found) > self.limit:
            raise TooManyEntries(f"Collection has more than {self.limit} names")


def _is_in(found: os.stat_result, chain: _Chain | None) -> bool:
    while chain is not None:
        device, inode, chain = chain
        if (device, inode) == (found.st_dev, found.st_ino):
            return True
    return False
