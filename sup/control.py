"""The client's control files of one collection, `<base>/sup/<collection>/` (SUP 7.4).

They are kept in the original's formats, so that Debian's `sup` and this one can take turns on one base
directory. One file is our own: `last.partial` names what an unfinished run asked for, so that the next run
knows which files came from the server although `last` was never written.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sup.controlfile import lines
from sup.names import UnsafeName, normalise

_WHEN = re.compile(rb"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|[0-9]+)\n")
_TIMES = range(-(2**31), 2**31)
_ESCAPE = b"#name "
_ESCAPED = re.compile(rb"^#name (.+)$", re.MULTILINE)


class Locked(Exception):
    """Another client holds the collection's lock."""


class ControlFiles:
    """Reads and writes the control files of `collection` below the directory `base_fd`.

    `suffix` is what the names of `when` and `last` end with. With `follow`, the directories may be reached
    through symbolic links. Methods raise OSError; reading a file that does not exist gives its empty value.
    """

    def __init__(self, base_fd: int, collection: bytes, suffix: bytes = b"", follow: bool = False) -> None:
        self.path = b"sup/" + collection
        self._base_fd = base_fd
        self._suffix = suffix
        self._flags = os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        self._fd: int | None = None
        self._lock_fd: int | None = None

    def close(self) -> None:
        """Lets go of the directory, and of the lock."""
        for fd in (self._fd, self._lock_fd):
            if fd is not None:
                os.close(fd)
        self._fd = self._lock_fd = None

    # --- the directory ----------------------------------------------------------------------------------

    def open_sup(self) -> tuple[int, bool]:
        """The directory `<base>/sup`, made if need be (SUP 3.1), and whether it was; the caller closes it."""
        try:
            return self._directory(b"sup", self._base_fd), False
        except FileNotFoundError:
            os.mkdir(b"sup", 0o755, dir_fd=self._base_fd)
            return self._directory(b"sup", self._base_fd), True

    def find(self) -> int | None:
        """The collection's control directory; None as long as there is none."""
        if self._fd is None:
            with suppress(FileNotFoundError):
                self._fd = self._walk(make=False)
        return self._fd

    def make(self) -> int:
        """The collection's control directory, made if need be."""
        if self._fd is None:
            self._fd = self._walk(make=True)
        return self._fd

    # --- when -------------------------------------------------------------------------------------------

    def read_when(self) -> int:
        """The scan time of the last upgrade in seconds since 1970; 0 if there is none that can be read.

        As in the original: decimal, octal (0...) or hexadecimal (0x...), and a newline right behind the number.
        """
        match = _WHEN.match(self._read(b"when" + self._suffix))
        if not match:
            return 0
        sign, digits = match.groups()
        try:
            value = int(
                digits, 16 if digits[1:2] in b"xX" and len(digits) > 1 else 8 if digits[:1] == b"0" else 10
            )
        except ValueError:  # 09: the original stops before the 9, and finds no newline there
            return 0
        value = -value if sign == b"-" else value
        return value if value in _TIMES else 0

    def write_when(self, scantime: int) -> None:
        """Records `scantime`; the collection is complete up to that second."""
        self._write(b"when" + self._suffix, b"%d\n" % scantime)

    # --- last -------------------------------------------------------------------------------------------

    def read_last(self) -> set[bytes]:
        """The names that upgrades brought here, those of an unfinished one included."""
        text = self._read(b"last" + self._suffix)
        names = {line for _, line in lines(text)}
        names.update(unquote_to_bytes(quoted) for quoted in _ESCAPED.findall(text))
        names.update(self._read(self._partial).split(b"\0"))
        return _safe(names)

    def write_last(self, names: Iterable[bytes]) -> None:
        """Records the names that the collection brought here, and forgets what unfinished runs asked for.

        A name that the format cannot hold is written as a comment: the original then forgets it, where its
        own way would make it take the second half for the name of a file that it may delete.
        """
        text = b"".join(_line(name) for name in sorted(names))
        self._write(b"last" + self._suffix, text, b"last" + self._suffix + b".temp")
        with suppress(FileNotFoundError):
            os.unlink(self._partial, dir_fd=self.make())

    def note_partial(self, names: Iterable[bytes]) -> None:
        """Notes, on the disk before any of them is installed, the names that this run has asked for."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._partial, flags, 0o644, dir_fd=self.make())
        try:
            _write_all(fd, b"".join(name + b"\0" for name in names))
            os.fsync(fd)
        finally:
            os.close(fd)

    @property
    def _partial(self) -> bytes:
        return b"last" + self._suffix + b".partial"

    # --- refuse and lock --------------------------------------------------------------------------------

    def read_refuse(self) -> tuple[bytes, ...]:
        """The names the user does not want, sorted, a leading `./` removed (SUP 2.7)."""
        names = set()
        for _, line in lines(self._read(b"refuse")):
            while line.startswith(b"./") and line != b"./":
                line = line[2:].lstrip(b"/")
            names.add(line)
        return tuple(sorted(names - {b""}))

    def lock(self) -> bool:
        """Takes the collection's lock if there is a lock file, until `close`; whether there is one.

        Raises Locked if another client holds it.
        """
        directory = self.find()
        if directory is None:
            return False
        try:
            self._lock_fd = os.open(b"lock", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(os.fsdecode(self.path)) from None
        return True

    # --- inside -----------------------------------------------------------------------------------------

    def _directory(self, name: bytes, above: int) -> int:
        try:
            return os.open(name, os.O_RDONLY | os.O_DIRECTORY | self._flags, dir_fd=above)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                reason = "is not a directory, or a symbolic link (--follow-symlinks would follow it)"
                raise OSError(error.errno, reason, os.fsdecode(name)) from None
            raise

    def _walk(self, make: bool) -> int:
        fd = os.dup(self._base_fd)
        for part in self.path.split(b"/"):
            try:
                try:
                    below = self._directory(part, fd)
                except FileNotFoundError:
                    if not make:
                        raise
                    os.mkdir(part, 0o755, dir_fd=fd)
                    below = self._directory(part, fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def _read(self, name: bytes) -> bytes:
        directory = self.find()
        if directory is None:
            return b""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            return b""
        with open(fd, "rb") as file:
            return file.read()

    def _write(self, name: bytes, text: bytes, temp: bytes | None = None) -> None:
        """Replaces a control file by one that is complete on the disk before it has the name."""
        directory = self.make()
        temp = temp or name + b".temp"
        with suppress(FileNotFoundError):
            os.unlink(temp, dir_fd=directory)
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=directory)
        try:
            try:
                _write_all(fd, text)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temp, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with suppress(OSError):
                os.unlink(temp, dir_fd=directory)
            raise
        os.fsync(directory)


def _line(name: bytes) -> bytes:
    if b"\n" in name or name[:1] in (b"#", b";", b":"):
        return _ESCAPE + quote_from_bytes(name).encode() + b"\n"
    return name + b"\n"


def _safe(names: Iterable[bytes]) -> set[bytes]:
    """The names in their plain form; whatever could lead out of the base directory is left out."""
    safe = set()
    for name in names:
        with suppress(UnsafeName):
            safe.add(normalise(name))
    return safe


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
