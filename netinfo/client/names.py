"""How a person names a NetInfo domain: by its place in the hierarchy, by host and tag, or by host and port.

Only text becomes values here; nothing is resolved and nobody is asked. `netinfo.client.sources` reads what a
person types, `netinfo.client.opening` turns a name into an open domain.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from enum import IntEnum

import attrs

PORTMAPPER_PORT = 111
LOCAL_TAG = b"local"
PORTMAP_VARIABLE = "GHOSTPORTS_PORTMAP"


class NameProblem(IntEnum):
    """Why a server name cannot be used. The tools exit with 216 + this number (NETINFO 6.5)."""

    FORMAT = 1
    NO_HOST = 2
    NO_TAG = 3
    UNKNOWN_HOST = 5


class BadNameError(ValueError):
    """A domain name that does not say which domain is meant."""

    def __init__(self, problem: NameProblem, sentence: str) -> None:
        super().__init__(sentence)
        self.problem = problem


@attrs.frozen
class Portmapper:
    """A portmapper's address; `host` is a name or a dotted address."""

    host: str = "127.0.0.1"
    port: int = PORTMAPPER_PORT


HISTORIC = Portmapper()
"""This host's, where nothing says otherwise."""


@attrs.frozen
class TaggedServer:
    """The server of the database `tag` on a host, found through that host's portmapper and binder."""

    portmapper: Portmapper
    tag: bytes

    def __str__(self) -> str:
        port = "" if self.portmapper.port == PORTMAPPER_PORT else f":{self.portmapper.port}"
        return f"{self.portmapper.host}{port}/{os.fsdecode(self.tag)}"


@attrs.frozen
class DirectServer:
    """A domain server at a known port: no portmapper and no binder is asked."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@attrs.frozen
class DomainPath:
    """A place in the hierarchy (NETINFO 4.5): "/" and below when `absolute`, else from the local domain.

    `steps` holds ".", ".." and names of child domains as bytes, with their escapes resolved.
    """

    absolute: bool
    steps: tuple[bytes, ...]

    def __str__(self) -> str:
        text = "/".join(os.fsdecode(step) for step in self.steps)
        return "/" + text if self.absolute else text or "."


ServerName = TaggedServer | DirectServer
DomainName = TaggedServer | DirectServer | DomainPath

HOST_AND_PORT = re.compile(r"(?P<host>[^/:@\s]*):(?P<port>\d{1,5})")
_SEPARATOR = re.compile(rb"(?<!\\)/+")


def _port(text: str, whole: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise BadNameError(NameProblem.FORMAT, f"{whole!r}: a port is a number from 1 to 65535")
    return number


def host_and_port(text: str, default: int, whole: str) -> Portmapper:
    """HOST or HOST:PORT, a part of *whole*. Raises `BadNameError`."""
    host, colon, port = text.partition(":")
    if not host:
        raise BadNameError(
            NameProblem.NO_HOST, f"{whole!r} names no host; write HOST/TAG, HOST:PMAP/TAG or HOST:PORT"
        )
    if colon and not port.isdecimal():
        raise BadNameError(NameProblem.FORMAT, f"{whole!r}: what follows the colon is not a port number")
    return Portmapper(host, _port(port, whole) if colon else default)


def parse_server(text: str, portmapper_port: int = PORTMAPPER_PORT) -> ServerName:
    """What follows `-t`: HOST/TAG, HOST:PMAP/TAG, or HOST:PORT for a domain server without portmapper and
    binder.

    *portmapper_port* is taken where none is given. Apple's TAG@HOST (NETINFO 4.5) means HOST/TAG. Raises
    `BadNameError`.
    """
    tag, at, host = text.rpartition("@")
    if at and "/" not in text:
        if not tag:
            raise BadNameError(NameProblem.NO_TAG, f"{text!r} names no tag; write TAG@HOST")
        return TaggedServer(host_and_port(host, portmapper_port, text), os.fsencode(tag))
    if direct := HOST_AND_PORT.fullmatch(text):
        place = host_and_port(text, 0, text)
        return DirectServer(direct["host"], place.port)
    host, slash, tag = text.partition("/")
    if not slash:
        raise BadNameError(NameProblem.FORMAT, f"{text!r} is not HOST/TAG, HOST:PMAP/TAG or HOST:PORT")
    if not tag:
        raise BadNameError(
            NameProblem.NO_TAG, f"{text!r} names no tag after the slash, such as {host}/network"
        )
    if "/" in tag:
        raise BadNameError(NameProblem.FORMAT, f"{text!r} holds more than one slash; write HOST/TAG")
    return TaggedServer(host_and_port(host, portmapper_port, text), os.fsencode(tag))


def parse_domain_path(text: str) -> DomainPath:
    """A path of the hierarchy: components split at unescaped slashes, backslash taking one character as it
    is."""
    raw = os.fsencode(text)
    steps = [unescape(part) for part in _SEPARATOR.split(raw) if part]
    return DomainPath(raw.startswith(b"/"), tuple(steps))


def unescape(raw: bytes) -> bytes:
    """Resolve backslashes: each takes the next character as it is (NETINFO 4.6)."""
    return re.sub(rb"\\(.)", rb"\1", raw, flags=re.DOTALL)


def escape(name: bytes) -> bytes:
    """A name as one component of a path: slash, equals sign and backslash get a backslash before them."""
    return re.sub(rb"([\\/=])", rb"\\\1", name)


def escape_domain(name: bytes) -> bytes:
    """A domain's name as one component of a domain path: slash and backslash get a backslash (NETINFO
    4.5)."""
    return re.sub(rb"([\\/])", rb"\\\1", name)


def local_portmapper(environ: Mapping[str, str] = os.environ) -> Portmapper:
    """This host's portmapper: 127.0.0.1:111, or what GHOSTPORTS_PORTMAP=HOST:PORT says. Raises
    `BadNameError`."""
    text = environ.get(PORTMAP_VARIABLE, "")
    if not text:
        return Portmapper()
    if not HOST_AND_PORT.fullmatch(text):
        raise BadNameError(
            NameProblem.FORMAT, f"{PORTMAP_VARIABLE}={text}: write HOST:PORT, such as 127.0.0.1:10111"
        )
    return host_and_port(text, PORTMAPPER_PORT, text)
