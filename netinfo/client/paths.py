"""Paths of directories inside a domain, such as `/machines/srv` or `/users/uid=101` (NETINFO 4.6), and the same as
X.500 names, `uid=101,name=users`, for `nicl -x500` (NETINFO 6.5)."""

from __future__ import annotations

import re

import attrs

from netinfo.client.names import escape, unescape

NAME = b"name"

# The escape test looks at the one character before, as the original's does: in `a\\/b` the slash does not
# separate.
_SEPARATOR = re.compile(rb"(?<!\\)/+")
_EQUALS = re.compile(rb"(?<!\\)=")
_COMMA = re.compile(rb"(?<!\\),")


@attrs.frozen
class Step:
    """One LOOKUP on the way: the child whose property `key` holds `value`."""

    key: bytes
    value: bytes

    def __bytes__(self) -> bytes:
        value = escape(self.value)
        return value if self.key == NAME else escape(self.key) + b"=" + value


@attrs.frozen
class DirectoryPath:
    """Steps from the root when `absolute`, else from a directory that is given beside it."""

    absolute: bool
    steps: tuple[Step, ...]

    def __bytes__(self) -> bytes:
        return (b"/" if self.absolute else b"") + b"/".join(map(bytes, self.steps))

    def to_x500(self) -> bytes:
        """As X.500 names an object: the last step first, every key written out; the root is empty."""
        return b",".join(
            escape_x500(step.key) + b"=" + escape_x500(step.value) for step in reversed(self.steps)
        )


def parse_path(path: bytes) -> DirectoryPath:
    """Split a path. Runs of slashes are one; a slash at the end leaves a last, empty component, which no
    directory has unless one is named so; "/" alone is the root and "" the directory that is given."""
    rest = path.lstrip(b"/")
    parts = _SEPARATOR.split(rest) if rest else []
    return DirectoryPath(path.startswith(b"/"), tuple(_step(part) for part in parts))


def _step(part: bytes) -> Step:
    halves = _EQUALS.split(part, maxsplit=1)
    if len(halves) == 1:
        return Step(NAME, unescape(part))
    return Step(unescape(halves[0]), unescape(halves[1]))


def parse_x500(name: bytes) -> DirectoryPath:
    """An X.500 name, which always begins at the root; a part without `=` is a directory's name."""
    parts = [part.strip() for part in _COMMA.split(name)] if name.strip() else []
    return DirectoryPath(True, tuple(map(_step, reversed(parts))))


def escape_x500(word: bytes) -> bytes:
    """A key or value in an X.500 name: comma, equals sign and backslash get a backslash before them."""
    return re.sub(rb"([\\,=])", rb"\\\1", word)
