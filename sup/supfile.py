"""The client's supfile: which collections to keep up to date, from which hosts, and how (SUP 7.1).

One collection a line, its name first, then options. The command line's flags change what the file says, for
all collections or for named ones (SUP 7.2).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from sup.controlfile import lines, words
from sup.names import UnsafeName, normalise
from sup.report import printable

DEFAULT_TIMEOUT = 10_800
"""Seconds that a client is prepared to wait for a busy or unreachable server (SUP 1.5)."""

FOREVER = -1
"""The value of `timeout=` that means: try again until it works (SUP 1.5)."""


class SupfileError(ValueError):
    """A supfile, or a file of hosts, that cannot be understood; the message says which line and why."""


@frozen
class Collection:
    """What to upgrade and how: one line of a supfile and the flags that apply to it.

    Host names are text; everything that travels to the server or names a file is bytes, and None where the
    line is silent. `timeout` is in seconds, FOREVER for no limit.
    """

    name: bytes
    hosts: tuple[str, ...] = ()
    base: bytes = b""
    hostbase: bytes | None = None
    prefix: bytes | None = None
    release: bytes | None = None
    login: bytes | None = field(default=None, repr=False)
    password: bytes | None = field(default=None, repr=False)
    crypt: bytes | None = field(default=None, repr=False)
    notify: str | None = None
    timeout: int = DEFAULT_TIMEOUT
    use_rel_suffix: bool = False
    # Switches of the supfile, which flags can turn on and off.
    backup: bool = False
    compress: bool = False
    delete: bool = False
    execute: bool = False
    keep: bool = False
    old: bool = False
    # Switches that only flags can turn on.
    fetch_all: bool = False
    list_only: bool = False
    local: bool = False
    mail: bool = False
    verbose: bool = False

    @property
    def suffix(self) -> bytes:
        """What the names of `when` and `last` end with: `.release` with use-rel-suffix (SUP 7.4)."""
        return b"." + self.release if self.use_rel_suffix and self.release is not None else b""

    @property
    def title(self) -> str:
        """The name to show: with use-rel-suffix, the release too."""
        return printable(self.name + self.suffix.replace(b".", b"-", 1))

    @property
    def newonly(self) -> bool:
        """Whether the server need only list what changed since `when` (SUP 2.3)."""
        return not (self.fetch_all or self.delete or self.old)


_SWITCHES: Mapping[bytes, str] = {
    b"backup": "backup",
    b"compress": "compress",
    b"delete": "delete",
    b"execute": "execute",
    b"keep": "keep",
    b"old": "old",
    b"use-rel-suffix": "use_rel_suffix",
}
_BYTES: Mapping[bytes, str] = {
    b"base": "base",
    b"hostbase": "hostbase",
    b"prefix": "prefix",
    b"release": "release",
    b"login": "login",
    b"password": "password",
    b"crypt": "crypt",
}
_TEXT = b"notify"
_HOST = b"host"
_TIMEOUT = b"timeout"

# `host=h`, `host = h`, `host= h` and, as the original reads it, `host h` are equal.
_OPTION = re.compile(rb"[ \t]*([^ \t=]+)[ \t]*=?[ \t]*")
_VALUE = re.compile(rb"[^ \t]+")
_HOSTS = re.compile(rb"[^ \t,]+(?:[ \t]*,[ \t,]*[^ \t,]+)*")


def parse(text: bytes, source: str = "supfile") -> tuple[Collection, ...]:
    """The collections of a supfile, in the order of its lines. Raises SupfileError."""
    return tuple(_collection(line, f"{source}, line {number}") for number, line in lines(text) if words(line))


def _collection(line: bytes, where: str) -> Collection:
    name, _, rest = line.strip(b" \t").replace(b"\t", b" ").partition(b" ")
    shown = name.decode(errors="backslashreplace")
    try:
        # The name becomes part of a path on both sides: sup/<collection>/when.
        if normalise(name) != name or name == b".":
            raise UnsafeName(f"{shown} is not in its plain form")
    except UnsafeName as error:
        raise SupfileError(f"{where}: not the name of a collection: {error}") from None

    settings: dict[str, Any] = {"base": b"/usr/" + name}
    at = 0
    while match := _OPTION.match(rest, at):
        option, at = match.group(1), match.end()
        if option in _SWITCHES:
            settings[_SWITCHES[option]] = True
            continue
        if option not in _BYTES and option not in (_HOST, _TIMEOUT, _TEXT):
            text = option.decode(errors="backslashreplace")
            raise SupfileError(f"{where}: Invalid supfile option {text} for collection {shown}")
        value = (_HOSTS if option == _HOST else _VALUE).match(rest, at)
        if not value:
            raise SupfileError(f"{where}: option {option.decode()} of collection {shown} needs a value")
        at = value.end()
        settings.update(_setting(option, value.group(), f"{where}: collection {shown}"))
    if rest[at:].strip(b" \t"):
        raise SupfileError(f"{where}: cannot read {rest[at:].decode(errors='backslashreplace')!r}")
    collection = Collection(name, **settings)
    if b"/" in collection.suffix:
        raise SupfileError(f"{where}: with use-rel-suffix, the release of collection {shown} cannot hold a /")
    return collection


def _setting(option: bytes, value: bytes, where: str) -> dict[str, Any]:
    if option == _HOST:
        return {"hosts": _host_names(value, where)}
    if option == _TIMEOUT:
        if not re.fullmatch(rb"-1|[0-9]+", value):
            raise SupfileError(f"{where}: timeout={value.decode(errors='backslashreplace')} is not seconds")
        return {"timeout": int(value)}
    if option == _TEXT:
        return {"notify": value.decode(errors="surrogateescape")}
    return {_BYTES[option]: value}


def _host_names(value: bytes, where: str) -> tuple[str, ...]:
    names = {name for part in value.split(b",") for name in words(part)}
    try:
        # The original keeps hosts in a sorted set, and tries them in that order (SUP 7.1).
        return tuple(name.decode("ascii") for name in sorted(names))
    except UnicodeDecodeError:
        raise SupfileError(f"{where}: a host name may only hold ASCII characters") from None


def parse_hosts(text: bytes, source: str = "coll.host") -> dict[bytes, tuple[str, ...]]:
    """`coll.host`: collection -> hosts, from lines `collection[=| ]host[, host]...` (SUP 6.7). Raises SupfileError."""
    found: dict[bytes, tuple[str, ...]] = {}
    for number, line in lines(text):
        where = f"{source}, line {number}"
        match = _OPTION.match(line)
        if not match:
            raise SupfileError(f"{where}: error in collection/host file")
        value = _HOSTS.match(line, match.end())
        if not value or line[value.end() :].strip(b" \t"):
            raise SupfileError(f"{where}: error in collection/host file")
        found[match.group(1)] = _host_names(value.group(), where)
    return found


@frozen
class Flags:
    """Flags of the command line that belong together: `-de=one,two` (SUP 7.2).

    `settings` are Collection attributes and their new values; `collections` is None when all are meant.
    """

    settings: Mapping[str, bool]
    collections: frozenset[bytes] | None = None


FLAG_SETTINGS: Mapping[str, tuple[str, bool]] = {
    "a": ("fetch_all", True),
    "b": ("backup", True),
    "B": ("backup", False),
    "d": ("delete", True),
    "D": ("delete", False),
    "e": ("execute", True),
    "E": ("execute", False),
    "f": ("list_only", True),
    "k": ("keep", True),
    "K": ("keep", False),
    "l": ("local", True),
    "m": ("mail", True),
    "o": ("old", True),
    "O": ("old", False),
    "v": ("verbose", True),
    "z": ("compress", True),
    "Z": ("compress", False),
}
"""What each flag that can belong to single collections changes (SUP 7.2)."""


def apply_flags(collections: Iterable[Collection], flags: Sequence[Flags]) -> tuple[Collection, ...]:
    """The collections as the flags want them: flags for named collections outrank those for all."""
    general = [group for group in flags if group.collections is None]
    named = [group for group in flags if group.collections is not None]
    changed = []
    for collection in collections:
        settings: dict[str, Any] = {}
        for group in general:
            settings.update(group.settings)
        for group in named:
            if group.collections is not None and collection.name in group.collections:
                settings.update(group.settings)
        changed.append(evolve(collection, **settings))
    return tuple(changed)
