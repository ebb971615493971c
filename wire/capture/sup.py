"""SUP out of TCP streams: both directions of a session, message by message, through file data and gzip.

What a message looks like depends on what was said before: the probe gives the byte order, SIGNON and
SIGNONACK the version, SETUP list-only, COMPRESS whether file data is gzip (SUP 2). SUP has no way to find the
next message after lost bytes (SUP 1.3); except inside file data, whose length is known, a reader that has
lost its place tries each packet until one begins with a whole message, since the historic programs write most
messages with one write.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from wire.capture.messages import Conversation, Message, Notice, SupMessage
from wire.codec import Stream, codec
from wire.formats import sup
from wire.formats.errors import Damage, FormatError
from wire.formats.record import as_format
from wire.formats.sup import MESSAGES, PROBE_BIG, PROBE_LITTLE, TEST_STRING, MessageType, SupParams

KEEP_DATA = 64 << 10
"""File data kept with its message for the explanation, in bytes; the rest streams by."""
MAX_MESSAGE = 128 << 20
"""Longest message that is read, in bytes without file data; a LIST of a million names has some 70 million."""
_TYPES: dict[int, type[Any]] = {int(number): cls for number, cls in MESSAGES.items()}
_END_MARK = bytes.fromhex("ffffffff")
_GZIP = 31  # zlib's window bits for a gzip stream
_SLICE = 16 << 10
"""Compressed bytes unpacked at once, so that a gzip bomb cannot fill the memory."""

CLIENT_TYPES = frozenset(
    {
        MessageType.SIGNON, MessageType.SETUP, MessageType.LOGIN, MessageType.CRYPT, MessageType.REFUSE,
        MessageType.NEED, MessageType.SEND, MessageType.DONE, MessageType.XPATCH, MessageType.COMPRESS,
        MessageType.NSIGNON, MessageType.NCOLL,
    }
)  # fmt: skip
"""Messages that only a client sends (SUP 2)."""
PROBES = {PROBE_LITTLE: "<", PROBE_BIG: ">"}


class FileData(Protocol):
    """Takes the data of one file as it travels (already through gunzip)."""

    def write(self, data: bytes) -> None: ...

    def close(self, reason: str) -> None:
        """No more comes; *reason* says what is wrong with the data, empty if nothing is."""


OpenFile = Callable[[Conversation, sup.Recv], FileData | None]
"""Called for every RECV that brings something; None if nobody wants its data."""


@attrs.define(eq=False)
class Session:
    """What both directions of a session have agreed on so far."""

    order: str = ""
    client_version: int | None = None
    server_version: int | None = None
    list_only: bool = False
    compressed: bool = False
    encrypted: bool = False
    raw_stream: bool = False
    """After XPATCH the connection carries a terminal's bytes (SUP 2.17)."""
    asked: float | None = None
    """When the client's last message was whole."""

    @property
    def params(self) -> SupParams:
        """An old client knows no new layouts, and a new one keeps to those of an old server (SUP 2.2)."""
        versions = [version for version in (self.client_version, self.server_version) if version is not None]
        return SupParams(self.order or "<", min(versions, default=sup.NEWEST_VERSION), self.list_only)

    def learn(self, message: Any) -> None:
        """What *message* changes for those after it."""
        match message:
            case sup.Signon() | sup.NameSignon():
                self.client_version = message.protocol
            case sup.SignonAck() | sup.NameSignonAck():
                self.server_version = message.protocol
            case sup.Setup():
                self.list_only = bool(message.listonly)
            case sup.Compress():
                self.compressed = bool(message.compress)
            case sup.Crypt():
                self.encrypted = message.test != TEST_STRING
            case sup.Xpatch():
                self.raw_stream = True


def begins(data: bytes) -> str:
    """The byte order in which *data* begins with a type of message; empty if in none."""
    for order in "<>":
        if len(data) >= 4 and _number(data, order) in _TYPES:
            return order
    return ""


