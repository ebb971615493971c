"""The temporary files of a client: where data is written before it gets its name.

All temporary files of a run stand in one directory that the run holds a lock on, so that the next run can
tell the leavings of a dead one and remove them.
"""

import fcntl
import os
from contextlib import suppress

from sup.deletion import TEMPORARY

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Staging:
    """A directory for temporary files within `place_fd`, made when the first is wanted; names are bytes.

    It must be on the file system of the files that are to come. Methods raise OSError.
    """

    def __init__(self, place_fd: int, pid: int) -> None:
        self._place_fd = place_fd
        self._name = b"#%d.sup" % pid
        self._fd: int | None = None
        self._owner: tuple[int, int] | None = None
        self._count = 0

    @property
    def fd(self) -> int:
        """The descriptor of the directory."""
        if self._fd is None:
            self._fd = self._make()
        return self._fd

    def name(self) -> bytes:
        """A name that is not in use in the directory."""
        self._count += 1
        return b"%d" % self._count

    def create(self, mode: int = 0o600) -> tuple[int, bytes]:
        """A new file, its mode less the umask: its descriptor, the caller's to close, and its name."""
        name = self.name()
        return os.open(name, _CREATE, mode, dir_fd=self.fd), name

    def owner(self, fd: int) -> tuple[int, int]:
        """Whose the new file `fd` is, uid and gid: all that one process makes in one directory are of one owner."""
        if self._owner is None:
            found = os.fstat(fd)
            self._owner = found.st_uid, found.st_gid
        return self._owner

    def discard(self, name: bytes) -> None:
        """Removes a temporary file that is not going to be used."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def close(self) -> None:
        """Removes the directory and what is left in it."""
        if self._fd is None:
            return
        with suppress(OSError):
            for leaf in os.listdir(self._fd):
                os.unlink(leaf, dir_fd=self._fd)
            os.rmdir(self._name, dir_fd=self._place_fd)
        os.close(self._fd)
        self._fd = None

    def _make(self) -> int:
        while True:
            with suppress(FileExistsError):
                os.mkdir(self._name, 0o700, dir_fd=self._place_fd)
            fd = os.open(self._name, _OPEN_DIRECTORY, dir_fd=self._place_fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Two containers that share the directory may well give two runs one process number.
                os.close(fd)
                self._name = self._name.replace(b".sup", b"0.sup")
                continue
            if os.fstat(fd).st_nlink:  # not swept away between mkdir and flock
                for leaf in os.listdir(fd):
                    os.unlink(leaf, dir_fd=fd)
                return fd
            os.close(fd)


def sweep(place_fd: int) -> None:
    """Removes the temporary files that dead runs have left in a directory, staging directories included."""
    for leaf in map(os.fsencode, _names(place_fd)):
        match = TEMPORARY.fullmatch(leaf)
        if match:
            with suppress(OSError):
                _sweep_one(place_fd, leaf, int(match.group(1)))


def _names(place_fd: int) -> list[str]:
    fd = os.open(b".", _OPEN_DIRECTORY, dir_fd=place_fd)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _sweep_one(place_fd: int, leaf: bytes, pid: int) -> None:
    try:
        fd = os.open(leaf, _OPEN_DIRECTORY, dir_fd=place_fd)
    except NotADirectoryError:
        # A file of the original's, or one that this client had to put beside its target.
        if not _is_alive(pid):
            os.unlink(leaf, dir_fd=place_fd)
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for inside in os.listdir(fd):
            os.unlink(inside, dir_fd=fd)
        os.rmdir(leaf, dir_fd=place_fd)
    finally:
        os.close(fd)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0
