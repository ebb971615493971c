"""What a person types to name a domain, in every form: paths, servers, Apple's data sources and NetInfo URLs.

NeXT's tools knew paths, and `-t HOST/TAG`. Apple's `nicl` and `lookupd` added `tag@address`, `path@address`,
`niserver:tag`, `nidomain:path` and `netinfo://user:password@host/domain:path` (NETINFO 4.6). HOST:PORT is ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import attrs

from netinfo.client.names import (
    HISTORIC,
    HOST_AND_PORT,
    BadNameError,
    DomainName,
    NameProblem,
    Portmapper,
    TaggedServer,
    host_and_port,
    parse_domain_path,
    parse_server,
)

URL = "netinfo://"
SERVER, PATH = "niserver:", "nidomain:"
_COLON = re.compile(r"(?<!\\):")


@attrs.frozen
class Source:
    """A domain, and what a URL may say beside it."""

    domain: DomainName
    start: Portmapper | None = None
    """The portmapper of the host whose domain `local` a path starts from; None: this host's."""
    user: str | None = None
    password: str | None = None
    directory: bytes = b""
    """A directory's path in the domain, or its number."""

    @property
    def portmapper(self) -> Portmapper | None:
        """What the name says about portmappers: the one to begin at, whose port other hosts are taken to have."""
        return self.domain.portmapper if isinstance(self.domain, TaggedServer) else self.start


def parse_tool_source(text: str, local: Portmapper = HISTORIC) -> Source:
    """A tool's domain argument without `-t`: a path, unless it says otherwise, as HOST:PORT does.

    local: this host's portmapper, whose port others are taken to have, too. Raises `BadNameError`.
    """
    return _explicit(text, local) or Source(parse_domain_path(text))


def parse_source(text: str, local: Portmapper = HISTORIC) -> Source:
    """A domain as scripts name it: "/", ".", "..", a child's name or a path that begins with a dot or a slash; or a
    server, as `parse_server` reads it; or any other form. Raises `BadNameError`."""
    if found := _explicit(text, local):
        return found
    if text.startswith(("/", ".")) or not re.search("[/:@]", text):
        return Source(parse_domain_path(text))
    return Source(parse_server(text, local.port))


def _explicit(text: str, local: Portmapper) -> Source | None:
    """The forms that say what they are; None if it is none of them."""
    if text.startswith(URL):
        return parse_url(text, local)
    if HOST_AND_PORT.fullmatch(text):
        return Source(parse_server(text))
    name, at, host = text.rpartition("@")
    if not at or name.endswith("\\") or "/" in host:
        name, host = text, ""
    where = host_and_port(host, local.port, text) if name != text else local
    for prefix, kind in ((SERVER, _server), (PATH, _path)):
        if name.startswith(prefix):
            return kind(name.removeprefix(prefix), where, text)
    return None if name == text else _kind_of(name)(name, where, text)


def parse_url(text: str, local: Portmapper = HISTORIC) -> Source:
    """`netinfo://[user[:password]@]host[/[domain][:[path|id]]]`, the host with its portmapper's port if need be.

    Without a host it is this one, without a domain its `local`; a domain that begins with a slash or a dot is a path
    from there, another one a tag (NETINFO 4.6). Raises `BadNameError`.
    """
    authority, _, rest = text.removeprefix(URL).partition("/")
    login, at, host = authority.rpartition("@")
    shown = f"{URL}{host}/{rest}"  # without the password
    user, colon, password = login.partition(":")
    if at and not user:
        raise BadNameError(NameProblem.FORMAT, f"{shown!r}: no user before the @")
    name, *directory = _COLON.split(rest, maxsplit=1)
    where = host_and_port(host, local.port, shown) if host else local
    return attrs.evolve(
        _kind_of(name or ".")(name, where, shown),
        user=user if at else None,
        password=password if colon else None,
        directory=os.fsencode("".join(directory)),
    )


def _kind_of(name: str) -> Callable[[str, Portmapper, str], Source]:
    """What stands before an @ or is a URL's domain: a path if it looks like one, else a tag."""
    return _path if name.startswith(".") or "/" in name else _server


def _server(tag: str, where: Portmapper, whole: str) -> Source:
    if not tag:
        raise BadNameError(NameProblem.NO_TAG, f"{whole!r} names no tag, such as network")
    return Source(TaggedServer(where, os.fsencode(tag)))


def _path(path: str, where: Portmapper, whole: str) -> Source:
    return Source(parse_domain_path(path), where)
