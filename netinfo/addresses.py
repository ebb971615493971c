"""IPv4 addresses as NetInfo carries them, and which of them are this host's own.

On the wire an address is one 32-bit number, in the database a dotted text (NETINFO 1). Access rules ask
whether a peer is this very host; binding asks which networks it is attached to.
"""

from __future__ import annotations

import socket
import struct
import sys

import attrs

ANY = "0.0.0.0"  # noqa: S104 - compared with, never listened on
BROADCAST = "255.255.255.255"


def to_number(address: str) -> int:
    """192.42.172.5 -> 0xc02aac05. Raises ValueError for what is not a dotted IPv4 address."""
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
    except OSError:
        raise ValueError(f"{address!r} is not an IPv4 address such as 192.42.172.5") from None


def to_text(number: int) -> str:
    """0xc02aac05 -> 192.42.172.5."""
    return socket.inet_ntop(socket.AF_INET, number.to_bytes(4, "big"))


def is_loopback(host: str) -> bool:
    """Whether an address can only be this host's own, whatever its interfaces."""
    return host.startswith("127.") or host == "::1"


def is_own_address(host: str) -> bool:
    """Whether an IPv4 or IPv6 address belongs to this host: only then can a socket be bound to it."""
    if is_loopback(host):
        return True
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return host not in (ANY, "::", BROADCAST)


@attrs.frozen
class Interface:
    """A network interface that has an IPv4 address; all three as dotted text."""

    name: str
    address: str
    netmask: str
    broadcast: str

    def reaches(self, address: str) -> bool:
        """Whether an address is on this interface's own network."""
        mask = to_number(self.netmask)
        return to_number(address) & mask == to_number(self.address) & mask


# The ioctls that ask for an interface's address, broadcast address and netmask (netdevice(7); <net/if.h> on
# macOS).
_REQUESTS = (0xC0206921, 0xC0206923, 0xC0206925) if sys.platform == "darwin" else (0x8915, 0x8919, 0x891B)


def interfaces() -> tuple[Interface, ...]:
    """The interfaces that have an IPv4 address, loopback included."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            try:
                address, broadcast, netmask = (_ask(asker, request, name) for request in _REQUESTS)
            except OSError:
                continue  # an interface without an IPv4 address
            if broadcast == ANY:  # as `ip addr add` leaves it unless told otherwise
                broadcast = to_text(to_number(address) | ~to_number(netmask) & 0xFFFFFFFF)
            found.append(Interface(name, address, netmask, broadcast))
    return tuple(found)


def _ask(asker: socket.socket, request: int, name: str) -> str:
    import fcntl

    answer = fcntl.ioctl(asker, request, struct.pack("16s24x", name.encode()))
    return socket.inet_ntop(socket.AF_INET, answer[20:24])


def own_addresses() -> tuple[str, ...]:
    """This host's addresses apart from loopback, in the system's order; 127.0.0.1 alone if it has no
    other."""
    addresses = tuple(one.address for one in interfaces() if not is_loopback(one.address))
    return addresses or ("127.0.0.1",)
