"""The directory into which a client installs a collection: every change to it goes through here.

Names are opened component by component, relative to the descriptor of the directory before and without
following symbolic links, so that a link leads nowhere, whoever put it there and whenever (SUP 9.3.1). The
directories that hold the client's own control files can be sealed against all names (SUP 9.3.3).
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

from attrs import frozen

from sup.names import TOP

MAX_DEPTH = 256
"""Directories below one another; each costs a descriptor while names below it are handled."""

_ENTER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTRIBUTES = getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNREACHABLE = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENAMETOOLONG}
_GUARDED = "it belongs to sup's own control files"

Identity = tuple[int, int]
"""Device and inode: which directory it is, by whatever name it was reached."""


def identity(fd: int) -> Identity:
    """The identity of an open directory."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def beneath(directory: bytes, leaf: bytes) -> bytes:
    """The name of what is called `leaf` in `directory`."""
    return leaf if directory in (b"", TOP) else directory + b"/" + leaf


class Blocked(OSError):
    """A name cannot be used because of what stands in its way; the text says what."""

    def __init__(self, name: bytes, reason: str) -> None:
        super().__init__(errno.EACCES, reason, os.fsdecode(name))
        self.name = name
        self.reason = reason


@frozen
class Made:
    """A directory that was made, and the mode of what had to go for it; None if nothing was there."""

    name: bytes
    replaced: int | None