def first_message(data: bytes, params: SupParams | None = None) -> tuple[str, int]:
    """Byte order and type of the message that a packet begins with; ("", 0) if it begins with none.

    A message that is not whole counts if it goes on like one for longer than chance would have it. Without
    *params*, nothing is known of the session.
    """
    order = params.order if params is not None else begins(data)
    found = _TYPES.get(_number(data, order)) if order and len(data) >= 8 else None
    if found is None:
        return "", 0
    try:
        codec(found, params or SupParams(order)).parse(data)
    except FormatError as error:
        if error.kind is not Damage.TRUNCATED or len(data) < 1000:
            return "", 0
    return order, _number(data, order)


def _number(data: bytes, order: str) -> int:
    return int.from_bytes(data[:4], "little" if order == "<" else "big", signed=True)


class SupReader:
    """One direction of a session."""

    def __init__(
        self,
        conversation: Conversation,
        session: Session,
        from_client: bool,
        emit: Callable[[Message], None],
        numbered: Callable[[], int],
        opener: OpenFile | None,
        lost: bool,
    ) -> None:
        self._conversation = conversation
        self._session = session
        self._from_client = from_client
        self._emit = emit
        self._numbered = numbered
        self._opener = opener
        self._lost = lost
        self._probe = from_client and not lost
        self._buffer = b""  # bytes of a message of which even the type is not whole
        self._stream: Stream[Any] | None = None
        self._class: type[Any] = sup.Probe
        self._kept: list[bytes] = []  # the message's bytes
        self._kept_size = 0
        self._file: _Transfer | None = None

    def data(self, data: bytes, time: float, frame: int) -> None:
        """The next bytes of the stream."""
        if self._lost and not self._found(data):
            return
        while data:
            if self._file is not None:
                data = self._file_data(data, time, frame)
            elif self._stream is not None:
                data = self._feed(data, time, frame)
            elif self._session.raw_stream:
                self._terminal(data, time, frame)
                return
            else:
                data = self._begin(data, time, frame)
            if self._lost:
                return

    def gap(self, size: int, reason: str, time: float, frame: int) -> None:
        """*size* bytes are not in the capture."""
        text = f"{size:,} bytes are {reason}"
        file = self._file
        if file is not None and size <= file.left + file.end:
            file.skip(size)
            self._notice(f"{text}, all of them data of the file {_text(file.recv.name)}", time, frame)
            if not file.end:
                self._end_file(b"", time, frame)
            return
        inside = (
            f", inside {self._class.TYPE.name}"
            if self._stream is not None and self._class is not sup.Probe
            else ""
        )
        self._lose(f"{text}{inside}; looking for a packet that begins with a message", time, frame)

    def finish(self, reason: str, time: float, frame: int) -> None:
        """Nothing more comes."""
        if self._file is not None:
            self._file.stop(f"it ends early: {reason}")
            self._deliver(self._file.recv, time, frame, (f"not whole: {reason}",), None)
        elif self._stream is not None:
            self._deliver(None, time, frame, (f"not whole: {reason}",), None)
        elif self._buffer and not self._lost:
            self._notice(f"{len(self._buffer)} bytes that are no whole message type: {reason}", time, frame)
        self._reset()

    # -------------------------------------------------------------------------------------------- one message

    def _begin(self, data: bytes, time: float, frame: int) -> bytes:
        """The type of the next message, and with it the parser for the rest."""
        buffer = self._buffer + data
        self._buffer = b""
        if len(buffer) < 4:
            self._buffer = buffer
            return b""
        session = self._session
        if self._probe:
            self._probe = False
            session.order = PROBES.get(buffer[:4], session.order)
            if buffer[:4] in PROBES:
                self._class = sup.Probe
                self._kept = [buffer[:4]]
                self._deliver(sup.Probe(buffer[:4]), time, frame, (), None)
                return buffer[4:]
        session.order = session.order or begins(buffer) or "<"
        number = _number(buffer, session.order)
        found = _TYPES.get(number)
        if found is None:
            self._lose(f"{number} is not the type of a message", time, frame)
            return b""
        self._class = found
        self._stream = codec(found, session.params).stream()
        return buffer

    def _feed(self, data: bytes, time: float, frame: int) -> bytes:
        """More bytes of a message; returns what follows it."""
        assert self._stream is not None
        before = self._kept_size
        if before + len(data) > MAX_MESSAGE:
            self._lose(
                f"a message is longer than {MAX_MESSAGE:,} bytes; looking for a packet that begins with one",
                time,
                frame,
            )
            return b""
        self._keep(data)
        try:
            if not self._stream.feed(data):
                return b""
        except FormatError as damage:
            self._deliver(None, time, frame, (), damage.with_traceback(None))
            self._lose(
                "the next message cannot be found; looking for a packet that begins with one", time, frame
            )
            return b""
        rest, message = self._stream.rest, self._stream.value
        if rest:
            self._trim(before + len(data) - len(rest))
        size = getattr(message, "size", None)
        if isinstance(message, sup.Recv) and size is not None:
            self._stream = None
            opened = self._opener(self._conversation, message) if self._opener is not None else None
            self._file = _Transfer(message, size, self._kept_size, self._session.compressed, opened)
            return rest
        if (
            isinstance(message, sup.Recv)
            and message.name is not None
            and message.mode
            and self._opener is not None
        ):
            self._opener(self._conversation, message)
        self._deliver(message, time, frame, (), None)
        return rest

    def _file_data(self, data: bytes, time: float, frame: int) -> bytes:
        """Data of a file, or the end mark after it; returns what follows."""
        file = self._file
        assert file is not None
        if file.left:
            piece = data[: file.left]
            kept = piece[: max(0, KEEP_DATA - file.kept)]
            self._keep(kept)
            file.take(piece, len(kept))
            return data[len(piece) :]
        mark = data[: file.end]
        rest = data[file.end :]
        file.end -= len(mark)
        self._buffer += mark
        if not file.end:
            self._end_file(self._buffer, time, frame)
        return b"" if self._lost else rest

    def _end_file(self, mark: bytes, time: float, frame: int) -> None:
        """The end mark after file data, as much of it as is in the capture."""
        file = self._file
        assert file is not None
        self._buffer = b""
        self._keep(mark)
        whole = mark == _END_MARK[: len(mark)]
        file.stop("" if whole else "no end mark follows it")
        damage = None if whole else FormatError(Damage.CONST, "end", self._kept_size - len(mark))
        self._deliver(file.recv, time, frame, (), damage)
        if not whole:
            self._lose(
                "the next message cannot be found; looking for a packet that begins with one", time, frame
            )

    def _deliver(
        self, content: Any, time: float, frame: int, notes: tuple[str, ...], damage: FormatError | None
    ) -> None:
        session, file = self._session, self._file
        raw = b"".join(self._kept)
        message = SupMessage(
            self._conversation, self._numbered(), time, frame, self._from_client, raw, notes, damage,
            content=content, content_format=as_format(self._class), type=_type_name(self._class),
            params=session.params,
        )  # fmt: skip
        if file is not None:
            message.data_size, message.data_kept = file.size, file.kept
            message.data_start = file.start
            message.unpacked = file.unpacked
            if file.problem:
                message.notes += (file.problem,)
        if content is not None:
            session.learn(content)
            if isinstance(content, sup.Crypt) and session.encrypted:
                message.notes += ("the session's names and file data are encrypted from here on",)
        if self._from_client:
            session.asked = time
        elif session.asked is not None:
            message.latency = time - session.asked
        self._reset()
        self._emit(message)

    def _reset(self) -> None:
        self._stream = None
        self._file = None
        self._kept = []
        self._kept_size = 0
        self._buffer = b""

    def _keep(self, data: bytes) -> None:
        self._kept.append(data)
        self._kept_size += len(data)

    def _trim(self, size: int) -> None:
        """Forgets kept bytes past *size*: they belong to the next message."""
        surplus = self._kept_size - size
        self._kept[-1] = self._kept[-1][: len(self._kept[-1]) - surplus]
        self._kept_size = size

    # --------------------------------------------------------------------------------------------- being lost

    def _found(self, data: bytes) -> bool:
        """Whether this packet begins with a whole message, so that the reader knows again where it is."""
        session = self._session
        order, _ = first_message(data, session.params if session.order else None)
        if not order:
            return False
        session.order = order
        self._lost = False
        self._reset()
        return True

    def _lose(self, text: str, time: float, frame: int) -> None:
        if self._file is not None:
            self._file.stop("bytes are missing")
            self._deliver(self._file.recv, time, frame, ("not whole: bytes are missing",), None)
        elif self._stream is not None:
            self._deliver(None, time, frame, ("not whole: bytes are missing",), None)
        self._reset()
        if not self._lost:
            self._notice(text, time, frame)
        self._lost = True

    def _terminal(self, data: bytes, time: float, frame: int) -> None:
        self._notice(
            f"{len(data)} bytes of the crosspatch's terminal: {_text(data[:200])}", time, frame, data
        )

    def _notice(self, text: str, time: float, frame: int, raw: bytes = b"") -> None:
        self._emit(
            Notice(
                self._conversation,
                self._numbered(),
                time,
                frame,
                self._from_client,
                raw,
                (),
                None,
                None,
                text,
            )
        )


