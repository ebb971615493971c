"""The client's directories for one upgrade: base, prefix, control files and the place for temporary files.

Nothing is made here before the server has been heard: `<base>/sup` comes first, as with the original, and the
collection's control directory when there is something to install or to record.
"""

import os
from typing import Self

from sup.control import ControlFiles
from sup.report import printable
from sup.staging import Staging, sweep
from sup.supfile import Collection
from sup.writable import WritableTree, identity

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class NoDirectory(Exception):
    """The base or prefix directory cannot be used; the text says which and why."""


class Workspace:
    """The directories that `collection` names, open. Raises NoDirectory.

    `tree` is where files are installed: the prefix directory if there is one, else the base. With `follow`,
    local symbolic links to directories are followed there (`WritableTree`).
    """

    def __init__(self, collection: Collection, follow: bool = False) -> None:
        self._fds: list[int] = []
        self._staging: Staging | None = None
        self.base_fd = self._open(collection.base, "base")
        try:
            self.top = os.path.join(collection.base, collection.prefix or b"")
            self.top_fd = self._open(self.top, "prefix") if collection.prefix else self.base_fd
            self.tree = WritableTree(self.top, follow)
        except BaseException:
            self._close_directories()
            raise
        self.control = ControlFiles(self.base_fd, collection.name, collection.suffix, follow)
        self._sup_fd: int | None = None

    def _open(self, path: bytes, which: str) -> int:
        try:
            fd = os.open(path, _OPEN)
        except OSError as error:
            text = f"Can't change to {which} directory {printable(path)} ({error.strerror})"
            raise NoDirectory(text) from error
        self._fds.append(fd)
        return fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._staging is not None:
            self._staging.close()
        self.control.close()
        self.tree.close()
        self._close_directories()

    def _close_directories(self) -> None:
        while self._fds:
            os.close(self._fds.pop())

    @property
    def is_prefixed(self) -> bool:
        """Whether files are installed elsewhere than in the base directory."""
        return identity(self.top_fd) != identity(self.base_fd)

    def enter(self) -> bool:
        """Makes `<base>/sup` unless it exists; whether it was made. Closes the control directories to all names
        that come from the server. Raises OSError.
        """
        self._sup_fd, made = self.control.open_sup()
        self._fds.append(self._sup_fd)
        self.tree.fix(identity(self._sup_fd))
        control_fd = self.control.find()
        if control_fd is not None:
            self.tree.seal(identity(control_fd))
        return made

    def prepare(self) -> Staging:
        """Makes the control directory, clears away what dead runs have left, and gives the place for temporary
        files. Raises OSError.
        """
        if self._staging is None:
            control_fd = self.control.make()
            self.tree.seal(identity(control_fd))
            for place in {control_fd, self.top_fd, self._sup_fd or self.base_fd}:
                sweep(place)
            together = os.fstat(control_fd).st_dev == os.fstat(self.top_fd).st_dev
            self._staging = Staging(control_fd if together else self.top_fd, os.getpid())
        return self._staging