class WritableTree:
    """Examines and changes what is below `top`; all names are normalised (`sup.names.normalise`).

    With `follow`, a local symbolic link to a directory is followed wherever it leads, as the original does,
    unless it is one of `distrusted`: the links that the server of this session speaks of. The tree keeps the
    descriptors of the directories down to the last one used, so callers that go through names in order open
    each directory once. A tree is used by one thread at a time. Its methods raise OSError; Blocked is one.
    """

    def __init__(self, top: bytes, follow: bool = False) -> None:
        self.top = top
        self.distrusted: set[bytes] = set()
        self.changed: set[bytes] = set()
        """The directories in which anything has changed, be it an attribute of something in them."""
        self._follow = follow
        self._sealed: set[Identity] = set()
        self._fixed: set[Identity] = set()
        self._unlocked: dict[bytes, int] = {}
        self._parts: list[bytes] = []
        self._current: bytes | None = TOP
        self._fds = [os.open(top, _ENTER)]

    def unfollowing(self) -> "WritableTree":
        """The same directory, where nothing is changed through a link; the caller closes it."""
        other = WritableTree(self.top)
        other._sealed, other._fixed, other.changed = self._sealed, self._fixed, self.changed
        return other

    def close(self) -> None:
        """Lets go of the directories; those that had to be made writable on the way get their own mode back."""
        self.relock()
        while self._fds:
            os.close(self._fds.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what may not be touched ------------------------------------------------------------------------

    def seal(self, directory: Identity) -> None:
        """From now on no name leads into `directory`, and none stands for it."""
        self._sealed.add(directory)
        self._return_to(0)

    def fix(self, directory: Identity) -> None:
        """From now on names may lead through `directory`, but it is neither changed nor replaced itself."""
        self._fixed.add(directory)

    def is_guarded(self, found: os.stat_result) -> bool:
        """Whether `found` is a directory that is sealed or fixed."""
        return stat.S_ISDIR(found.st_mode) and (found.st_dev, found.st_ino) in self._sealed | self._fixed

    # --- looking ----------------------------------------------------------------------------------------

    @property
    def fd(self) -> int:
        """The descriptor of the top directory."""
        return self._fds[0]

    def directory(self, name: bytes) -> int:
        """The descriptor of directory `name`; it is the tree's, and valid until the next call.

        Raises FileNotFoundError when there is none, Blocked when something else is in the way.
        """
        if name == self._current:
            return self._fds[-1]
        _check_depth(name)
        parts = [] if name == TOP else name.split(b"/")
        kept = 0
        for old, new in zip(self._parts, parts, strict=False):
            if old != new:
                break
            kept += 1
        self._return_to(kept)
        for part in parts[kept:]:
            self._fds.append(self._enter(part))
            self._parts.append(part)
        self._current = name
        return self._fds[-1]

    def above(self, name: bytes) -> tuple[int, bytes]:
        """The directory in which `name` stands, as `directory` gives it, and the last part of the name."""
        directory, _, leaf = name.rpartition(b"/")
        return self.directory(directory or TOP), leaf

    def lstat(self, name: bytes) -> os.stat_result | None:
        """What `name` itself is, be it a link; None if nothing is there or it cannot be reached."""
        try:
            above, leaf = self.above(name)
            return os.stat(leaf, dir_fd=above, follow_symlinks=False)
        except OSError as error:
            if error.errno in _UNREACHABLE:
                return None
            raise

    def look(self, name: bytes) -> os.stat_result | None:
        """What `name` is; a link to a directory that may be followed counts as the directory."""
        found = self.lstat(name)
        if found is not None and stat.S_ISLNK(found.st_mode) and self._may_follow(name):
            above, leaf = self.above(name)
            with suppress(OSError):
                target = os.stat(leaf, dir_fd=above)
                return target if stat.S_ISDIR(target.st_mode) else found
        return found

    def open_directory(self, name: bytes) -> int:
        """A descriptor to list or sync directory `name`; the caller's to close."""
        return os.open(b".", _LIST, dir_fd=self.directory(name))

    def names(self, name: bytes) -> list[bytes]:
        """The names of what is in directory `name`."""
        fd = self.open_directory(name)
        try:
            return [os.fsencode(entry) for entry in os.listdir(fd)]
        finally:
            os.close(fd)

    def readlink(self, name: bytes) -> bytes:
        """The target of the link `name`, verbatim."""
        above, leaf = self.above(name)
        return os.readlink(leaf, dir_fd=above)

    def open(self, name: bytes) -> int:
        """A descriptor to read the regular file `name`; the caller's to close. Raises OSError for any other type."""
        above, leaf = self.above(name)
        fd = os.open(leaf, _READ, dir_fd=above)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file", os.fsdecode(name))
        return fd

    # --- changing ---------------------------------------------------------------------------------------

    def create(self, name: bytes) -> int:
        """A new file `name`, mode 0600; its descriptor is the caller's to close."""
        above, leaf = self.above(name)
        return os.open(leaf, _CREATE, 0o600, dir_fd=above)

    def symlink(self, target: bytes, name: bytes) -> None:
        """A new symbolic link `name` to `target`, which is taken as it is."""
        above, leaf = self.above(name)
        os.symlink(target, leaf, dir_fd=above)

    def make_directory(self, name: bytes) -> None:
        """Creates directory `name`, mode 0755 (SUP 4.6)."""
        self._change(name, lambda above, leaf: os.mkdir(leaf, 0o755, dir_fd=above))

    def make_parents(self, name: bytes, may_replace: Callable[[bytes], bool]) -> Iterator[Made]:
        """Makes the directories above `name` that are missing, and says which.

        What stands in the way, a file or a link, is replaced only if `may_replace` says so of its name;
        otherwise Blocked is raised.
        """
        _check_depth(name.rpartition(b"/")[0])
        try:
            self.above(name)
            return
        except (FileNotFoundError, Blocked):
            pass
        slash = name.find(b"/")
        while slash > 0:
            parent = name[:slash]
            slash = name.find(b"/", slash + 1)
            found = self.look(parent)
            if found is not None:
                if stat.S_ISDIR(found.st_mode):
                    continue
                if not may_replace(parent):
                    raise self._obstacle(parent, found.st_mode)
                self.unlink(parent)
            self.make_directory(parent)
            yield Made(parent, None if found is None else found.st_mode)
        self.above(name)

    def rename_into(self, source_fd: int, source: bytes, name: bytes) -> None:
        """Moves `source`, a name in the directory `source_fd`, to `name`, in place of what was there."""
        self._change(
            name, lambda above, leaf: os.rename(source, leaf, src_dir_fd=source_fd, dst_dir_fd=above)
        )

    def unlink(self, name: bytes) -> None:
        """Removes the file or link `name`."""
        self._change(name, lambda above, leaf: os.unlink(leaf, dir_fd=above))

    def remove_directory(self, name: bytes) -> None:
        """Removes the empty directory `name`. Raises Blocked for one that is guarded."""
        found = self.lstat(name)
        if found is not None and self.is_guarded(found):
            raise Blocked(name, _GUARDED)
        self._change(name, lambda above, leaf: os.rmdir(leaf, dir_fd=above))
        self._unlocked.pop(name, None)

    def chmod(self, name: bytes, mode: int) -> None:
        """Sets the permission bits of `name`, which must not be a link."""
        above, leaf = self.above(name)
        fd = os.open(leaf, _ATTRIBUTES, dir_fd=above)
        try:
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                raise Blocked(name, "it is a symbolic link")
            _chmod_open(fd, mode)
        finally:
            os.close(fd)
        self._unlocked.pop(name.removesuffix(b"/."), None)
        self._note(name)

    def chown(self, name: bytes, uid: int, gid: int) -> None:
        """Sets owner and group of `name` itself."""
        above, leaf = self.above(name)
        os.chown(leaf, uid, gid, dir_fd=above, follow_symlinks=False)
        self._note(name)

    def set_times(self, name: bytes, atime_ns: int, mtime_ns: int) -> None:
        """Sets the times of `name` itself, in nanoseconds since 1970."""
        above, leaf = self.above(name)
        os.utime(leaf, ns=(atime_ns, mtime_ns), dir_fd=above, follow_symlinks=False)
        self._note(name)

    def relock(self) -> None:
        """Gives the directories that had to be made writable on the way their own mode back."""
        for name, mode in list(self._unlocked.items()):
            with suppress(OSError):
                self.chmod(name, mode)
        self._unlocked.clear()

    # --- inside -----------------------------------------------------------------------------------------

    def _enter(self, part: bytes) -> int:
        """Opens `part` in the directory that was opened last."""
        name = b"/".join([*self._parts, part])
        flags = _ENTER if self._may_follow(name) else _ENTER | os.O_NOFOLLOW
        try:
            fd = os.open(part, flags, dir_fd=self._fds[-1])
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
                raise
            found = os.stat(part, dir_fd=self._fds[-1], follow_symlinks=False)
            raise self._obstacle(name, found.st_mode) from None
        if identity(fd) in self._sealed:
            os.close(fd)
            raise Blocked(name, _GUARDED)
        return fd

    def _may_follow(self, name: bytes) -> bool:
        return self._follow and name not in self.distrusted

    def _obstacle(self, name: bytes, mode: int) -> Blocked:
        if not stat.S_ISLNK(mode):
            return Blocked(name, "it is not a directory")
        if self._follow:
            return Blocked(name, "it is a symbolic link that the collection brought")
        return Blocked(name, "it is a symbolic link (--follow-symlinks would follow it)")

    def _return_to(self, depth: int) -> None:
        self._current = None
        while len(self._parts) > depth:
            self._parts.pop()
            os.close(self._fds.pop())

    def _change(self, name: bytes, action: Callable[[int, bytes], None]) -> None:
        """Changes an entry of a directory; as a last resort, one of the user's own that is read-only."""
        try:
            action(*self.above(name))
        except PermissionError:
            if not self._unlock(name):
                raise
            action(*self.above(name))
        self._note(name)

    def _note(self, name: bytes) -> None:
        self.changed.add(name.rpartition(b"/")[0] or TOP)

    def _unlock(self, name: bytes) -> bool:
        directory = name.rpartition(b"/")[0] or TOP
        found = os.fstat(self.directory(directory))
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid != os.geteuid() or mode & 0o700 == 0o700 or self.is_guarded(found):
            return False
        self.chmod(directory, mode | 0o700)
        self._unlocked.setdefault(directory, mode)
        return True


def _check_depth(directory: bytes) -> None:
    if directory.count(b"/") >= MAX_DEPTH:
        raise Blocked(directory, f"it is more than {MAX_DEPTH} directories deep")


def _chmod_open(fd: int, mode: int) -> None:
    """Sets the mode of an open file: Linux opens it without asking for a right, but then knows no fchmod."""
    if hasattr(os, "O_PATH"):
        os.chmod(f"/proc/self/fd/{fd}", mode)
    else:
        os.fchmod(fd, mode)
