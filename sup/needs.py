"""Which of the listed files a client needs (SUP 8.1), and which of its own are to go (SUP 8.2).

Rules alone: what is on the disk is asked of a function, and nothing is changed here.
"""

import os
import stat
from collections.abc import Callable, Iterable, Mapping

from attrs import frozen

from sup.names import TOP, UnsafeName, ancestors, is_refused, normalise
from sup.supfile import Collection
from wire.formats.sup import EntryFlag, ListEntry, NeedEntry

_NEW = int(EntryFlag.NEW)

Look = Callable[[bytes], os.stat_result | None]
"""What a name is on this machine; None if it is not there."""


def to_int32(seconds: int) -> int:
    """A time as SUP carries it: signed 32 bits, later years wrapped (SUP 4.3)."""
    return (seconds + 2**31) % 2**32 - 2**31


@frozen
class Listing:
    """A LIST as the client understands it: names in their plain form, sorted, each once (SUP 2.8).

    `rejected` are names that no server may ask this client to touch, and why.
    """

    entries: Mapping[bytes, ListEntry]
    rejected: tuple[str, ...] = ()


def read_listing(entries: Iterable[ListEntry], control_path: bytes | None) -> Listing:
    """Sorts a LIST, keeps the last of several entries of a name, and leaves out what may not be touched.

    Left out are unsafe names (SUP 9.3.1) and the collection's own control directory `control_path`, if it
    stands among the files (SUP 9.3.3).
    """
    found: dict[bytes, ListEntry] = {}
    rejected = []
    inside = b"" if control_path is None else control_path + b"/"
    for entry in entries:
        try:
            name = normalise(entry.name)
        except UnsafeName as error:
            rejected.append(str(error))
            continue
        if inside and (name + b"/").startswith(inside):
            continue
        found[name] = entry
    return Listing({name: found[name] for name in sorted(found)}, tuple(rejected))


def needed(listing: Listing, collection: Collection, look: Look, lstat: Look) -> dict[bytes, NeedEntry]:
    """The names to ask for, sorted; each with the name as the server wrote it (SUP 8.1).

    `look` follows local links where that is allowed, `lstat` never.
    """
    wanted = {}
    missing: set[bytes] = set()  # below these, nothing need be looked for
    for name, entry in listing.entries.items():
        if collection.fetch_all:
            update: int | None = 0
        elif not (entry.flags & _NEW or collection.old):
            update = None
        else:
            local = None
            if name.rpartition(b"/")[0] not in missing:
                local = (lstat if stat.S_ISLNK(entry.mode) else look)(name)
            if local is None:
                missing.add(name)
            update = _compare(entry, local, collection.keep)
        if update is not None:
            wanted[name] = NeedEntry(entry.name, update)
    return wanted


def _compare(entry: ListEntry, local: os.stat_result | None, keep: bool) -> int | None:
    """0: fetch it; 1: its attributes only; None: not needed."""
    new = bool(entry.flags & _NEW)
    if local is None or stat.S_IFMT(local.st_mode) != stat.S_IFMT(entry.mode):
        return 0
    if not stat.S_ISREG(entry.mode):
        return 0 if new else None
    mtime = to_int32(int(local[stat.ST_MTIME]))
    if keep and mtime > entry.mtime:
        return None
    if mtime == entry.mtime:
        return 1 if new else None
    return 0


@frozen
class Doomed:
    """A name of an earlier upgrade that the collection no longer has; `refused` ones are kept (SUP 8.2)."""

    name: bytes
    mode: int
    refused: bool


def doomed(
    last: Iterable[bytes], listed: Mapping[bytes, object], lstat: Look, refused: frozenset[bytes]
) -> list[Doomed]:
    """What of `last` is still here but no longer listed; in descending order, so children before parents.

    A directory in which listed names stand is not among them, whether it is listed itself or not.
    """
    above = {directory for name in listed for directory in ancestors(name)}
    found = []
    for name in sorted(last, reverse=True):
        if name in listed or name in above or name == TOP:
            continue
        local = lstat(name)
        if local is not None:
            found.append(Doomed(name, local.st_mode, is_refused(name, refused)))
    return found