class _Transfer:
    """The data of one file on its way: counts it, unpacks it, and hands it on."""

    def __init__(
        self, recv: sup.Recv, size: int, start: int, compressed: bool, opened: FileData | None
    ) -> None:
        self.recv = recv
        self.size = size
        self.start = start  # of the data in the message
        self.left = size
        self.end = len(_END_MARK)  # bytes of the end mark still to come
        self.kept = 0
        self.unpacked: int | None = 0 if compressed else None
        self.problem = ""
        self._opened = opened
        self._gunzip = zlib.decompressobj(_GZIP) if compressed else None

    def take(self, data: bytes, kept: int) -> None:
        self.left -= len(data)
        self.kept += kept
        if self.problem:
            return
        if self._gunzip is None:
            if self._opened is not None:
                self._opened.write(data)
            return
        for start in range(0, len(data), _SLICE):
            self._unpack(data[start : start + _SLICE])

    def _unpack(self, data: bytes) -> None:
        while data and not self.problem:
            assert self._gunzip is not None
            assert self.unpacked is not None
            if self._gunzip.eof:  # gzip -d takes several members one after the other (SUP 5.1)
                self._gunzip = zlib.decompressobj(_GZIP)
            try:
                plain = self._gunzip.decompress(data)
            except zlib.error as error:
                self.problem = f"the data is not gzip: {error}"
                return
            data = self._gunzip.unused_data
            self.unpacked += len(plain)
            if self._opened is not None:
                self._opened.write(plain)

    def skip(self, size: int) -> None:
        """*size* bytes, of the data and then the end mark, are lost."""
        lost = min(size, self.left)
        self.left -= lost
        self.end -= size - lost
        if lost:
            self.problem = self.problem or f"{lost:,} bytes of its data are missing"

    def stop(self, reason: str) -> None:
        if (
            self._gunzip is not None
            and not self._gunzip.eof
            and self.size
            and not self.problem
            and not reason
        ):
            self.problem = "the gzip stream ends early"
        self.problem = self.problem or reason
        if self._opened is not None:
            self._opened.close(self.problem)
            self._opened = None


def _type_name(cls: type[Any]) -> str:
    return "PROBE" if cls is sup.Probe else str(sup.type_of(cls).name)


def _text(data: bytes | None) -> str:
    return "" if data is None else repr(data)[1:]
