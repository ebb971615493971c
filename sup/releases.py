"""The releases file (SUP 6.3): several versions of a collection, each with its own prefix, list, scan and host.

A release names another with `next=`, and so on: the trees of the whole chain are served as one, and a file
that is in several comes from the first.
"""

import re
from collections.abc import Sequence

import attrs

from sup import controlfile

DEFAULT = b"default"
"""The release of a client that asks for none; it exists even where no line defines it."""

LONGEST_CHAIN = 100
"""Releases that may follow one another; the directories of all are open at once."""

_OPTION = re.compile(rb"([^ \t=]+)[ \t]*=?[ \t]*([^ \t]*)")


class InvalidOption(ValueError):
    """A releases file with a word that is no option; the text is what the client is told in GOAWAY."""


class NoSuchRelease(ValueError):
    """The release asked for, or one that its chain goes on to, is not defined (SETUPACK 994)."""


@attrs.frozen
class Release:
    """One line: the tree to serve, and the names of its control files in `sup/<collection>/`."""

    name: bytes
    next: bytes | None = None
    prefix: bytes | None = None
    """Directory of the data; None is the collection's own prefix."""
    list: bytes = b"list"
    scan: bytes = b"scan"
    host: bytes = b"host"


def parse(text: bytes) -> list[Release]:
    """The releases that a file defines, in its order. Raises InvalidOption."""
    return [_release(line) for _, line in controlfile.lines(text) if controlfile.words(line)]


def _release(line: bytes) -> Release:
    name, *rest = line.lstrip(b" \t").replace(b"\t", b" ").split(b" ", 1)
    options: dict[str, bytes] = {}
    for option, value in _OPTION.findall(rest[0] if rest else b""):
        key = option.decode("latin-1")
        if key not in ("next", "prefix", "list", "scan", "host"):
            shown = [text.decode("utf-8", "replace") for text in (option, name)]
            raise InvalidOption(f"Invalid release option {shown[0]} for release {shown[1]}")
        options[key] = value
    return Release(name, **options)


def chain(releases: Sequence[Release], wanted: bytes) -> tuple[Release, ...]:
    """The release named `wanted` and those that follow it, first first.

    The search for a `next=` goes on from the line that names it and wraps around once. Raises NoSuchRelease
    for a name that is not defined, and for a chain that comes back to a line (the original runs for ever) or is longer
    than LONGEST_CHAIN.
    """
    found: list[int] = []
    name: bytes | None = wanted
    start = 0
    while name is not None:
        order = (*range(start, len(releases)), *range(start))
        at = next((index for index in order if releases[index].name == name), None)
        if at is None and name == DEFAULT:
            return (*(releases[index] for index in found), Release(DEFAULT))
        if at is None or at in found or len(found) == LONGEST_CHAIN:
            raise NoSuchRelease(name.decode("utf-8", "replace"))
        found.append(at)
        name = releases[at].next
        start = at + 1
    return tuple(releases[index] for index in found)
