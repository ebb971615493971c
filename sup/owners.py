"""Whose a file becomes that a collection brings: names of users and groups travel, not numbers (SUP 8.5)."""

import grp
import os
import pwd
import stat
from collections.abc import Callable

from attrs import frozen

FindUser = Callable[[str], tuple[int, int] | None]
"""A user's uid and primary gid; None if there is no such user."""

FindGroup = Callable[[str], int | None]
"""A group's gid; None if there is no such group."""


def find_user(name: str) -> tuple[int, int] | None:
    """Looks a user up on this machine."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


def find_group(name: str) -> int | None:
    """Looks a group up on this machine."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


@frozen
class Owner:
    """Who is to own a file; `withheld` are the mode bits that it must not have under this owner."""

    uid: int
    gid: int
    withheld: int = 0


class Owners:
    """Maps owners as the server names them to this machine's, each pair looked up once.

    `fallback` is whose a file of an unknown user becomes: uid and gid of the directory at the top. Such a
    file loses its set-id bits; one of an unknown group only setgid.
    """

    def __init__(
        self, fallback: tuple[int, int], user: FindUser = find_user, group: FindGroup = find_group
    ) -> None:
        self._fallback = fallback
        self._find_user = user
        self._find_group = group
        self._known: dict[tuple[bytes | None, bytes | None], Owner] = {}

    def find(self, user: bytes | None, group: bytes | None) -> Owner:
        """The owner for names as they came in RECV; an empty or absent name is an unknown one."""
        pair = user, group
        if pair not in self._known:
            self._known[pair] = self._look_up(user, group)
        return self._known[pair]

    def _look_up(self, user: bytes | None, group: bytes | None) -> Owner:
        found = self._find_user(os.fsdecode(user)) if user and b"\0" not in user else None
        if found is None:
            return Owner(*self._fallback, stat.S_ISUID | stat.S_ISGID)
        uid, primary = found
        gid = self._find_group(os.fsdecode(group)) if group and b"\0" not in group else None
        if gid is None:
            return Owner(uid, primary, stat.S_ISGID)
        return Owner(uid, gid)
