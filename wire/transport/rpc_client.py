"""ONC RPC clients over UDP and TCP (RFC 5531): `await client.call("LOOKUP", arguments)`.

Any number of calls may be under way on one client; replies find their call by its transaction number. Over UDP a call
is sent again, after longer and longer waits, until it is answered or its time is over.
"""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Sequence
from typing import Any, Literal

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from wire.formats.rpc import Program
from wire.transport.endpoint import addresses_of, connect_stream
from wire.transport.errors import (
    ConnectError,
    RecordError,
)
from wire.transport.limits import RpcLimits
from wire.transport.record import RecordReader, mark
from wire.transport.rpc_calls import PendingCall, RpcClient
from wire.transport.rpc_message import XID
from wire.transport.tap import Address, Tap, Tapped

__all__ = ["RESERVED", "RpcClient", "SourcePort", "connect_tcp", "connect_udp"]

log = Logger()

SourcePort = Literal["reserved"] | None
"""None: any free port. "reserved": one of `RESERVED`, which servers take for a privileged program's (NETINFO 3.2), or
any other where this program may not have one, or none is free."""
RESERVED = range(600, 1024)
"""Where NetInfo's programs took their reserved ports from (NETINFO 1.1)."""
RETRY, LONGEST_RETRY = 1.0, 8.0
"""Seconds before a call over UDP is sent again (NETINFO 4.5): at first, and at most; each wait is twice the last."""
TIMEOUT = 25.0
"""Seconds a call may take unless it is told otherwise, as in the historic client libraries."""


# --- TCP --------------------------------------------------------------------------------------------------------


