"""What the server sends: from the names in NEED to RECV messages and the data of files (SUP 4.4 to 4.9).

`choose` looks at every needed name again and says which are denied; `Reader` then opens the files, some way
ahead of the client, so that the disk is never waited for between two of them. All of it may wait for the disk:
the server's shell calls it in a thread.
"""

import grp
import os
import pwd
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterable, Sequence

import attrs

from sup.collection import Scan
from sup.names import plain_name
from sup.tree import Tree
from sup.walk import Entry
from wire.formats.sup import FILE_TYPE, EntryFlag, NeedEntry, Recv

MAX_FILE = 2**31 - 1
"""Bytes of the largest file that a FILE block can announce (SUP 1.4)."""
CHUNK = 256 << 10
"""Bytes read, or packed, at a time; smaller files are read whole."""
PIECE = 512 << 10
"""Bytes read at a time of what is left of a long file: each time costs a change of threads."""
BATCH_BYTES = 256 << 10
"""Bytes of small files that are read ahead at a time."""
BATCH_FILES = 64
"""Files that are read ahead at a time."""

UPDATE, NEEDED = int(EntryFlag.UPDATE), int(EntryFlag.NEEDED)


class FileShrank(Exception):
    """A file became shorter than what was announced of it; the session cannot go on (SUP 3.3)."""


class CompressionFailed(Exception):
    """A file could not be packed; the text is what the client is told in GOAWAY (SUP 3.3)."""


@attrs.define
class Outgoing:
    """One RECV that is to be: a file, directory or link that the client needs."""

    entry: Entry
    tree: Tree
    update: bool
    uid: int = -1
    gid: int = -1
    links: list[bytes] = attrs.Factory(list)
    """Further needed names of the same file, or a symbolic link's target."""


@attrs.frozen
class Choice:
    """What becomes of a NEED."""

    outgoing: tuple[Outgoing, ...]
    """In the order of their RECVs: by tree, files ascending; then by tree, directories descending."""
    denied: tuple[bytes, ...]
    """Sorted."""


def choose(
    scan: Scan, needed: Iterable[NeedEntry], why: Callable[[bytes, str], None] = lambda name, reason: None
) -> Choice:
    """Look at each needed name again (SUP 4.9) and group hard links under the first of their names (SUP 4.4).

    Denied are names that are not in the scan, have vanished, changed their type, are neither file nor
    directory nor link (SUP 2.10), or are too long for a FILE block; `why` hears of those in the scan.
    """
    for part in scan.parts:
        part.tree.refresh()
    updates = {plain_name(need.name): bool(need.update) for need in needed}
    denied: list[bytes] = []
    chosen: list[list[Outgoing]] = [[] for _ in scan.parts]
    leaders: dict[tuple[int, int], Outgoing] = {}
    for name in sorted(updates):
        place = next((index for index, part in enumerate(scan.parts) if name in part.entries), None)
        if place is None:
            denied.append(name)
            continue
        part = scan.parts[place]
        outgoing = Outgoing(part.entries[name], part.tree, updates[name])
        try:
            leader = _examine(outgoing, leaders)
        except OSError as error:
            denied.append(name)
            why(name, error.strerror or str(error))
            continue
        if leader is outgoing:
            chosen[place].append(outgoing)
        else:
            leader.links.append(name)
    files = [one for part in chosen for one in part if not stat.S_ISDIR(one.entry.mode)]
    directories = [one for part in chosen for one in reversed(part) if stat.S_ISDIR(one.entry.mode)]
    return Choice((*files, *directories), tuple(denied))


def _examine(outgoing: Outgoing, leaders: dict[tuple[int, int], Outgoing]) -> Outgoing:
    """Fill in what is only looked at now; the result is the RECV in which it travels. Raises OSError."""
    entry, tree = outgoing.entry, outgoing.tree
    kind = entry.mode & FILE_TYPE
    found = tree.lstat(entry.name) if kind == stat.S_IFLNK else tree.stat(entry.name)
    if found.st_mode & FILE_TYPE != kind:
        raise OSError(0, "has become another type of file")
    if kind == stat.S_IFLNK:
        outgoing.links.append(tree.readlink(entry.name))
        return outgoing
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise OSError(0, "neither file, directory nor link")
    if kind == stat.S_IFREG:
        if found.st_size > MAX_FILE:
            raise OSError(0, "longer than 2 GiB, more than the protocol can send")
        if found.st_nlink > 1:
            leader = leaders.setdefault((found.st_dev, found.st_ino), outgoing)
            if leader is not outgoing:
                return leader
    outgoing.uid, outgoing.gid = found.st_uid, found.st_gid
    return outgoing


class Owners:
    """Names of users and groups by their numbers, each looked up once; one without a name is "" (SUP 4.8)."""

    def __init__(self) -> None:
        self._users: dict[int, bytes] = {}
        self._groups: dict[int, bytes] = {}

    def user(self, uid: int) -> bytes:
        if uid not in self._users:
            try:
                self._users[uid] = os.fsencode(pwd.getpwuid(uid).pw_name)
            except (KeyError, OverflowError):
                self._users[uid] = b""
        return self._users[uid]

    def group(self, gid: int) -> bytes:
        if gid not in self._groups:
            try:
                self._groups[gid] = os.fsencode(grp.getgrgid(gid).gr_name)
            except (KeyError, OverflowError):
                self._groups[gid] = b""
        return self._groups[gid]


