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

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from wire.codec import Stream, codec
from wire.formats.errors import FormatError
from wire.formats.rpc import AUTH_NONE, Auth, Procedure, Program
from wire.transport.endpoint import addresses_of, connect_stream
from wire.transport.errors import (
    ConnectError,
    RecordError,
    RpcConnectionLost,
    RpcError,
    RpcProtocolError,
    RpcTimeout,
)
from wire.transport.limits import RpcLimits
from wire.transport.record import RecordReader, mark
from wire.transport.rpc_message import XID, build_call, read_reply, read_reply_header
from wire.transport.tap import Address, Tap, Tapped

log = Logger()

SourcePort = Literal["reserved"] | None
"""None: any free port. "reserved": one of `RESERVED`, which servers take for a privileged program's (NETINFO 3.2), or
any other where this program may not have one."""
RESERVED = range(600, 1024)
"""Where NetInfo's programs took their reserved ports from (NETINFO 1.1)."""
RETRY, LONGEST_RETRY = 1.0, 8.0
"""Seconds before a call over UDP is sent again (NETINFO 4.5): at first, and at most; each wait is twice the last."""
HEADER_LIMIT = 512
"""No header of a reply is longer, in bytes."""
TIMEOUT = 25.0
"""Seconds a call may take unless it is told otherwise, as in the historic client libraries."""


class PendingCall:
    """A call that has not been answered."""

    long = False
    """Whether `part` is to be given the reply as it arrives."""

    def __init__(self, client: RpcClient, xid: bytes, procedure: Procedure, patience: float) -> None:
        self.procedure = procedure
        self.answered: Deferred[Any] = Deferred(lambda _: self.end())
        self.resend: Any = None
        """The timer of the next repetition, over UDP."""
        self._client = client
        self._xid = xid
        self._patience = patience
        self._timer = client.reactor.callLater(patience, self._expired)

    def reply(self, reply: bytes) -> None:
        """Take the whole reply."""
        try:
            result = read_reply(self.procedure, reply)
        except RpcError as error:
            self.fail(error)
        else:
            self.succeed(result)

    def part(self, data: bytes, last: bool) -> None:
        raise AssertionError("only a long call takes its reply in parts")

    def succeed(self, result: Any) -> None:
        self.end()
        self.answered.callback(result)

    def fail(self, error: RpcError) -> None:
        self.end()
        self.answered.errback(error)

    def end(self) -> None:
        """Wait no longer."""
        self._client.pending.pop(self._xid, None)
        for timer in (self._timer, self.resend):
            if timer is not None and timer.active():
                timer.cancel()

    def _expired(self) -> None:
        name, peer = self.procedure.name, self._client.peer
        self.fail(RpcTimeout(f"{peer} did not answer {name} within {self._patience:g} seconds."))


class PendingLongCall(PendingCall):
    """A call whose result is parsed while it arrives, so that its bytes are never held as a whole."""

    long = True

    def __init__(self, client: RpcClient, xid: bytes, procedure: Procedure, patience: float) -> None:
        super().__init__(client, xid, procedure, patience)
        self._limit = client.limits.long_reply
        self._size = 0
        self._begun = b""
        self._result: Stream[Any] | None = None
        self._whole = False

    def part(self, data: bytes, last: bool) -> None:
        """Take some bytes of the reply. Those after damage, or after the call's time, are passed over."""
        if self.answered.called:
            return
        self._timer.reset(self._patience)
        try:
            self._take(data, last)
        except RpcError as error:
            self.fail(error)
        else:
            if last and self._result is not None:
                self.succeed(self._result.value)

    def _take(self, data: bytes, last: bool) -> None:
        name = self.procedure.name
        self._size += len(data)
        if self._size > self._limit:
            raise RpcProtocolError(f"The result of {name} is longer than the {self._limit} bytes allowed.")
        if self._result is None:
            self._begun += data
            if len(self._begun) < HEADER_LIMIT and not last:
                return
            data = self._begun[read_reply_header(self.procedure, self._begun) :]
            self._result = codec(self.procedure.result).stream()
        if not self._whole:
            try:
                self._whole = self._result.feed(data)
            except FormatError as error:
                raise RpcProtocolError(f"The result of {name} is damaged: {error}.") from error
        if last and not self._whole:
            raise RpcProtocolError(f"The result of {name} ends too early.")


class RpcClient:
    """A way to one program at one address. Made by `connect_tcp` and `connect_udp`."""

    def __init__(self, reactor: Any, program: Program, limits: RpcLimits, timeout: float) -> None:
        self.reactor = reactor
        self.program = program
        self.limits = limits
        self.timeout = timeout
        self.pending: dict[bytes, PendingCall] = {}
        self.connected = False
        """Whether calls can be made: false once either side has closed."""
        self.peer = Address("", 0)
        """The server's address."""
        self.local = Address("", 0)
        """This side's address."""
        self._xid = random.getrandbits(32)
        self._why = "is not open yet"

    async def call(
        self, name: str, argument: Any = None, *, credential: Auth = AUTH_NONE, timeout: float | None = None
    ) -> Any:
        """Call the procedure *name* of the client's program and wait for its result, *timeout* seconds at most.

        Raises RpcTimeout, RpcConnectionLost, RpcDenied, RpcAcceptError, RpcProtocolError; FormatError where the
        argument does not fit the procedure.
        """
        return await self._send(PendingCall, name, argument, credential, timeout)

    async def call_long(
        self, name: str, argument: Any = None, *, credential: Auth = AUTH_NONE, timeout: float | None = None
    ) -> Any:
        """Like `call`, for a result that may be longer than one wants to hold in bytes: over TCP it is parsed while it
        arrives, up to `RpcLimits.long_reply`. *timeout* is then the longest silence of the server."""
        return await self._send(PendingLongCall, name, argument, credential, timeout)

    def _send(
        self, kind: type[PendingCall], name: str, argument: Any, credential: Auth, timeout: float | None
    ) -> Deferred[Any]:
        procedure = self.program.by_name[name]
        if not self.connected:
            raise RpcConnectionLost(f"{name} cannot be called: the connection to {self.peer} {self._why}.")
        self._xid = self._xid + 1 & 0xFFFFFFFF
        call = build_call(self._xid, self.program, procedure, argument, credential)
        xid = call[:XID]
        pending = kind(self, xid, procedure, self.timeout if timeout is None else timeout)
        self.pending[xid] = pending
        self.transmit(call, pending)
        return pending.answered

    def close(self) -> None:
        """Close at once; calls under way fail with RpcConnectionLost."""
        if self.connected:
            self.lost("was closed")
            self.disconnect()

    # --- for the two kinds below -----------------------------------------------------------------------------

    def transmit(self, call: bytes, pending: PendingCall) -> None:
        raise NotImplementedError

    def disconnect(self) -> None:
        raise NotImplementedError

    def arrived(self, reply: bytes) -> None:
        """A reply; one that nobody waits for is late or doubled, and dropped."""
        pending = self.pending.get(reply[:XID])
        if pending is not None:
            pending.reply(reply)

    def lost(self, why: str) -> None:
        """Every call under way fails, and every later one will."""
        self.connected = False
        self._why = why
        for pending in tuple(self.pending.values()):
            name = pending.procedure.name
            pending.fail(
                RpcConnectionLost(f"The connection to {self.peer} {why} before {name} was answered.")
            )


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
