"""A directory tree that is read without ever leaving the directories which may be served (SUP 9.3).

Every name is opened component by component, relative to the descriptor of the directory before it and
without following links, so that nobody who can write below the directory can lead the server out of it,
not even by exchanging a directory for a link at the right moment. A link that the walk follows is resolved
first, must end within one of the given roots, and is then opened in the same way from there.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sup.names import TOP

MAX_DEPTH = 256
"""Directories below one another; each costs a descriptor while its contents are read."""

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PASS = _DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)  # to go through; on Linux that needs no right to read
_LIST = _DIRECTORY | os.O_RDONLY
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_A_LINK = {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}  # what the systems answer to O_NOFOLLOW and O_DIRECTORY


class LeavesTree(OSError):
    """A symbolic link leads to a place that may not be served."""

    def __init__(self, name: bytes) -> None:
        super().__init__(
            errno.EACCES, "link leads out of the directories that may be served", os.fsdecode(name)
        )


@contextmanager
def closing_fd(fd: int) -> Iterator[int]:
    """Closes a descriptor at the end of a with statement."""
    try:
        yield fd
    finally:
        os.close(fd)


def is_within(path: bytes, root: bytes) -> bool:
    """Whether `path` is `root` or below it; both are absolute and without `.`, `..`, links."""
    return path == root or path.startswith(root.rstrip(b"/") + b"/")


class Tree:
    """Opens and examines names below `top`; all of them are normalised (`sup.names.normalise`).

    `roots` are further directories in which a followed link may end. The tree keeps the descriptors of the
    directories down to the last one used: callers that go through names in order open each of them once.
    A tree is used by one thread at a time. Its methods raise OSError.
    """

    def __init__(self, top: bytes, roots: Iterable[bytes] = ()) -> None:
        self.top = os.path.realpath(top, strict=True)
        """Where it is, links resolved; opened as such, so that it stays true whatever is moved meanwhile."""
        self.roots = (self.top, *(os.path.realpath(root) for root in roots))
        self._parts: list[bytes] = []
        self._latest = b""
        self._fds = [_open_directory(self.top)]

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())

    def refresh(self) -> None:
        """Forget the directories below the top, so that what has been moved meanwhile is seen where it is now."""
        self.directory(TOP)

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def directory(self, name: bytes) -> int:
        """A descriptor of directory `name`, links followed, good for reaching what is in it.

        It is the tree's, valid until the next call.
        """
        if name == self._latest:
            return self._fds[-1]
        parts = [] if name == TOP else name.split(b"/")
        if len(parts) > MAX_DEPTH:
            raise OSError(errno.ENAMETOOLONG, f"more than {MAX_DEPTH} directories deep", os.fsdecode(name))
        kept = 0
        for old, new in zip(self._parts, parts, strict=False):
            if old != new:
                break
            kept += 1
        self._latest = b""
        while len(self._parts) > kept:
            self._parts.pop()
            os.close(self._fds.pop())
        for part in parts[kept:]:
            try:
                fd = os.open(part, _PASS, dir_fd=self._fds[-1])
            except OSError as error:
                if error.errno not in _A_LINK:
                    raise
                fd = self._open_followed(b"/".join([*self._parts, part]), _PASS)
            self._fds.append(fd)
            self._parts.append(part)
        self._latest = name
        return self._fds[-1]

    def open_directory(self, name: bytes) -> int:
        """A descriptor to list directory `name`, links followed; the caller's to close."""
        return os.open(b".", _LIST, dir_fd=self.directory(name))

    def lstat(self, name: bytes) -> os.stat_result:
        """What `name` itself is, be it a link."""
        above, _, base = name.rpartition(b"/")
        return os.stat(base, dir_fd=self.directory(above or TOP), follow_symlinks=False)

    def has(self, name: bytes) -> bool:
        """Whether there is anything called `name`, be it a link that leads nowhere."""
        try:
            self.lstat(name)
        except FileNotFoundError:
            return False
        return True

    def stat(self, name: bytes) -> os.stat_result:
        """What `name` is, or leads to. Raises LeavesTree, or FileNotFoundError for a dangling link."""
        found = self.lstat(name)
        if not stat.S_ISLNK(found.st_mode):
            return found
        above, base = self._above_target(name)
        try:
            return os.stat(base, dir_fd=above, follow_symlinks=False)
        finally:
            os.close(above)

    def readable(self, name: bytes) -> bool:
        """Whether this process may read the file or directory that `name` is or leads to."""
        try:
            found = self.lstat(name)
            above, _, base = name.rpartition(b"/")
            if not stat.S_ISLNK(found.st_mode):
                return os.access(base, os.R_OK, dir_fd=self.directory(above or TOP))
            place, base = self._above_target(name)
        except OSError:
            return False
        try:
            return os.access(base, os.R_OK, dir_fd=place)
        finally:
            os.close(place)

    def readlink(self, name: bytes) -> bytes:
        """The target of the link `name`, verbatim."""
        above, _, base = name.rpartition(b"/")
        return os.readlink(base, dir_fd=self.directory(above or TOP))

    def open(self, name: bytes) -> tuple[int, os.stat_result]:
        """A descriptor to read the regular file that `name` is or leads to, and its status.

        The descriptor is the caller's to close. Raises OSError, also for anything but a regular file (a fifo
        is not waited for).
        """
        above, _, base = name.rpartition(b"/")
        directory = self.directory(above or TOP)
        try:
            fd = os.open(base, _FILE, dir_fd=directory)
        except OSError as error:
            if error.errno not in _A_LINK:
                raise
            fd = self._open_followed(name, _FILE)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file", os.fsdecode(name))
        return fd, found

    def read(self, name: bytes, limit: int) -> bytes:
        """The contents of the small file `name`. Raises OSError, also for one of more than `limit` bytes."""
        fd, _ = self.open(name)
        with open(fd, "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"longer than {limit} bytes", os.fsdecode(name))
        return data

    def _open_followed(self, name: bytes, flags: int) -> int:
        above, base = self._above_target(name)
        try:
            return os.open(base, flags, dir_fd=above)
        finally:
            os.close(above)

    def _above_target(self, name: bytes) -> tuple[int, bytes]:
        """The directory in which the target of link `name` stands, opened anew, and its name there."""
        real = os.path.realpath(os.path.join(self.top, name), strict=True)
        if not any(is_within(real, root) for root in self.roots):
            raise LeavesTree(name)
        above, _, base = real.rpartition(b"/")
        return _open_directory(above), base or b"."


def _open_directory(real: bytes) -> int:
    """A descriptor of the directory `real`, an absolute path that held no links when it was resolved."""
    fd = os.open(b"/", _PASS)
    for part in real.split(b"/"):
        if part:
            try:
                below = os.open(part, _PASS, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
    return fd
