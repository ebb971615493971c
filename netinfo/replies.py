"""Replies of the reading procedures as bytes, built once and sent until the tree changes.

A reply depends on one directory and its children's properties, and on whether the caller sees passwords. Each
directory's `family` number changes exactly when one of these does and is never used twice, so a reply that was stored
with the current number is the current reply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wire.formats.netinfo import NETINFO

Key = tuple[Any, ...]
"""(procedure number, whether passwords are shown, directory number, what else the call named)."""

OVERHEAD = 200
"""Bytes that an entry costs beside its reply."""
DIRECTORY = 2
"""Where the directory's number stands in a key."""

_ARGUMENTS: dict[str, Callable[[int, bool, Any], Key]] = {
    "ROOT": lambda number, sees, argument: (number, sees, 0),
    "SELF": lambda number, sees, argument: (number, sees, argument.object),
    "PARENT": lambda number, sees, argument: (number, sees, argument.object),
    "READ": lambda number, sees, argument: (number, sees, argument.object),
    "CHILDREN": lambda number, sees, argument: (number, sees, argument.object),
    "LISTPROPS": lambda number, sees, argument: (number, sees, argument.object),
    "LISTALL": lambda number, sees, argument: (number, sees, argument.object),
    "LIST": lambda number, sees, argument: (number, sees, argument.id.object, argument.name),
    "LOOKUP": lambda number, sees, argument: (number, sees, argument.id.object, argument.key, argument.value),
    "LOOKUPREAD": lambda number, sees, argument: (
        number,
        sees,
        argument.id.object,
        argument.key,
        argument.value,
    ),
    "READPROP": lambda number, sees, argument: (number, sees, argument.id.object, argument.index),
    "READNAME": lambda number, sees, argument: (
        number,
        sees,
        argument.id.object,
        argument.prop_index,
        argument.name_index,
    ),
}
KEYS = {NETINFO.by_name[name].number: key for name, key in _ARGUMENTS.items()}
"""Procedure number -> what makes the key of a call, for procedures whose replies are kept."""


class Replies:
    """Built replies, at most *budget* bytes of them.

    Two generations: an entry found in the old one moves to the young one; when the young one has grown to half the
    budget it becomes the old one, and what was not used since is forgotten. A hit costs no bookkeeping.
    """

    def __init__(self, budget: int = 64 << 20) -> None:
        self._half = budget // 2
        self._young: dict[Key, tuple[int, bytes]] = {}
        self._old: dict[Key, tuple[int, bytes]] = {}
        self._size = 0

    def get(self, key: Key, family: int) -> bytes | None:
        """The reply that was stored for this state of the directory."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is None or found[0] != family:
                return None
            self.put(key, family, found[1])
        return found[1] if found[0] == family else None

    def put(self, key: Key, family: int, reply: bytes) -> None:
        cost = len(reply) + OVERHEAD
        if cost > self._half:
            return
        if self._size + cost > self._half:
            self._old, self._young, self._size = self._young, {}, 0
        replaced = self._young.get(key)
        if replaced is not None:
            self._size -= len(replaced[1]) + OVERHEAD
        self._young[key] = family, reply
        self._size += cost