class StreamClient(RpcClient):
    """A client over TCP. Calls made in one turn of the reactor leave in one write."""

    def __init__(self, reactor: Any, program: Program, limits: RpcLimits, timeout: float) -> None:
        super().__init__(reactor, program, limits, timeout)
        self._out: list[bytes] = []
        self._connection: Connection | None = None

    def opened(self, connection: Connection, local: Address, peer: Address) -> None:
        self._connection = connection
        self.local, self.peer = local, peer
        self.connected = True

    def transmit(self, call: bytes, pending: PendingCall) -> None:
        if not self._out:
            self.reactor.callLater(0, self._flush)
        self._out += (mark(len(call)), call)

    def _flush(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        if self._connection is not None and self.connected:
            self._connection.write(data)

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()


class Connection(Protocol):
    """The TCP connection below a `StreamClient`."""

    transport: Any

    def __init__(self, client: StreamClient, taps: Sequence[Tap], service: str) -> None:
        self._client = client
        self._taps = taps
        self._service = service
        self._reader = RecordReader(client.limits.tcp_reply)
        self._sink: PendingCall | None = None
        self._closing = False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        local, self._peer = Address.of(self.transport.getHost()), Address.of(self.transport.getPeer())
        self._tapped = Tapped(self._taps, "tcp", local, self._service)
        self._tapped.tell("open", self._peer, True)
        self._client.opened(self, local, self._peer)

    def write(self, data: bytes) -> None:
        self._tapped.tell("data", self._peer, True, data)
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        if self._tapped:
            self._tapped.tell("data", self._peer, False, data)
        reader = self._reader
        reader.feed(data)
        try:
            for record in reader:
                sink, self._sink = self._sink, None
                if sink is None:
                    self._client.arrived(record)
                else:
                    sink.part(record, last=True)
        except RecordError as error:
            self._client.lost(f"sent what is no reply ({str(error).rstrip('.')})")
            self.close()
            return
        if reader.partial and self._sink is None:
            pending = self._client.pending.get(reader.beginning(XID))
            if pending is not None and pending.long:
                self._sink = pending
        if self._sink is not None:
            self._sink.part(reader.drain(), last=False)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._tapped.tell("close", self._peer, True)
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._closing:
            self._closing = True
            self._tapped.tell("close", self._peer, False)
            self._client.lost("was closed by the server")


async def connect_tcp(
    reactor: Any,
    address: Address,
    program: Program,
    *,
    timeout: float = TIMEOUT,
    source_port: SourcePort = None,
    taps: Sequence[Tap] = (),
    limits: RpcLimits | None = None,
) -> RpcClient:
    """Connect to a program at *address*, whose host may be a name. *timeout*, in seconds, is for the connection and for
    each call that names none.

    Raises ConnectError.
    """
    ports = list(RESERVED) if source_port == "reserved" else []
    random.shuffle(ports)
    while True:
        port = _free_reserved_port(ports, socket.SOCK_STREAM)
        client = StreamClient(reactor, program, limits or RpcLimits(), timeout)
        try:
            await connect_stream(
                reactor, address, Connection(client, taps, f"{program.name} client"), timeout, port
            )
        except ConnectError as error:
            if port and error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                continue  # taken since it was tried, or connected to the same address a moment ago
            raise
        return client


def _free_reserved_port(ports: list[int], kind: socket.SocketKind) -> int:
    """Take a port out of *ports* that can be bound; 0, any port, when there is none or it is not allowed."""
    while ports:
        port = ports.pop()
        with socket.socket(socket.AF_INET, kind) as trial:
            try:
                trial.bind(("", port))
            except PermissionError:
                ports.clear()
            except OSError:
                continue
            else:
                return port
    return 0


# --- UDP --------------------------------------------------------------------------------------------------------


class DatagramClient(RpcClient):
    """A client over UDP, which repeats its calls."""

    def __init__(self, reactor: Any, program: Program, limits: RpcLimits, timeout: float) -> None:
        super().__init__(reactor, program, limits, timeout)
        self._socket: Datagrams | None = None
        self.port: Any = None

    def opened(self, datagrams: Datagrams, local: Address, peer: Address) -> None:
        self._socket = datagrams
        self.local, self.peer = local, peer
        self.connected = True

    def transmit(self, call: bytes, pending: PendingCall) -> None:
        self._again(call, pending, RETRY)

    def _again(self, call: bytes, pending: PendingCall, wait: float) -> None:
        pending.resend = self.reactor.callLater(
            wait, self._again, call, pending, min(2 * wait, LONGEST_RETRY)
        )
        if self._socket is not None:
            self._socket.write(call)

    def disconnect(self) -> None:
        self._socket = None
        self.port.stopListening()


class Datagrams(DatagramProtocol):
    """The UDP socket below a `DatagramClient`; it hears the server alone."""

    noisy = False
    transport: Any

    def __init__(self, client: DatagramClient, peer: Address, taps: Sequence[Tap]) -> None:
        self._client = client
        self._peer = peer
        self._taps = taps

    def startProtocol(self) -> None:
        self.transport.connect(self._peer.host, self._peer.port)
        local = Address.of(self.transport.socket.getsockname())
        self._tapped = Tapped(self._taps, "udp", local, f"{self._client.program.name} client")
        self._client.opened(self, local, self._peer)

    def write(self, data: bytes) -> None:
        self._tapped.tell("datagram", self._peer, True, data)
        try:
            self.transport.write(data)
        except OSError as error:
            log.debug("{peer} cannot be reached: {error}", peer=self._peer, error=error)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._tapped.tell("datagram", self._peer, False, datagram)
        self._client.arrived(datagram)

    def connectionRefused(self) -> None:
        if self._client.connected:
            self._client.lost("found nobody who listens")
            self._client.disconnect()

    def stopProtocol(self) -> None:
        self.connectionRefused()  # on some reactors a refusal just closes the socket


async def connect_udp(
    reactor: Any,
    address: Address,
    program: Program,
    *,
    timeout: float = TIMEOUT,
    source_port: SourcePort = None,
    taps: Sequence[Tap] = (),
    limits: RpcLimits | None = None,
) -> RpcClient:
    """A client for a program at *address*, whose host may be a name. Nothing is sent before the first call; each may
    last *timeout* seconds unless it says otherwise.

    Raises ConnectError where the name is unknown, or the address cannot be reached from here.
    """
    host, *_ = await addresses_of(address.host)
    peer = Address(host, address.port)
    ports = list(RESERVED) if source_port == "reserved" else []
    random.shuffle(ports)
    while True:
        port = _free_reserved_port(ports, socket.SOCK_DGRAM)
        client = DatagramClient(reactor, program, limits or RpcLimits(), timeout)
        try:
            client.port = reactor.listenUDP(
                port, Datagrams(client, peer, taps), "::" if ":" in host else "", maxPacketSize=65_536
            )
        except CannotListenError as error:
            if port:
                continue  # taken since it was tried
            raise ConnectError(f"{address} cannot be reached: this machine has no free port.") from error
        except OSError as error:
            raise ConnectError(
                f"{address} cannot be reached: {os.strerror(error.errno or 0).lower()}."
            ) from error
        return client
