"""Where servers listen: the one place that chooses between Twisted's own TCP and uvloop's.

`stream_endpoint` gives Twisted's listener on any reactor, except on an asyncio reactor over a uvloop loop: there it is
`wire.transport.native`. Clients connect by `connect_stream`, Twisted's way on every reactor.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any, cast

import attrs
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError as TwistedConnectError
from twisted.internet.error import (
    DNSLookupError,
)
from twisted.internet.error import (
    TimeoutError as TwistedTimeoutError,
)
from twisted.internet.interfaces import (
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import ClientFactory
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from zope.interface import implementer

from wire.transport.errors import ConnectError, ListenError
from wire.transport.native import BACKLOG, NativePort
from wire.transport.tap import Address, Transport


def install_reactor() -> bool:
    """Install the fastest reactor there is: asyncio over uvloop where uvloop is installed, else Twisted's own choice.

    To be called before anything imports ``twisted.internet.reactor``. True if it is uvloop's.
    """
    try:
        import uvloop
    except ImportError:
        return False
    from twisted.internet import asyncioreactor

    asyncioreactor.install(uvloop.new_event_loop())
    return True


def uvloop_of(reactor: Any) -> asyncio.AbstractEventLoop | None:
    """The uvloop loop under *reactor*, or None if it has another foundation."""
    loop = getattr(reactor, "_asyncioEventloop", None)
    return loop if type(loop).__module__.partition(".")[0] == "uvloop" else None


def open_socket(transport: Transport, host: str, port: int, reuse_port: bool = False) -> socket.socket:
    """A bound, non-blocking socket; TCP ones listen. ``::`` serves IPv4 too, where the system can.

    reuse_port: several processes share the port, and the system spreads connections over them.
    Raises ListenError.
    """
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    try:
        found = socket.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE)
        family, _, _, _, where = found[0]
        opened = socket.socket(family, kind)
        try:
            if transport == "tcp":
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            opened.setblocking(False)
            opened.bind(where)
            if transport == "tcp":
                opened.listen(BACKLOG)
        except BaseException:
            opened.close()
            raise
    except OSError as error:
        raise ListenError(transport, host, port, error) from error
    return opened


def stream_endpoint(reactor: Any, host: str, port: int, reuse_port: bool = False) -> IStreamServerEndpoint:
    """The endpoint of every TCP server: its `listen` gives connections of the fastest kind that *reactor* has.

    Port 0 is any free one. `listen` fails with ListenError.
    """
    return cast("IStreamServerEndpoint", StreamEndpoint(reactor, host, port, reuse_port))


@implementer(IStreamServerEndpoint)
@attrs.frozen
class StreamEndpoint:
    """See `stream_endpoint`."""

    reactor: Any
    host: str
    port: int
    reuse_port: bool = False

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        try:
            listening = open_socket("tcp", self.host, self.port, self.reuse_port)
        except ListenError:
            return fail()
        return listen_on(self.reactor, listening, protocolFactory)


def listen_on(reactor: Any, listening: socket.socket, factory: IProtocolFactory) -> Deferred[Any]:
    """Serve *factory* on a socket of `open_socket`, which it takes over; fires with an IListeningPort."""
    loop = uvloop_of(reactor)
    if loop is not None:
        return NativePort(loop, listening, factory).startListening()
    with listening:
        return succeed(reactor.adoptStreamPort(listening.fileno(), listening.family, factory))


async def connect_stream(
    reactor: Any, address: Address, protocol: Any, timeout: float, port: int = 0
) -> None:
    """Connect *protocol* to *address*, whose host may be a name; *timeout* in seconds. port: of this side, 0 for any.

    Raises ConnectError.
    """
    connecting = _Connecting(reactor, protocol)
    local = ("::" if ":" in address.host else "", port) if port else None
    connector = reactor.connectTCP(address.host, address.port, connecting, timeout, local)
    connecting.done = Deferred(lambda _: connector.disconnect())
    try:
        await connecting.done
    except TwistedTimeoutError:
        raise ConnectError(f"{address} did not answer within {timeout:g} seconds.", errno.ETIMEDOUT) from None
    except DNSLookupError:
        raise ConnectError(f"No address is known for host {address.host}.") from None
    except TwistedConnectError as error:
        number = _errno_of(error)
        why = os.strerror(number).lower() if number else str(error).rstrip(".")
        raise ConnectError(f"{address} cannot be reached: {why}.", number) from error


class _Connecting(ClientFactory):
    """Connects a protocol that there is already. (Twisted's endpoints do it too, and cost a program 30 ms to start.)"""

    noisy = False
    done: Deferred[None]

    def __init__(self, reactor: Any, protocol: Any) -> None:
        self._reactor = reactor
        self._protocol = protocol

    def buildProtocol(self, addr: Any) -> Any:
        self._reactor.callLater(0, self._connected)  # by then the protocol knows its transport
        return self._protocol

    def _connected(self) -> None:
        if not self.done.called:
            self.done.callback(None)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        if not self.done.called:
            self.done.errback(reason)


def _errno_of(error: TwistedConnectError) -> int:
    """The system's number for what Twisted says."""
    number = getattr(error, "osError", None)
    if isinstance(number, OSError):
        return number.errno or 0
    return number if isinstance(number, int) else 0


async def addresses_of(host: str) -> tuple[str, ...]:
    """The IP addresses of a host, in the system's order; an address is its own. Raises ConnectError."""
    if isIPAddress(host) or isIPv6Address(host):
        return (host,)
    try:
        found = await deferToThread(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectError(f"No address is known for host {host}.") from error
    return tuple(dict.fromkeys(str(where[0]) for *_, where in found))


class Listening:
    """An open server: where it is reached, and how to close it."""

    def __init__(self, address: Address, *ports: Any) -> None:
        self.address = address
        self._ports = list(ports)

    async def stop(self) -> None:
        """Accept nothing new. Connections that are open stay open: they belong to the server."""
        while self._ports:
            stopped = self._ports.pop().stopListening()
            if stopped is not None:
                await stopped