@attrs.define
class Sendable:
    """A RECV ready to go, with the data of its file or the beginning of it."""

    recv: Recv
    data: bytes = b""
    file: int | None = None
    """Descriptor from which the rest of a long file is read; to be closed by `close`."""
    left: int = 0
    """Bytes of the rest."""

    def rest(self) -> bytes:
        """The next piece of a long file, empty after the last. Raises FileShrank if its end came too early."""
        if self.file is None or not self.left:
            return b""
        piece = os.read(self.file, min(self.left, PIECE))
        if not piece:
            raise FileShrank(f"{os.fsdecode(self.recv.name or b'')} became shorter while it was sent")
        self.left -= len(piece)
        return piece

    def close(self) -> None:
        if self.file is not None:
            os.close(self.file)
            self.file = None


@attrs.define
class Reader:
    """Makes RECVs, in order, a batch at a time.

    `with_data` is false in a list-only session (SUP 3.2); `compress` packs the data of files (SUP 5.1).
    `why` hears of files that could not be opened, and why.
    """

    outgoing: Sequence[Outgoing]
    with_data: bool = True
    compress: bool = False
    why: Callable[[bytes, str], None] = lambda name, reason: None
    owners: Owners = attrs.Factory(Owners)
    _at: int = attrs.field(default=0, init=False)

    def batch(self) -> list[Sendable]:
        """The next RECVs; none when all have been made. Raises CompressionFailed."""
        made: list[Sendable] = []
        size = 0
        if self._at < len(self.outgoing):
            self.outgoing[self._at].tree.refresh()
        try:
            while self._at < len(self.outgoing) and len(made) < BATCH_FILES and size < BATCH_BYTES:
                one = self._make(self.outgoing[self._at])
                self._at += 1
                made.append(one)
                size += len(one.data)
        except BaseException:
            for one in made:
                one.close()
            raise
        return made

    def _make(self, outgoing: Outgoing) -> Sendable:
        entry = outgoing.entry
        kind = entry.mode & FILE_TYPE
        flags = entry.flags | NEEDED
        if kind == stat.S_IFLNK:
            return Sendable(self._recv(outgoing, flags, None, None))
        user, group = self.owners.user(outgoing.uid), self.owners.group(outgoing.gid)
        if kind == stat.S_IFREG:
            if outgoing.update:
                flags |= UPDATE
            elif self.with_data:
                try:
                    return self._with_data(outgoing, flags, user, group)
                except OSError as error:
                    self.why(entry.name, error.strerror or str(error))
                    return Sendable(Recv(entry.name, 0))
        return Sendable(self._recv(outgoing, flags, user, group))

    def _with_data(self, outgoing: Outgoing, flags: int, user: bytes, group: bytes) -> Sendable:
        """A RECV with the file's data. Raises OSError if it cannot be opened or read, CompressionFailed."""
        name = outgoing.entry.name
        fd, status = outgoing.tree.open(name)
        if self.compress:
            fd, status = _packed(fd, name, status.st_size)
        try:
            size = status.st_size
            if size > MAX_FILE:
                raise OSError(0, "longer than 2 GiB, more than the protocol can send")
            data = read_fully(fd, min(size, CHUNK))
        except BaseException:
            os.close(fd)
            raise
        if size > CHUNK:
            return Sendable(self._recv(outgoing, flags, user, group, size), data, fd, size - len(data))
        os.close(fd)
        # Nothing has been announced yet: a file that became shorter is as long as it is now.
        return Sendable(self._recv(outgoing, flags, user, group, len(data)), data)

    def _recv(
        self, outgoing: Outgoing, flags: int, user: bytes | None, group: bytes | None, size: int | None = None
    ) -> Recv:
        entry = outgoing.entry
        links = tuple(outgoing.links)
        return Recv(entry.name, entry.mode, flags, user, group, entry.mtime, links, entry.commands, size)


def read_fully(fd: int, size: int) -> bytes:
    """The first `size` bytes of a file, or all it has."""
    data = os.read(fd, size)
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            break
        data += more
    return data


def _packed(fd: int, name: bytes, size: int) -> tuple[int, os.stat_result]:
    """The first `size` bytes of the file `fd`, which is closed, as one gzip stream in a temporary file (SUP 5.1).

    Raises CompressionFailed.
    """
    try:
        with open(fd, "rb", buffering=0) as plain, tempfile.TemporaryFile(buffering=0) as packed:
            machine = zlib.compressobj(wbits=31)
            while size and (piece := plain.read(min(size, CHUNK))):  # a file that grows is not followed
                packed.write(machine.compress(piece))
                size -= len(piece)
            packed.write(machine.flush())
            packed.seek(0)
            return os.dup(packed.fileno()), os.fstat(packed.fileno())
    except OSError as error:
        raise CompressionFailed(f"We died trying to gzip {os.fsdecode(name)}") from error
