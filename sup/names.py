"""Names of files in a collection, as they travel in SUP's messages, list files and scan files.

A name is `bytes`, relative to the collection's base (or prefix) directory. Both sides bring every name
that another program wrote into one form before they compare or use it, and refuse a name that could
leave the directory: what is lexically safe here is opened component by component by `sup.tree`.
"""

import re
from collections.abc import Iterator

from sup.report import printable

TOP = b"."
"""The collection's top directory, which `upgrade .` lists under this name (SUP 6.1.1)."""
LONGEST_NAME = 1999
"""Bytes of a name that can travel: the original's buffers take no more (SUP 1.4)."""

_PLAIN = re.compile(rb"[^./\0][^/\0]*(?:/[^./\0][^/\0]*)*\Z").match
"""Matches most names that are in their one form, and no other; the rest take a closer look."""


class UnsafeName(ValueError):
    """A name that may not be used as the name of a file in a collection."""


def normalise(name: bytes) -> bytes:
    """The one form of `name`: no `./` in front or within, no doubled and no trailing `/`.

    Raises UnsafeName for a name that is empty, absolute, holds a NUL byte or a `..` component (SUP 9.3.1).
    """
    if _PLAIN(name):
        return name
    if not name:
        raise UnsafeName("an empty name is not the name of a file")
    if b"\0" in name:
        raise UnsafeName(f"the name {printable(name)} holds a NUL byte")
    if name.startswith(b"/"):
        raise UnsafeName(
            f"the name {printable(name)} is absolute; only names below the base directory are allowed"
        )
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise UnsafeName(f"the name {printable(name)} would leave the base directory")
    return b"/".join(parts) or TOP


def plain_name(name: bytes) -> bytes:
    """A name as the original takes it from a message or a list file: up to its first NUL, without `./` in front.

    (SUP 1.3, 2.9.) It may still be unsafe: see `normalise`.
    """
    name = name.partition(b"\0")[0]
    while name.startswith(b"./") and len(name) > 2:
        name = name[2:].lstrip(b"/")
    return name


def is_collection_name(name: bytes) -> bool:
    """Whether `name` can name a collection: it becomes part of the path `sup/<collection>/` (SUP 9.3.6)."""
    try:
        return normalise(name) == name != TOP and len(name) <= 255
    except UnsafeName:
        return False


def ancestors(name: bytes) -> Iterator[bytes]:
    """The directories above a normalised `name`, nearest first; the top directory itself is not among them."""
    slash = name.rfind(b"/")
    while slash > 0:
        name = name[:slash]
        yield name
        slash = name.rfind(b"/")


def is_covered(name: bytes, names: frozenset[bytes]) -> bool:
    """Whether `name`, a directory above it, or the whole collection (`.`) is in `names`."""
    if not names:
        return False
    return TOP in names or name in names or any(above in names for above in ancestors(name))


def is_refused(name: bytes, refused: frozenset[bytes]) -> bool:
    """Whether the client refuses `name`: the name or one above it is in its refuse file (SUP 4.2).

    The match is exact, byte by byte, without wildcards; spellings that are not normalised (`x/`, `a//b`)
    match nothing, as with the original.
    """
    return is_covered(name, refused)
