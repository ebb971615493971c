"""The client library's network without an event loop: plain sockets that wait, for scripts, tools and a
prompt."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from netinfo.client.multicall import Multicall
from netinfo.client.network import Answer, Target
from wire.formats.rpc import Auth, Procedure, Program
from wire.transport.errors import ConnectError, RpcConnectionLost, RpcTimeout
from wire.transport.record import RecordReader, mark
from wire.transport.rpc_message import XID, build_call, read_reply

if TYPE_CHECKING:
    from wire.transport.tap import Kind, Tap, Transport

REPLY_LIMIT = 64 * 1024 * 1024
"""Longest reply accepted over TCP, in bytes."""
DATAGRAM_LIMIT = 65_507
CHUNK = 256 * 1024
RETRY = 1.0
"""Seconds until a call over UDP is repeated (NETINFO 4.5)."""
FIRST_RESERVED, LAST_RESERVED = 600, 1023


Tell = Callable[["Kind", bool, bytes], None]
"""tell(kind, outgoing, data): what happened on one socket."""


def _nobody_hears(kind: Kind, outgoing: bool, data: bytes) -> None:
    """Stands for taps where there are none."""


def bind_reserved(sock: socket.socket) -> None:
    """Give a socket a port from 600 to 1023, as `bindresvport` did, where that is allowed and one is free.

    Servers take a peer with such a port on their own host for the superuser (NETINFO 3.2).
    """
    count = LAST_RESERVED - FIRST_RESERVED + 1
    for step in range(count):
        try:
            sock.bind(("", FIRST_RESERVED + (os.getpid() + step) % count))
        except PermissionError:
            return
        except OSError:
            continue
        return


class BlockingNetwork:
    """`Network` over sockets that wait. *taps* hear what is sent and received."""

    def __init__(self, taps: Sequence[Tap] = ()) -> None:
        self._taps = tuple(taps)

    def _hear(self, transport: Transport, sock: socket.socket, service: str) -> Tell:
        """What tells the taps of one socket; nothing is imported and nothing done where there are none."""
        if not self._taps:
            return _nobody_hears
        from wire.transport.tap import Address, Tapped

        tapped = Tapped(self._taps, transport, Address.of(sock.getsockname()), f"{service} client")
        remote = Address.of(sock.getpeername())
        return lambda kind, outgoing, data: tapped.tell(kind, remote, outgoing, data)

    async def connect_tcp(self, host: str, port: int, program: Program, patience: float) -> TcpLink:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            bind_reserved(sock)
            sock.settimeout(patience)
            sock.connect((host, port))
        except OSError as error:
            sock.close()
            raise ConnectError(f"No connection to TCP port {port} on {host}: {_reason(error)}.") from error
        return TcpLink(sock, program, self._hear("tcp", sock, program.name))

    async def connect_udp(self, host: str, port: int, program: Program) -> UdpLink:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            bind_reserved(sock)
            sock.connect((host, port))
        except OSError as error:
            sock.close()
            raise ConnectError(f"UDP port {port} on {host} cannot be reached: {_reason(error)}.") from error
        return UdpLink(sock, program, self._hear("udp", sock, program.name))

    async def multicall(self, targets: Sequence[Target], waits: Sequence[float]) -> Answer | None:
        calls = Multicall(tuple(targets))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for wait in waits:
                for host, port, datagram in calls.datagrams():
                    try:
                        sock.sendto(datagram, (host, port))
                    except OSError:
                        continue  # a host that cannot be reached is one that does not answer
                deadline = time.monotonic() + wait
                while _readable(sock, deadline):
                    try:
                        datagram, (host, _) = sock.recvfrom(DATAGRAM_LIMIT)
                    except OSError:
                        continue
                    if answer := calls.answer(datagram, host):
                        return answer
        return None

    async def resolve(self, host: str) -> str:
        try:
            return socket.gethostbyname(host)
        except OSError as error:
            raise ConnectError(f"No IPv4 address is known for host {host}: {_reason(error)}.") from error

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - waiting is what this network does


class TcpLink:
    """A connection to one program; calls are made one after another, those of several threads, too."""

    def __init__(self, sock: socket.socket, program: Program, tell: Tell) -> None:
        self._socket = sock
        self._program = program
        self._tell = tell
        tell("open", True, b"")
        self._records = RecordReader(REPLY_LIMIT)
        self._xid = int.from_bytes(os.urandom(4), "big")
        self._busy = threading.Lock()

    async def call(self, procedure: Procedure, argument: Any, credential: Auth, patience: float) -> Any:
        with self._busy:
            return self._call(procedure, argument, credential, patience)

    def _call(self, procedure: Procedure, argument: Any, credential: Auth, patience: float) -> Any:
        self._xid = (self._xid + 1) & 0xFFFFFFFF
        data = build_call(self._xid, self._program, procedure, argument, credential)
        deadline = time.monotonic() + patience
        try:
            self._socket.settimeout(patience)
            self._tell("data", True, mark(len(data)) + data)
            self._socket.sendall(mark(len(data)) + data)
            while True:
                for record in self._records:
                    if record[:XID] == data[:XID]:
                        return read_reply(procedure, record)
                if not _readable(self._socket, deadline):
                    raise RpcTimeout(f"{procedure.name} was not answered within {patience:g} seconds.")
                received = self._socket.recv(CHUNK)
                if not received:
                    raise RpcConnectionLost(
                        f"The connection was closed before {procedure.name} was answered."
                    )
                self._tell("data", False, received)
                self._records.feed(received)
        except TimeoutError:
            raise RpcTimeout(f"{procedure.name} could not be sent within {patience:g} seconds.") from None
        except OSError as error:
            raise RpcConnectionLost(
                f"The connection was lost during {procedure.name}: {_reason(error)}."
            ) from error

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._tell("close", True, b"")
            self._socket.close()


class UdpLink:
    """A UDP socket for calls to one program; a call is repeated every second, with the same number."""

    def __init__(self, sock: socket.socket, program: Program, tell: Tell) -> None:
        self._socket = sock
        self._program = program
        self._tell = tell

    async def call(self, procedure: Procedure, argument: Any, credential: Auth, patience: float) -> Any:
        data = build_call(
            int.from_bytes(os.urandom(4), "big"), self._program, procedure, argument, credential
        )
        end = time.monotonic() + patience
        host, port = self._socket.getpeername()
        try:
            while (now := time.monotonic()) < end:
                self._tell("datagram", True, data)
                self._socket.send(data)
                while _readable(self._socket, min(end, now + RETRY)):
                    reply = self._socket.recv(DATAGRAM_LIMIT)
                    self._tell("datagram", False, reply)
                    if reply[:XID] == data[:XID]:
                        return read_reply(procedure, reply)
        except ConnectionRefusedError:
            raise ConnectError(f"Nothing listens on UDP port {port} of {host}.") from None
        except OSError as error:
            raise ConnectError(f"UDP port {port} on {host} cannot be reached: {_reason(error)}.") from error
        raise RpcTimeout(
            f"UDP port {port} on {host} did not answer {procedure.name} within {patience:g} seconds."
        )

    def close(self) -> None:
        self._socket.close()


def _readable(sock: socket.socket, deadline: float) -> bool:
    """Wait until there is something to read; False when the time is over."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error)
