"""Which connections are the superuser's, whatever their credentials say: `superuser = reserved-port |
same-user`.

`reserved-port` is the historic rule: one of this host's own addresses and a source port that only root can
bind (NETINFO 3.2). `same-user` suits a lab, where a student is not root: a loopback peer whose socket belongs
to the server's account.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from netinfo.addresses import is_loopback, is_own_address, to_number
from wire.transport.tap import Address, Transport

ROOT = 0
INODE = 9
"""The column of the kernel's table that names the open file behind a socket."""
RESERVED = 1024
"""Ports below this one are root's."""
OWN_ADDRESS_MEMORY = 10.0
"""Seconds for which it is remembered whether an address is this host's own."""

SuperuserRule = Callable[[Address, Address, Transport], bool]
"""rule(peer, local, transport): is the peer the superuser? Never over UDP, where a source is easily
forged."""


@attrs.define
class OwnAddresses:
    """`is_own_address`, remembered for a while: it is asked at every call."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[str, bool] = attrs.field(factory=dict, init=False)
    _until: float = attrs.field(default=0.0, init=False)

    def __call__(self, host: str) -> bool:
        now = self.clock()
        if now >= self._until or len(self._known) > 4096:
            self._known.clear()
            self._until = now + OWN_ADDRESS_MEMORY
        own = self._known.get(host)
        if own is None:
            own = self._known[host] = is_own_address(host)
        return own


def reserved_port(own: Callable[[str], bool] = is_own_address) -> SuperuserRule:
    """The historic rule, and the servers' default.

    Over UDP only a loopback address counts, which no other host can forge.
    """

    def rule(peer: Address, local: Address, transport: Transport) -> bool:
        ours = own if transport == "tcp" else is_loopback
        return 0 < peer.port < RESERVED and ours(peer.host)

    return rule


def same_user(
    uid: int | None = None, tables: tuple[Path, ...] = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
) -> SuperuserRule:
    """Linux: a loopback peer whose socket belongs to *uid*, by default the server's own user; or to root, who could
    change the database anyway, and who often starts a server that then becomes another account.

    The kernel's table of sockets tells; where it cannot be read nobody is the superuser.
    """
    owner = os.getuid() if uid is None else uid

    def rule(peer: Address, local: Address, transport: Transport) -> bool:
        if transport != "tcp" or not is_loopback(peer.host):
            return False
        return any(found in (owner, ROOT) for found in _owners(tables, peer, local))

    return rule


def _owners(tables: tuple[Path, ...], peer: Address, local: Address) -> Iterator[int]:
    """The users of the sockets whose own end is *peer* and whose far end is *local*, in the kernel's
    table."""
    wanted = (_ends(peer), _ends(local))
    for table in tables:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[INODE] == "0":
                continue  # closed already: whosever it was, the kernel now says root's
            if fields[1].endswith(wanted[0]) and fields[2].endswith(wanted[1]):
                yield int(fields[7])


def _ends(address: Address) -> str:
    """An address as the kernel prints it: a 32-bit number in the machine's own byte order, and the port.

    In the table for IPv6 an IPv4 address stands at the end of a longer one.
    """
    number = to_number(address.host).to_bytes(4, "big")
    return f"{int.from_bytes(number, sys.byteorder):08X}:{address.port:04X}"
