"""A collection on the server's disk: its control files, the trees it is made of, and what is in them.

A collection is known by its name and its base directory; everything that governs it stands in
`<base>/sup/<name>/`, its data below the base or the prefix directory (SUP 6). Everything here may wait for
the disk or for a name server: the server's shell calls it in a thread.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO, TypeVar

import attrs

from sup import controlfile, hosts, listfile, releases, scanfile
from sup.names import TOP, UnsafeName, normalise
from sup.releases import Release
from sup.tree import Tree, is_within
from sup.walk import MAX_ENTRIES, NEW, NOBODY, Entry, Listener, Wanted, int32, walk

T = TypeVar("T")

CONTROL_LIMIT = 16 << 20
"""Bytes of a control file other than the scan file."""


class CollectionError(Exception):
    """A collection that cannot be served; the text is what the client is told in GOAWAY (SUP 3.3)."""

    def __init__(self, text: str, cause: str = "") -> None:
        super().__init__(text)
        self.cause = cause
        """What is for the log alone."""


class HostNotPermitted(Exception):
    """The host files do not admit the client (SETUPACK 998)."""


class Locked(Exception):
    """Somebody holds the collection's lock exclusively (SETUPACK 995)."""


@attrs.frozen
class ReleaseTree:
    """One tree of a release's chain."""

    release: Release
    tree: Tree


@attrs.frozen
class Part:
    """What one tree contributes to a scan; a name that an earlier tree has is not in it."""

    tree: Tree
    entries: dict[bytes, Entry]


@attrs.frozen
class Scan:
    """The result of looking at a collection."""

    parts: tuple[Part, ...]
    """By tree, in the order of the chain."""
    scantime: int
    """What the client shall send as its lasttime next time (SUP 2.8)."""

    def entries(self) -> list[Entry]:
        """All of them, in bytewise order of their names (SUP 2.8)."""
        if len(self.parts) == 1:
            return list(self.parts[0].entries.values())
        found = [entry for part in self.parts for entry in part.entries.values()]
        return sorted(found, key=lambda entry: entry.name)


