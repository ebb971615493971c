"""Replies of the reading procedures as bytes, built once and sent until the tree changes.

A reply depends on one directory and its children's properties, and on whether the caller sees passwords. Each
directory's `family` number changes exactly when one of these does and is never used twice, so a reply that was stored
with the current number is the current reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netinfo.tree import ROOT, Directory
from wire.formats.netinfo import NETINFO, NiId

OVERHEAD = 300
"""Bytes that an entry costs beside its key and its reply."""

KEPT = frozenset(
    NETINFO.by_name[name].number
    for name in (
        *("PING", "ROOT", "SELF", "PARENT", "READ", "CHILDREN", "LISTPROPS", "LISTALL"),
        *("LIST", "LOOKUP", "LOOKUPREAD", "READPROP", "READNAME"),
    )
)
"""The procedures whose replies are kept, by number."""


def directory_named(argument: Any) -> int:
    """The number of the directory that a call of one of them reads."""
    if argument is None:
        return ROOT
    which: NiId = argument if isinstance(argument, NiId) else argument.id
    return which.object


def key_of(procedure: int, sees_passwords: bool) -> bytes:
    """The beginning of a key; the bytes of the call's argument are the rest."""
    return bytes((procedure, sees_passwords))


class Replies:
    """Built replies, at most *budget* bytes of them.

    Two generations: an entry found in the old one moves to the young one; when the young one has grown to half the
    budget it becomes the old one, and what was not used since is forgotten. A hit costs no bookkeeping.
    """

    def __init__(self, budget: int = 64 << 20) -> None:
        self._half = budget // 2
        self._young: dict[bytes, tuple[int, int, bytes]] = {}
        """Key -> the directory's number, its family at the time, the reply."""
        self._old: dict[bytes, tuple[int, int, bytes]] = {}
        self._size = 0

    def get(self, key: bytes, directories: Mapping[int, Directory]) -> bytes | None:
        """The reply that was stored, if its directory is still as it was."""
        found = self._young.get(key)
        old = None
        if found is None:
            found = old = self._old.get(key)
            if found is None:
                return None
        number, family, reply = found
        directory = directories.get(number)
        if directory is None or directory.family != family:
            return None
        if old is not None:
            self.put(key, directory, reply)
        return reply

    def put(self, key: bytes, directory: Directory, reply: bytes) -> None:
        """Keep the reply of a call that reads *directory* as it is now."""
        cost = len(key) + len(reply) + OVERHEAD
        if cost > self._half:
            return
        if self._size + cost > self._half:
            self._old, self._young, self._size = self._young, {}, 0
        replaced = self._young.get(key)
        if replaced is not None:
            self._size -= len(key) + len(replaced[2]) + OVERHEAD
        self._young[key] = directory.number, directory.family, reply
        self._size += cost
