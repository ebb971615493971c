"""What a transport allows a peer to cost. Each limit has a default that real programs never meet."""

from __future__ import annotations

from typing import Any

import attrs


def _positive(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if value <= 0:
        raise ValueError(f"{attribute.name} must be more than 0, not {value}")


def _limit(default: float) -> Any:
    return attrs.field(default=default, validator=_positive)


@attrs.frozen(kw_only=True)
class RpcLimits:
    """Limits of ONC RPC servers and clients; sizes in bytes, times in seconds (NETINFO 8)."""

    tcp_call: int = _limit(1024 * 1024)
    """A call accepted over TCP; a longer one closes the connection."""
    tcp_reply: int = _limit(64 * 1024 * 1024)
    """A reply that a client accepts over TCP."""
    long_reply: int = _limit(1024 * 1024 * 1024)
    """A reply that a client accepts over TCP where it parses it while it arrives (NETINFO 5.3, READALL)."""
    held_calls: int = _limit(64 * 1024 * 1024)
    """Bytes of calls that have not arrived whole or wait for their turn, of all connections together; beyond it the
    connection that holds most of them is closed."""
    unsent_results: int = _limit(256 * 1024 * 1024)
    """Bytes of long results that clients have asked for and do not read, of all connections together, a result for
    several clients counted once; beyond it the connection that has not been read for the longest time is closed."""
    udp_call: int = _limit(65_507)
    """A call accepted over UDP; the most that a datagram holds."""
    udp_reply: int = _limit(8_800)
    """A reply sent over UDP; SYSTEM_ERR beyond, as in the originals (NETINFO 1.1)."""
    connections: int = _limit(1024)
    """TCP connections at once; for one more, the least recently used idle one is closed."""
    connections_per_address: int = _limit(256)
    """The same for the connections of one client address."""
    idle: float = _limit(300.0)
    """A connection without a call for so long is closed."""
    half_record: float = _limit(35.0)
    """A connection whose record is not complete so long after it began is closed (NETINFO 11)."""
    waiting_datagrams: int = _limit(256)
    """Calls over UDP that wait for their answer at once; further ones are dropped, and come again."""


@attrs.frozen(kw_only=True)
class SupLimits:
    """Limits of SUP streams; times in seconds."""

    connections: int = _limit(1024)
    """Connections at once; further ones are closed at once. How many clients are served (`-C`) is the session's affair:
    it answers "busy"."""
    probe: float = _limit(30.0)
    """The client's first four bytes (SUP 9.3)."""
    until_refuse: float = _limit(120.0)
    """Silence of a client before its REFUSE: what a server's stream begins with as `idle_timeout`."""
    afterwards: float = _limit(1800.0)
    """Silence of a client after it, and of a server: real ones say nothing while they scan, delete and execute."""
    message: int = _limit(1024 * 1024 * 1024)
    """One message; the longest lists of names stay below."""
    drain: float = _limit(2.0)
    """How long `finish` waits for the other side to close (SUP 12.1)."""
