"""Lesson 8: forty milliseconds. The original's writes, Nagle's algorithm and delayed acknowledgements, on real sockets.

Two threads of this process, each with a socket of its own, say what a SUP client and server of 1990 say, with the
writes that the original makes (SUP 10.1); a second time the server writes each RECV in one piece, with Nagle's
algorithm off.
What is measured is the kernel's doing: neither side ever sleeps.
"""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from emulators.lessons.stage import PATIENCE, Stage
from emulators.lessons.story import read
from wire.capture.messages import Message
from wire.capture.packets import Segment, read_packets
from wire.codec import codec
from wire.formats.blocks import END
from wire.formats.sup import (
    PROBE_LITTLE,
    TEST_STRING,
    Compress,
    Crypt,
    CryptOk,
    Deny,
    Done,
    DoneCode,
    List,
    ListEntry,
    LogAck,
    Login,
    LoginCode,
    Need,
    NeedEntry,
    Recv,
    Refuse,
    Send,
    Setup,
    SetupAck,
    SetupCode,
    Signon,
    SignonAck,
    SupParams,
)
from wire.transport.tap import Address, Kind, TapEvent

FILES = 8
SIZE = 6000
BUFFER = 2048
"""The original writes a message that is longer than this piece by piece (SUP 10.1)."""
TIME = 770_000_000
MODE = stat.S_IFREG | 0o644
PARAMS = SupParams()
NAMES = [f"file{number:02}".encode() for number in range(1, FILES + 1)]
MANY_WRITES, ONE_WRITE = "many writes", "one write"
"""What the two servers are called in the recording."""

_OPENING: Sequence[tuple[Any, Any]] = (
    (Signon(8, 26, b"4.3 BSD"), SignonAck(8, 13, b"4.3 BSD", 1990)),
    (Setup(0, None, b"demo", 0, None, 0, 0, 0, 0, None), SetupAck(SetupCode.OK)),
    (Crypt(TEST_STRING), CryptOk()),
    (Login(None, None, None), LogAck(LoginCode.OK, None)),
    (Refuse(()), List(tuple(ListEntry(name, MODE, 1, TIME) for name in NAMES), TIME)),
    (Need(tuple(NeedEntry(name, 0) for name in NAMES)), Deny(())),
)
"""What the client says before the first file, and the server's answer to each."""


def _built(message: Any) -> bytes:
    return codec(type(message), PARAMS).build(message)


def _recv(name: bytes) -> list[bytes]:
    """One RECV as the original writes it: the header, then pieces of its buffer's size, then the rest (SUP 10.1)."""
    head = _built(Recv(name, MODE, 1, b"root", b"wheel", TIME, (), (), SIZE))
    rest = bytes(SIZE) + codec(END, PARAMS).build(None)
    return [head, *(rest[start : start + BUFFER] for start in range(0, len(rest), BUFFER))]


# --- the two programs -----------------------------------------------------------------------------------------------


async def play(stage: Stage) -> None:
    stage.recording = True
    for service in (MANY_WRITES, ONE_WRITE):
        await deferToThread(_session, stage, service)


