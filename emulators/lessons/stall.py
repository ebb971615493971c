"""Lesson 8: forty milliseconds. The original's writes, Nagle's algorithm and delayed acknowledgements, on real sockets.

Two programs in this process, each with a socket of its own in a thread, say what a SUP client and server of 1990 say,
with the writes that the original makes (SUP 10.1); a second time the server writes each RECV in one piece, with Nagle's
algorithm off. What is measured is the kernel's doing; neither side ever sleeps.
"""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from emulators.lessons.stage import Stage
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

FILES = 20
SIZE = 6000
BUFFER = 2048
"""The original writes a message that is longer than this piece by piece (SUP 10.1)."""
TIME = 770_000_000
PARAMS = SupParams()
COLUMNS = 48


async def play(stage: Stage) -> None:
    stage.recording = True
    for name, in_pieces in (("supfilesrv (many writes)", True), ("supfilesrv (one write)", False)):
        await deferToThread(_session, stage, name, in_pieces)


def _build(message: Any) -> bytes:
    return codec(type(message), PARAMS).build(message)


NAMES = [f"file{number:02}".encode() for number in range(FILES)]
OPENING: Sequence[tuple[Sequence[Any], Any]] = (
    ((Signon(8, 26, b"4.3 BSD"),), SignonAck(8, 13, b"4.3 BSD", 1990)),
    ((Setup(0, None, b"demo", 0, None, 0, 0, 0, 0, None),), SetupAck(SetupCode.OK)),
    ((Crypt(TEST_STRING),), CryptOk()),
    ((Login(None, None, None),), LogAck(LoginCode.OK, None)),
    ((Refuse(()),), List(tuple(ListEntry(name, stat.S_IFREG | 0o644, 1, TIME) for name in NAMES), TIME)),
    ((Need(tuple(NeedEntry(name, 0) for name in NAMES)),), Deny(())),
)
"""What is said before the first file: the client's messages, and the server's answer."""


def _recv(name: bytes) -> list[bytes]:
    """One RECV as the original writes it: the header, then pieces of its buffer's size, then the rest (SUP 10.1)."""
    head = _build(Recv(name, stat.S_IFREG | 0o644, 1, b"root", b"wheel", TIME, (), (), SIZE))
    end = codec(END, PARAMS).build(None)
    data = bytes(SIZE) + end
    return [head, *(data[start : start + BUFFER] for start in range(0, len(data), BUFFER))]


def _session(stage: Stage, name: str, in_pieces: bool) -> None:
    """A whole session, one file after the other."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        caller = socket.create_connection(listening.getsockname())
        answerer, _ = listening.accept()
    with caller, answerer:
        for each in (caller, answerer):
            each.settimeout(10)
        if not in_pieces:
            answerer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = _Server(answerer, in_pieces)
        server.start()
        try:
            _Client(stage, name, caller).run()
        finally:
            server.join()
