"""Where servers listen: the one place that chooses between Twisted's own TCP and uvloop's.

`stream_endpoint` gives Twisted's listener on any reactor, except on an asyncio reactor over a uvloop loop: there the
connections are uvloop's native transports, handed to unchanged Twisted protocols by `NativeTransport`. Measured with
small RPC calls, that is between two and three times as fast (Twisted's own listener on uvloop is slower than epoll).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable
from typing import Any, cast

import attrs
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError as TwistedConnectError
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
)
from twisted.internet.error import (
    TimeoutError as TwistedTimeoutError,
)
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wire.transport.errors import ConnectError, ListenError
from wire.transport.tap import Address, Transport

log = Logger()

BACKLOG = 1024
HIGH_WATER = 64 * 1024
"""Unsent bytes above which a producer is told to pause, as in Twisted's own transports."""


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
    local = ("::" if ":" in address.host else "", port) if port else None
    kind = TCP6ClientEndpoint if ":" in address.host else TCP4ClientEndpoint
    try:
        await kind(reactor, address.host, address.port, timeout, local).connect(
            cast("Any", _Single(protocol))
        )
    except TwistedTimeoutError:
        raise ConnectError(f"{address} did not answer within {timeout:g} seconds.", errno.ETIMEDOUT) from None
    except DNSLookupError:
        raise ConnectError(f"No address is known for host {address.host}.") from None
    except TwistedConnectError as error:
        number = _errno_of(error)
        why = os.strerror(number).lower() if number else str(error).rstrip(".")
        raise ConnectError(f"{address} cannot be reached: {why}.", number) from error


class _Single(Factory):
    """A factory for one connection, whose protocol there is already."""

    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Any) -> Any:
        return self._protocol


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


@implementer(IListeningPort)
class NativePort:
    """A listening socket in uvloop's hands."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listening: socket.socket, factory: Any) -> None:
        self._loop = loop
        self._socket = listening
        self._host = _twisted_address(listening.getsockname())
        self._factory = factory
        self._server: Any = None

    def startListening(self) -> Deferred[Any]:
        async def start() -> NativePort:
            self._factory.doStart()
            self._server = await self._loop.create_server(
                lambda: NativeTransport(self._factory), sock=self._socket, backlog=BACKLOG
            )
            return self

        return Deferred.fromFuture(self._loop.create_task(start()))

    def stopListening(self) -> Deferred[None]:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        return self._host


def _twisted_address(name: Any) -> IPv4Address | IPv6Address:
    return IPv6Address("TCP", *name) if len(name) == 4 else IPv4Address("TCP", *name)


@implementer(ITCPTransport)
class NativeTransport(asyncio.Protocol):
    """uvloop's transport to a Twisted protocol, and a Twisted protocol to uvloop.

    It keeps Twisted's promises: `loseConnection` flushes and waits for a producer, a producer is paused above
    `HIGH_WATER` unsent bytes, `connectionLost` comes once, an exception in a protocol costs that connection alone.
    """

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self._native: Any = None
        self._reason: Failure | None = None
        self._producer: Any = None
        self._streaming = True
        self._write_paused = False
        self._read_ended = False
        self._write_ended = False
        self.protocol: Any = None
        self.connected = False
        self.disconnecting = False

    # --- from uvloop ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._native = transport
        peer = transport.get_extra_info("peername")
        host = transport.get_extra_info("sockname")
        if peer is None or host is None:  # gone between accept and here
            transport.abort()
            return
        self._peer, self._host = _twisted_address(peer), _twisted_address(host)
        transport.set_write_buffer_limits(high=HIGH_WATER)
        try:
            self.protocol = self._factory.buildProtocol(self._peer)
            if self.protocol is None:
                transport.abort()
                return
            self.connected = True
            self.protocol.makeConnection(self)
        except Exception:
            self._broken()

    def data_received(self, data: bytes) -> None:
        try:
            self.protocol.dataReceived(data)
        except Exception:
            self._broken()

    def eof_received(self) -> bool:
        self._read_ended = True
        if not IHalfCloseableProtocol.providedBy(self.protocol):
            self._native.abort()  # as in Twisted: what is still unsent has nobody to read it
            return True
        try:
            self.protocol.readConnectionLost()
        except Exception:
            self._broken()
        return not self._write_ended

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.protocol is None or not self.connected:
            return
        self.connected = False
        reason = self._reason
        if reason is None:
            reason = Failure(ConnectionDone() if exc is None else ConnectionLost(str(exc)))
        producer, self._producer = self._producer, None
        try:
            if producer is not None:
                producer.stopProducing()
            self.protocol.connectionLost(reason)
        except Exception:
            log.failure("a protocol failed while it was told that its connection ended")

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._producer is not None and self._streaming:
            self._producer.pauseProducing()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._write_ended:
            self._all_sent()
        elif self._producer is not None:
            if self._streaming:
                self._producer.resumeProducing()
            else:
                self._pull()

    def _all_sent(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.writeConnectionLost()

    def _broken(self) -> None:
        reason = Failure()
        log.failure("a protocol failed; its connection is closed", failure=reason)
        if self._reason is None:
            self._reason = reason
        self._native.abort()

    # --- from the protocol: ITransport, IConsumer -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self.connected and not self._write_ended and data:
            self._native.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        if self.connected and not self._write_ended:
            self._native.writelines(data)

    def loseConnection(self) -> None:
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            if self._producer is None:
                self._native.close()
            else:
                self._native.pause_reading()

    def abortConnection(self) -> None:
        if self.connected:
            self.disconnecting = True
            if self._reason is None:
                self._reason = Failure(ConnectionAborted())
            self._native.abort()

    def loseWriteConnection(self) -> None:
        if not self.connected or self._write_ended:
            return
        self._write_ended = True
        if self._read_ended:
            self._native.close()
            return
        self._native.set_write_buffer_limits(high=0)  # so that `resume_writing` tells when all has been sent
        self._native.write_eof()
        if not self._native.get_write_buffer_size():
            self._all_sent()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is still registered as the producer of this connection")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = producer
        self._streaming = streaming
        if not streaming:
            self._pull()
        elif self._write_paused:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None
        if self.connected and self.disconnecting:
            self._native.close()

    def _pull(self) -> None:
        """Ask a pull producer for one piece after another while there is room, leaving the loop a turn in between."""
        if self._producer is not None and not self._streaming and not self._write_paused:
            self._producer.resumeProducing()
            asyncio.get_running_loop().call_soon(self._pull)

    def pauseProducing(self) -> None:
        if self.connected:
            self._native.pause_reading()

    def resumeProducing(self) -> None:
        if self.connected and not self.disconnecting and not self._read_ended:
            self._native.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IPv4Address | IPv6Address:
        return self._peer

    def getHost(self) -> IPv4Address | IPv6Address:
        return self._host

    def _option(self, level: int, name: int) -> bool:
        return bool(self.getHandle().getsockopt(level, name))

    def _set_option(self, level: int, name: int, enabled: bool) -> None:
        if self.connected:
            self.getHandle().setsockopt(level, name, int(enabled))

    def getHandle(self) -> Any:
        """The socket, or what uvloop lets others see of it: options can be set."""
        return self._native.get_extra_info("socket")

    def getTcpNoDelay(self) -> bool:
        return self._option(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        return self._option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)
