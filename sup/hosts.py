"""The host file (SUP 6.4): which clients may have a collection, and under which key.

Each line is `[!]name [key]`. The first line that a client matches admits it; a line with `!` is matched by
every host but that one, so that two of them admit everybody. A client that matches no line is turned away.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator

import attrs

from sup import controlfile

Resolver = Callable[[str], Iterable[str]]
"""From a host name to its addresses; none for a name that is not known. It may take its time."""


@attrs.frozen
class Host:
    """One line of a host file."""

    name: str
    """An address, a network (192.0.2.0/24, our addition) or a host name."""
    negated: bool = False
    key: bytes | None = None
    """The key that the client's data is encrypted with, in place of the one in the crypt file."""


def parse(text: bytes) -> Iterator[Host]:
    for _, line in controlfile.lines(text):
        line = line.lstrip(b" \t")
        negated = line.startswith(b"!")
        name, _, key = line.removeprefix(b"!").lstrip(b" \t").replace(b"\t", b" ").partition(b" ")
        if name:
            yield Host(name.decode("utf-8", "replace"), negated, key.lstrip(b" ") or None)


def admitting(hosts: Iterable[Host], peer: str, resolve: Resolver) -> Host | None:
    """The line that admits the client at address `peer`, or None."""
    return next((host for host in hosts if matches(host.name, peer, resolve) is not host.negated), None)


def matches(name: str, peer: str, resolve: Resolver) -> bool:
    """Whether `peer` is the address `name`, is in the network `name`, or is an address of the host `name`."""
    address = plain_address(peer)
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return address in [plain_address(found) for found in resolve(name)]


def plain_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as people write it in host files: IPv4 also where it came in through an IPv6 socket."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
