"""How data gets to the disk before a file gets its name and time, so that a power cut cannot tear a file.

In batches: many files are written, one `syncfs` brings all of them to the disk, then they get their names.
Where the system has no `syncfs`, each file is synced by itself.
"""

import ctypes
import fcntl
import os
from collections.abc import Callable
from functools import cache

from attrs import frozen


@frozen
class Durability:
    """How data reaches the disk; both functions take a descriptor and raise OSError.

    `sync` brings one file or directory there, None if nothing needs to; `barrier` all of a file system, None
    where files are synced one by one.
    """

    sync: Callable[[int], None] | None
    barrier: Callable[[int], None] | None


def _to_disk(fd: int) -> None:
    # macOS: fsync only brings the data to the drive, which may keep it for a while.
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is None:
        os.fsync(fd)
    else:
        fcntl.fcntl(fd, full)


@cache
def _syncfs() -> Callable[[int], int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int]
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]


def _sync_file_system(fd: int) -> None:
    function = _syncfs()
    if function is not None and function(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


NOT_DURABLE = Durability(None, None)
"""Whatever the system does by itself (`--no-fsync`)."""
FILE_BY_FILE = Durability(_to_disk, None)
"""An fsync for each file."""
IN_BATCHES = Durability(_to_disk, _sync_file_system)
"""One syncfs for many files."""


def durable() -> Durability:
    """The fastest durable way that this system has."""
    return IN_BATCHES if _syncfs() is not None else FILE_BY_FILE