@attrs.define
class Collection:
    """A collection opened for one session. Close it afterwards; methods raise CollectionError and OSError."""

    name: bytes
    base: bytes
    """Its base directory, as the client or the configuration wrote it."""
    roots: tuple[bytes, ...]
    """Directories in which the base, prefixes and the ends of followed links must lie."""
    historic: bool = False
    """Read list files as the original does, quirks included (the compatibility switch)."""
    limit: int = MAX_ENTRIES
    listener: Listener = NOBODY

    _control: Tree = attrs.field(init=False)
    _trees: dict[bytes, Tree] = attrs.field(factory=dict, init=False)
    _lock: int | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._control = self._open(self.base)

    def close(self) -> None:
        """Lets go of the directories, and of the lock."""
        self._control.close()
        for tree in self._trees.values():
            tree.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "Collection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- control files ----------------------------------------------------------------------------------

    def control_name(self, file: bytes) -> bytes:
        """The name of a control file, seen from the base directory. Raises UnsafeName for one elsewhere."""
        return b"sup/" + self.name + b"/" + normalise(file)

    def _read(self, kind: str, file: bytes | None = None) -> bytes | None:
        """The text of a control file, whose name is its kind unless told otherwise; None if there is none.

        Raises CollectionError for one that cannot be read: whom or what it shuts out is not let in for that.
        """
        file = os.fsencode(kind) if file is None else file
        try:
            name = self.control_name(file)
            return self._control.read(name, CONTROL_LIMIT) if self._control.has(name) else None
        except (OSError, UnsafeName) as error:
            raise self._unreadable(kind, file, error) from error

    def _unreadable(self, kind: str, file: bytes, error: Exception) -> CollectionError:
        cause = error.strerror if isinstance(error, OSError) else None
        return CollectionError(
            f"Can't read {kind} file {os.fsdecode(b'sup/%s/%s' % (self.name, file))}", cause or str(error)
        )

    def prefix(self) -> bytes | None:
        """The directory that replaces the base for data: the prefix file's first line (SUP 6.2)."""
        return next((line for _, line in controlfile.lines(self._read("prefix") or b"")), None)

    def tree(self, prefix: bytes | None) -> Tree:
        """The tree of data below `prefix`, absolute or relative to the base; None is the base itself.

        Raises OSError if it cannot be entered or lies where nothing may be served from.
        """
        path = os.path.join(self._control.top, prefix or b"")
        if b"\0" in path:
            raise FileNotFoundError(errno.ENOENT, "no directory has a NUL byte in its name")
        if path not in self._trees:
            self._trees[path] = self._open(path)
        return self._trees[path]

    def _open(self, path: bytes) -> Tree:
        tree = Tree(path, self.roots)
        if not any(is_within(tree.top, root) for root in tree.roots[1:]):
            tree.close()
            raise PermissionError(f"{os.fsdecode(path)} is not below a directory that may be served")
        return tree

    def data(self) -> os.stat_result:
        """The directory that the data comes from, base or prefix (SUP 2.4). Raises CollectionError."""
        prefix = self.prefix()
        try:
            return os.fstat(self.tree(prefix).directory(TOP))
        except OSError as error:
            shown = [os.fsdecode(path) for path in (prefix or b"", self.base)]
            raise CollectionError(f"Can't chdir to {shown[0]} from base directory {shown[1]}") from error

    def chain(self, wanted: bytes | None) -> tuple[ReleaseTree, ...]:
        """The trees of a release, None standing for the default.

        Raises NoSuchRelease (also for a prefix that cannot be entered), and CollectionError for a releases
        file with an unknown option.
        """
        names = releases.chain(self._releases(), releases.DEFAULT if wanted is None else wanted)
        return tuple(self.release_tree(release) for release in names)

    def defined(self) -> tuple[Release, ...]:
        """Every release that the collection has, without chains: those of the file, or the default."""
        return tuple(self._releases()) or (Release(releases.DEFAULT),)

    def _releases(self) -> list[Release]:
        try:
            return releases.parse(self._read("releases") or b"")
        except releases.InvalidOption as error:
            raise CollectionError(str(error)) from error

    def release_tree(self, release: Release) -> ReleaseTree:
        """The tree of a release. Raises NoSuchRelease for a prefix that cannot be entered."""
        prefix = release.prefix or self.prefix()
        try:
            return ReleaseTree(release, self.tree(prefix))
        except OSError as error:
            raise releases.NoSuchRelease(f"Can't chdir to {os.fsdecode(prefix or b'.')}: {error}") from error

    def admit(self, chain: Sequence[ReleaseTree], peer: str, resolve: hosts.Resolver) -> bytes | None:
        """The key that the host files give for the client at address `peer`, if any (SUP 6.4).

        Raises HostNotPermitted if the host file of one of the trees does not admit it.
        """
        key = None
        for part in reversed(chain):  # the original's order: the first tree's key is the one that stays
            text = self._read("host", part.release.host)
            if text is not None:
                line = hosts.admitting(hosts.parse(text), peer, resolve)
                if line is None:
                    raise HostNotPermitted
                key = line.key or key
        return key

    def crypt_key(self) -> bytes | None:
        """The first line of the crypt file; None without one (SUP 6.4)."""
        return (self._read("crypt") or b"").split(b"\n", 1)[0] or None

    def lock(self) -> None:
        """Share the lock file, if there is one, until the collection is closed (SUP 6.5).

        Raises Locked, and CollectionError for one that cannot be opened.
        """
        name = self.control_name(b"lock")
        try:
            if not self._control.has(name):
                return
            fd, _ = self._control.open(name)
        except OSError as error:
            raise self._unreadable("lock", b"lock", error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise Locked from error
        self._lock = fd

    def log(self, line: bytes) -> None:
        """Append to the logfile, if there is one that this process may write; it is never made (SUP 6.6)."""
        name = self.control_name(b"logfile")
        above, _, base = name.rpartition(b"/")
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(base, flags, dir_fd=self._control.directory(above))
        except OSError:
            return
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                os.write(fd, line)
        finally:
            os.close(fd)

    def write(self, file: bytes, contents: Callable[[BinaryIO], T], mtime: int) -> T:
        """Make or replace a control file by what `contents` writes, under a temporary name first (SUP 6.8).

        The result is that of `contents`; `mtime` is the time, in seconds, that the file is given.
        """
        above, _, base = self.control_name(file).rpartition(b"/")
        directory, temporary = self._control.directory(above), base + b".temp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(temporary, flags, 0o666, dir_fd=directory), "wb") as new:
                result = contents(new)
                new.flush()
                os.fsync(new.fileno())
                os.utime(new.fileno(), (mtime, mtime))
            os.rename(temporary, base, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
        return result

    def has_log(self) -> bool:
        """Whether there is a logfile at all."""
        try:
            return stat.S_ISREG(self._control.lstat(self.control_name(b"logfile")).st_mode)
        except OSError:
            return False

    # --- contents ---------------------------------------------------------------------------------------

    def scan(self, chain: Sequence[ReleaseTree], wanted: Wanted, now: float) -> Scan:
        """What the client wants to hear of the trees of a release (SUP 4.1); `now` is the time in seconds.

        Raises CollectionError: no list file, a bad one, a damaged scan file, too many names.
        """
        alone = len(chain) == 1
        asked = wanted if alone else attrs.evolve(wanted, newonly=False)
        parts: list[Part] = []
        scantime = None
        seen: set[bytes] = set()
        for link in chain:
            entries, looked = self._contents(link, asked, now)
            if not alone:
                entries = {name: entry for name, entry in entries.items() if name not in seen}
                seen.update(entries)
                if wanted.newonly:  # only now: an old file hides a new one of a later tree
                    entries = {name: entry for name, entry in entries.items() if entry.flags & NEW}
            parts.append(Part(link.tree, entries))
            scantime = looked if scantime is None else min(scantime, looked)
        return Scan(tuple(parts), scantime or 0)

    def _contents(self, link: ReleaseTree, wanted: Wanted, now: float) -> tuple[dict[bytes, Entry], int]:
        """The entries of one tree, and when it was looked at: from its scan file if it has one."""
        try:
            fd, status = self._control.open(self.control_name(link.release.scan))
        except (OSError, UnsafeName):
            return self.walk(link, wanted), before(now)
        with open(fd, "rb") as file:
            if not scanfile.is_usable(file):
                return self.walk(link, wanted), before(now)
            scantime = int32(int(status[stat.ST_MTIME]))
            if wanted.newonly and scantime == wanted.lasttime:
                return {}, scantime
            try:
                return scanfile.read(file, wanted, self.limit), scantime
            except ValueError as error:
                raise CollectionError(str(error)) from error

    def walk(self, link: ReleaseTree, wanted: Wanted) -> dict[bytes, Entry]:
        """The entries of one tree as its list file and the disk have them. Raises CollectionError."""
        text = self._read("list", link.release.list)
        if text is None:
            raise self._unreadable("list", link.release.list, FileNotFoundError(0, "there is none"))
        own = b"" if self.historic else self._own(link.tree)
        try:
            rules = listfile.expand(listfile.parse(text), link.tree, self._included, self.historic, own)
            return walk(link.tree, rules, wanted, own, self.listener, self.limit)
        except ValueError as error:
            raise CollectionError(str(error)) from error

    def _own(self, tree: Tree) -> bytes:
        """The directory `sup` of control files as a name of `tree`, empty if it is not in there."""
        own = os.path.join(self._control.top, b"sup")
        return os.path.relpath(own, tree.top) if is_within(own, tree.top) else b""

    def _included(self, operand: bytes) -> Iterator[bytes]:
        """The texts of the list files that an operand of include stands for, seen from the base (SUP 6.1)."""
        for name in sorted(listfile.glob(operand, self._control, self.historic)):
            try:
                yield self._control.read(name, CONTROL_LIMIT)
            except OSError as error:
                raise CollectionError(f"Can't read list file {os.fsdecode(name)}") from error


def before(now: float) -> int:
    """The scan time of a walk that begins `now`: the second before, so that no change can be missed.

    A file changed later in the second in which the walk began would else have a ctime equal to the scan time
    and count as known to the client for ever (SUP 4.1).
    """
    return int32(int(now) - 1)


def log_line(
    lasttime: int, began: float, ended: float, host: str, release: str, number: int, why: str
) -> bytes:
    """A line of the logfile in the original's form (SUP 6.6); `number` is 979 less the code of DONE."""
    times = " ".join(time.ctime(when)[4:19] for when in (lasttime, began, ended))
    line = f"{times} {host} {release} {number} {why}"
    return "".join(sign if sign.isprintable() else "?" for sign in line).encode() + b"\n"
