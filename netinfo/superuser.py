"""Which connections are the superuser's, whatever their credentials say: `superuser = reserved-port |
same-user`.

`reserved-port` is the historic rule: one of this host's own addresses and a source port that only root can
bind (NETINFO 3.2). `same-user` suits a lab, where a student is not root: a caller on this host whose socket belongs to
the server's account.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from weakref import ref

import attrs

from netinfo.access import RESERVED
from netinfo.addresses import is_loopback, is_own_address
from wire.transport.tap import Address, Transport

ROOT = 0
OWN_END, FAR_END, USER, INODE = 1, 2, 7, 9
"""Columns of the kernel's table of sockets; the last names the open file behind one."""
SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""Linux's tables of sockets."""
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
    uid: int | None = None,
    tables: Sequence[Path] = SOCKETS,
    own: Callable[[str], bool] = is_own_address,
) -> SuperuserRule:
    """Linux: a peer on one of this host's own addresses whose socket belongs to *uid*, by default the server's own
    user; or to root, who could change the database anyway, and who often starts a server that then becomes another
    account.

    The kernel's table of sockets tells; where it cannot be read nobody is the superuser. A socket keeps its user, so
    one look is enough for a connection. It is also safer than several: what the table says of these two addresses once
    the peer has closed may be about another's socket.
    """
    owner = os.getuid() if uid is None else uid
    known = PerConnection()

    def rule(peer: Address, local: Address, transport: Transport) -> bool:
        if transport != "tcp":
            return False
        verdict = known.get(peer)
        if verdict is None:
            if not own(peer.host):
                return False
            found = _owner(tables, peer, local)
            if found is None:
                return False
            verdict = known.put(peer, found in (owner, ROOT))
        return verdict

    return rule


class PerConnection:
    """Verdicts that live as long as their connection.

    A connection is known by the object that is its peer's address, of which the transport makes one for each: an equal
    address may be somebody else's by the next time.
    """

    def __init__(self) -> None:
        self._verdicts: dict[int, tuple[ref[Address], bool]] = {}

    def __len__(self) -> int:
        return len(self._verdicts)

    def get(self, peer: Address) -> bool | None:
        found = self._verdicts.get(id(peer))
        return found[1] if found is not None and found[0]() is peer else None

    def put(self, peer: Address, verdict: bool) -> bool:
        key = id(peer)
        self._verdicts[key] = ref(peer, lambda _: self._verdicts.pop(key, None)), verdict
        return verdict


def _owner(tables: Sequence[Path], peer: Address, local: Address) -> int | None:
    """The user of the socket whose own end is *peer* and whose far end is *local*, in the kernel's table.

    There may be thousands of lines; only those that name the peer are taken apart.
    """
    near, far = _end(peer), _end(local)
    for table in tables:
        try:
            lines = table.read_bytes()
        except OSError:
            continue
        at = lines.find(near)
        while at >= 0:
            line = lines[lines.rfind(b"\n", 0, at) + 1 : lines.find(b"\n", at)].split()
            closed = line[INODE] == b"0"  # whosever it was, the kernel now says root's
            if line[OWN_END].endswith(near) and line[FAR_END].endswith(far) and not closed:
                return int(line[USER])
            at = lines.find(near, at + 1)
    return None


def _end(address: Address) -> bytes:
    """An end of a socket as the kernel prints it: 32-bit numbers in the machine's own byte order, and the port.

    In the table for IPv6 an IPv4 address stands at the end of a longer one.
    """
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address.host else socket.AF_INET, address.host)
    numbers = "".join(f"{number:08X}" for (number,) in struct.iter_unpack("=I", packed))
    return f"{numbers}:{address.port:04X}".encode()