def _session(stage: Stage, service: str) -> None:
    """A whole session, one file after the other. Raises OSError if the programs lose each other."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        caller = socket.create_connection(listening.getsockname())
        answerer, _ = listening.accept()
    with caller, answerer, ThreadPoolExecutor(1) as thread:
        caller.settimeout(PATIENCE)
        answerer.settimeout(PATIENCE)
        serving = thread.submit(_serve, answerer, service)
        _Client(stage, service, caller).run()
        serving.result()


def _serve(connection: socket.socket, service: str) -> None:
    """The server: an answer to each message of the client, a file to each SEND."""
    _receive(connection, len(PROBE_LITTLE))
    for asked, answer in _OPENING:
        _receive(connection, len(_built(asked)))
        connection.sendall(_built(answer))
    _receive(connection, len(_built(Compress(0))))
    for name in NAMES:
        _receive(connection, len(_built(Send())))
        pieces = _recv(name)
        if service == ONE_WRITE:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pieces = [b"".join(pieces)]
        for piece in pieces:
            connection.send(piece)
    _receive(connection, len(_built(Send())))
    connection.sendall(_built(Recv()))
    while connection.recv(BUFFER):
        pass


def _receive(connection: socket.socket, size: int) -> None:
    """Take *size* bytes. Raises ConnectionError if fewer come."""
    while size:
        data = connection.recv(min(size, 65_536))
        if not data:
            raise ConnectionError("the client went away in the middle of a session")
        size -= len(data)


class _Client:
    """The client: asks for a file when the last one is there. The recording is made here, where bytes arrive."""

    def __init__(self, stage: Stage, service: str, connection: socket.socket) -> None:
        self._stage = stage
        self._service = service
        self._connection = connection
        self._ends = Address(*connection.getsockname()), Address(*connection.getpeername())

    def run(self) -> None:
        self._tell("open", True)
        self._say(PROBE_LITTLE)
        for asking, answer in _OPENING:
            self._say(_built(asking))
            self._hear(len(_built(answer)))
        self._say(_built(Compress(0)))
        for name in NAMES:
            self._say(_built(Send()))
            self._hear(sum(map(len, _recv(name))))
        self._say(_built(Send()))
        self._hear(len(_built(Recv())))
        self._say(_built(Done(DoneCode.SUCCESS, b"Success")))
        self._tell("close", True)
        self._connection.shutdown(socket.SHUT_WR)

    def _say(self, data: bytes) -> None:
        self._tell("data", True, data)
        self._connection.sendall(data)

    def _hear(self, size: int) -> None:
        while size:
            data = self._connection.recv(size)
            if not data:
                raise ConnectionError("the server went away in the middle of a session")
            self._tell("data", False, data)
            size -= len(data)

    def _tell(self, kind: Kind, outgoing: bool, data: bytes = b"") -> None:
        event = TapEvent(kind, "tcp", *self._ends, outgoing, data, time.time(), self._service)
        self._stage.record(event)


# --- what is drawn --------------------------------------------------------------------------------------------------


def waits(capture: Path, service: str) -> list[float]:
    """For each file of one server: seconds from the client's SEND to the last byte of the RECV."""
    asked: list[float] = []
    took: list[float] = []
    for message in read(capture):
        if message.conversation.service == service:
            if message.name == "SEND":
                asked.append(message.time)
            elif message.name == "RECV" and _is_file(message):
                took.append(message.time - asked[-1])
    return took


def _is_file(message: Message) -> bool:
    return getattr(message.value, "name", None) is not None


def _arrivals(capture: Path, service: str, nth: int) -> list[tuple[float, bool, int]]:
    """What went by from the *nth* SEND on until the next: time, whether the client said it, and how many bytes."""
    send, ports = _built(Send()), set()
    exchanges: list[list[tuple[float, bool, int]]] = []
    with capture.open("rb") as file:
        for packet in read_packets(file):
            if type(packet) is not Segment:
                continue
            if packet.comment == service:
                ports.add(packet.source_port)
            mine = packet.source_port in ports
            if not packet.payload or not (mine or packet.destination_port in ports):
                continue
            if mine and packet.payload == send:
                exchanges.append([])
            if exchanges:
                exchanges[-1].append((packet.time, mine, len(packet.payload)))
    return exchanges[nth - 1]


def _timeline(capture: Path, service: str, nth: int) -> str:
    """The *nth* file of a session, from SEND to the last byte; a column is a millisecond."""
    events = _arrivals(capture, service, nth)
    start = events[0][0]
    lines = [f"{service}, file {nth} of {FILES}; one column is one millisecond", ""]
    for moment, mine, size in events:
        after = (moment - start) * 1000
        what = f"SEND ({size} bytes) goes out" if mine else f"{size:,} bytes come in"
        lines.append(f"{after:7.2f} ms |{'.' * round(after)}{'>' if mine else '<'} {what}")
    return "\n".join(lines)


def _totals(capture: Path) -> str:
    """What each file took, in both sessions, and all of them together."""
    lines = [f"{'':14} {'fastest':>10} {'median':>10} {'slowest':>10} {f'all {FILES} files':>14}"]
    for service in (MANY_WRITES, ONE_WRITE):
        took = sorted(waits(capture, service))
        cells = (took[0], took[len(took) // 2], took[-1])
        lines.append(
            f"{service:14} {' '.join(f'{cell * 1000:7.2f} ms' for cell in cells)} {sum(took) * 1000:11.1f} ms"
        )
    return "\n".join(lines)


FIGURES = {
    "slow": lambda capture: _timeline(capture, MANY_WRITES, 3),
    "fast": lambda capture: _timeline(capture, ONE_WRITE, 3),
    "first": lambda capture: _timeline(capture, ONE_WRITE, 1),
    "totals": _totals,
}
