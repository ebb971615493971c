"""Where a recorder listens: every transport tells its taps who sent which bytes to whom, and when.

A tap sees what the wire sees: whole datagrams over UDP, and over TCP the bytes as they are read and written, record
marks included. It is called in the reactor thread and should be quick; one that raises is reported and goes unheard.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs
from twisted.logger import Logger

log = Logger()

Kind = Literal["open", "data", "close", "datagram"]
Transport = Literal["tcp", "udp"]


@attrs.frozen(order=True)
class Address:
    """An IP address in its usual notation (or, for a client, a host name) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def of(cls, address: Any) -> Address:
        """From a Twisted address or a socket's ``(host, port, ...)``.

        An IPv4 peer of an IPv6 socket is the IPv4 peer.
        """
        host, port = (address[0], address[1]) if isinstance(address, tuple) else (address.host, address.port)
        return cls(host.removeprefix("::ffff:") if "." in host else host, port)


@attrs.frozen
class TapEvent:
    """Something that happened on the wire."""

    kind: Kind
    transport: Transport
    local: Address
    remote: Address
    outgoing: bool
    """From `local` to `remote`. An "open" is outgoing where this side connected, a "close" where it closed first."""
    data: bytes
    time: float
    """Seconds since 1970."""
    service: str
    """The name of the server or client that was given the tap, such as ``netinfod network``."""


Tap = Callable[[TapEvent], None]


class Tapped:
    """The taps of one connection or one UDP socket; false when nobody listens, so that a busy path asks only once."""

    __slots__ = ("_local", "_service", "_taps", "_transport")

    def __init__(self, taps: Sequence[Tap], transport: Transport, local: Address, service: str) -> None:
        self._taps = tuple(taps)
        self._transport: Transport = transport
        self._local = local
        self._service = service

    def __bool__(self) -> bool:
        return bool(self._taps)

    def tell(self, kind: Kind, remote: Address, outgoing: bool, data: bytes = b"") -> None:
        if not self._taps:
            return
        event = TapEvent(
            kind, self._transport, self._local, remote, outgoing, bytes(data), time.time(), self._service
        )
        for tap in self._taps:
            try:
                tap(event)
            except Exception:
                log.failure("a recorder failed and hears nothing more from this connection")
                self._taps = tuple(other for other in self._taps if other is not tap)
