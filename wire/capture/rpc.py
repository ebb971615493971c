"""ONC RPC out of datagrams and streams: records put together, calls paired with their replies.

A reply says nothing of what was called: it is understood by the call with the same xid, so calls are
remembered (a bounded number of them). A call seen again with the same bytes is a retransmission, a second
reply to one call is told as such (NeXT's server sends two to a call that its UDP filter refuses, NETINFO
1.1).
"""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Callable, Mapping

from wire.capture.messages import CallRecord, Conversation, Head, Message, Notice, Parse, RpcMessage
from wire.codec import codec
from wire.formats import rpc
from wire.formats.errors import Damage, FormatError
from wire.formats.netinfo import NETINFO
from wire.formats.nibind import NIBIND
from wire.formats.portmap import PORTMAP, CallitArgs
from wire.formats.rpc import Procedure, Program

PROGRAMS: Mapping[tuple[int, int], Program] = {(p.number, p.version): p for p in (PORTMAP, NIBIND, NETINFO)}
"""The programs that are explained, by number and version."""
PROGRAM_NUMBERS: Mapping[int, Program] = {program.number: program for program in PROGRAMS.values()}
MAX_RECORD = 64 << 20
"""Longest record that is put together, in bytes."""
MAX_FRAGMENTS = 65_536
"""Most fragments of one record; real ones have a kilobyte and more."""
MAX_CALLS = 32_768
"""Calls remembered, of all conversations together."""

_MARK = struct.Struct(">I")
_CALL_HEAD = struct.Struct(">IIII")  # xid, type, RPC version, program: what tells a call before it is parsed
_HEADER = codec(rpc.Message)
_LAST = rpc.LAST_FRAGMENT
_numbers = b"|".join(re.escape(_MARK.pack(number)) for number in PROGRAM_NUMBERS)
_FIND_CALL = re.compile(rb"[\x00-\x03\x80-\x83][\s\S]{7}\x00{7}\x02(?:" + _numbers + rb")")
_FIND_REPLY = re.compile(rb"[\x00-\x03\x80-\x83][\s\S]{3}([\s\S]{4})\x00{3}\x01\x00{3}[\x00\x01]")

Emit = Callable[[Message], None]


def is_call(data: bytes) -> bool:
    """Whether a record or datagram begins as a call to one of the programs that are explained."""
    if len(data) < _CALL_HEAD.size:
        return False
    _, kind, version, program = _CALL_HEAD.unpack_from(data)
    return kind == rpc.MsgType.CALL and version == rpc.RPC_VERSION and program in PROGRAM_NUMBERS


def inner_procedure(arguments: CallitArgs) -> Procedure | None:
    """What CALLIT passes its arguments on to; None if it is not explained."""
    program = PROGRAMS.get((arguments.program, arguments.version))
    return program.by_number.get(arguments.procedure) if program is not None else None


def kind_of(data: bytes) -> str:
    """``call`` or ``reply``, if a datagram has the whole header of one; else empty."""
    try:
        return read_head(data).kind
    except FormatError:
        return ""


_heads: dict[bytes, Head] = {}
_sizes: list[int] = []
_MAX_HEADS, _MAX_SIZES = 1024, 8


def read_head(record: bytes) -> Head:
    """What the header of *record* says, apart from its xid. Raises FormatError.

    Headers repeat: all calls of one procedure by one caller have the same, but for the xid in their first
    four bytes. So they are remembered by their bytes, and parsed only when they are new.
    """
    for size in _sizes:
        known = _heads.get(record[4:size])
        if known is not None:
            return known
    message, size = _HEADER.parse(record)
    if len(_heads) >= _MAX_HEADS:
        _heads.clear()
        _sizes.clear()
    head = _heads[record[4:size]] = _new_head(message, size)
    if size not in _sizes and len(_sizes) < _MAX_SIZES:
        _sizes.append(size)
    return head


def _new_head(message: rpc.Message, size: int) -> Head:
    body = message.body
    if isinstance(body, rpc.Reply):
        return Head(body, size, "reply", _reply_status(body))
    program = PROGRAMS.get((body.program, body.version))
    procedure = program.by_number.get(body.procedure) if program is not None else None
    if procedure is None:
        other = PROGRAM_NUMBERS.get(body.program)
        name = f"{body.program}.{body.version}.{body.procedure}"
        return Head(body, size, "call", "", other.name if other is not None else "rpc", name, other)
    assert program is not None
    parsers = codec(procedure.argument).parse, codec(procedure.result).parse
    return Head(body, size, "call", "", program.name, procedure.name, program, procedure, *parsers)


def _reply_status(reply: rpc.Reply) -> str:
    said = reply.body
    status = (
        said.body
        if said.status == rpc.RejectStatus.AUTH_ERROR and isinstance(said, rpc.Rejected)
        else said.status
    )
    return str(getattr(status, "name", status))


Remembered = deque[tuple[dict[int, CallRecord], int, CallRecord]]
"""The calls of all conversations, the oldest first: where each is kept, its xid, and the call."""


class RpcFollower:
    """The calls and replies of one conversation. `numbered` gives each message its number as it is made.

    `remembered` is what the conversations of a capture share. `caller` is given where the replies answer the calls of
    another conversation, such as a broadcast.
    """

    def __init__(
        self,
        conversation: Conversation,
        emit: Emit,
        numbered: Callable[[], int],
        remembered: Remembered | None = None,
        caller: RpcFollower | None = None,
    ) -> None:
        self._conversation = conversation
        self._emit = emit
        self._numbered = numbered
        self._remembered: Remembered = deque() if remembered is None else remembered
        self._calls: dict[int, CallRecord] = {} if caller is None else caller._calls

    @property
    def protocol(self) -> str:
        """The protocol of the conversation."""
        return self._conversation.protocol

    def awaits(self, data: bytes) -> bool:
        """Whether *data* begins as a reply to a call that is remembered."""
        kind = int.from_bytes(data[4:8], "big")
        return len(data) >= 8 and kind == rpc.MsgType.REPLY and self.knows(int.from_bytes(data[:4], "big"))

    def knows(self, xid: int) -> bool:
        """Whether a call with this xid is remembered."""
        return xid in self._calls

    def record(
        self,
        record: bytes,
        raw: bytes,
        marks: tuple[tuple[int, int], ...],
        from_client: bool,
        time: float,
        frame: int,
        notes: tuple[str, ...] = (),
    ) -> None:
        """One whole record or datagram; *raw* is it with its record marks, whose places *marks* tells."""
        message = RpcMessage(
            self._conversation,
            self._numbered(),
            time,
            frame,
            from_client,
            raw,
            notes,
            None,
            None,
            record,
            marks,
        )
        try:
            head = read_head(record)
        except FormatError as damage:
            message.damage = damage.with_traceback(None)  # which would hold this message, and all its bytes
            self._emit(message)
            return
        message.head = head
        message.xid = xid = int.from_bytes(record[:4], "big")
        if head.kind == "call":
            message.asked = head
            self._call(message, xid, head)
            parse = head.argument
        else:
            parse = self._reply(message, xid, head)
        if parse is not None:
            try:
                message.body, end = parse(record, head.size)
            except FormatError as damage:
                message.damage = damage.with_traceback(None)
            else:
                if end != len(record):
                    message.damage = FormatError(Damage.TRAILING, "", end)
        if isinstance(message.body, CallitArgs):
            self._calls[xid].inner = inner_procedure(message.body)
        self._emit(message)

    def _call(self, message: RpcMessage, xid: int, head: Head) -> None:
        """Remembers the call, if it is not known already, and forgets the oldest."""
        calls, remembered = self._calls, self._remembered
        known = calls.get(xid)
        digest = hash(message.record)
        if known is not None and known.digest == digest:
            answered = ", which was answered" if known.replies else ""
            message.again = known.number
            message.notes += (f"sends call {known.number} again{answered}",)
            return
        calls[xid] = call = CallRecord(message.number, message.time, message.frame, digest, head)
        remembered.append((calls, xid, call))
        if len(remembered) > MAX_CALLS:
            place, number, oldest = remembered.popleft()
            if place.get(number) is oldest:
                del place[number]

    def _reply(self, message: RpcMessage, xid: int, head: Head) -> Parse | None:
        """Finds the call; returns the parser of its results, if there are any."""
        call = self._calls.get(xid)
        if call is None:
            message.notes += ("its call is not in the capture, so its results cannot be read",)
            return None
        message.call = call
        message.asked = call.head
        message.latency = message.time - call.time
        call.replies += 1
        if call.replies > 1:
            message.notes += (f"reply {call.replies} to call {call.number}",)
        return call.head.result if head.status == "SUCCESS" else None


class RecordReader:
    """One direction of a TCP connection: fragments to records (RFC 5531 11).

    After a gap it goes on with the next record: by the length of the fragment that was cut, or by looking for
    what begins like a call, or like the reply to one that is known.
    """

    def __init__(self, follower: RpcFollower, conversation: Conversation, from_client: bool, emit: Emit,
                 numbered: Callable[[], int], searching: bool) -> None:  # fmt: skip
        self._follower = follower
        self._conversation = conversation
        self._from_client = from_client
        self._emit = emit
        self._numbered = numbered
        self._searching = searching
        self._buffer = b""  # bytes not yet taken: less than a mark, or what is searched
        self._reset()

    def _reset(self) -> None:
        self._raw: list[bytes] = []
        self._parts: list[bytes] = []
        self._marks: list[tuple[int, int]] = []
        self._size = 0  # of raw so far
        self._left = 0  # of the fragment
        self._last = False
        self._inside = False  # a record has begun
        self._cut = ""  # why the record is not whole

    def data(self, data: bytes, time: float, frame: int) -> None:
        """The next bytes of the stream."""
        if self._searching:
            data = self._search(self._buffer + data)
        elif not self._inside and not self._buffer and len(data) >= 4:
            word = int.from_bytes(data[:4], "big")  # most often: one whole record
            if word - _LAST == len(data) - 4:
                marks = ((0, word - _LAST),)
                self._follower.record(data[4:], data, marks, self._from_client, time, frame)
                return
        position = 0
        while position < len(data):
            position = self._take(data, position, time, frame)
            if self._searching:
                data, position = self._search(data[position:]), 0

    def gap(self, size: int, reason: str, time: float, frame: int) -> None:
        """*size* bytes are not in the capture."""
        text = f"{size:,} bytes are {reason}"
        inside = size <= self._left
        self._notice(text if inside else text + "; looking for the next record", time, frame)
        if self._inside:
            self._cut = self._cut or text
        if inside:
            self._left -= size
            if not self._left and self._last:
                self._deliver(time, frame)
            return
        if self._inside:
            self._deliver(time, frame)
        self._buffer = b""
        self._searching = True

    def finish(self, reason: str, time: float, frame: int) -> None:
        """Nothing more comes."""
        if self._inside or (self._buffer and not self._searching):
            self._cut = self._cut or f"the record ends here: {reason}"
            self._deliver(time, frame)
        self._buffer = b""

    def _take(self, data: bytes, position: int, time: float, frame: int) -> int:
        """Takes one mark or (part of) one fragment; returns where the rest begins."""
        if not self._left:
            wanted = 4 - len(self._buffer)
            self._buffer += data[position : position + wanted]
            if len(self._buffer) < 4:
                return len(data)
            word = int.from_bytes(self._buffer, "big")
            self._last, self._left = bool(word & _LAST), word & ~_LAST
            too_much = ""
            if self._size - 4 * len(self._marks) + self._left > MAX_RECORD:
                too_much = f"a fragment claims {self._left:,} bytes, which is more than a record may have"
            elif len(self._marks) == MAX_FRAGMENTS:
                too_much = f"a record comes in more than {MAX_FRAGMENTS:,} fragments"
            if too_much:
                self._lose(too_much, time, frame)
                self._searching = True
                return position + wanted
            self._inside = True
            if not self._cut:
                self._marks.append((self._size, self._left))
                self._raw.append(self._buffer)
                self._size += 4
            self._buffer = b""
            position += wanted
        else:
            piece = data[position : position + self._left]
            self._left -= len(piece)
            position += len(piece)
            if not self._cut:
                self._raw.append(piece)
                self._parts.append(piece)
                self._size += len(piece)
        if not self._left and self._last:
            self._deliver(time, frame)
        return position

    def _deliver(self, time: float, frame: int) -> None:
        raw, record = b"".join(self._raw) + self._buffer, b"".join(self._parts)
        notes = (f"not whole: {self._cut}",) if self._cut else ()
        marks = tuple(self._marks)
        self._buffer = b""
        self._reset()
        self._follower.record(record, raw, marks, self._from_client, time, frame, notes)

    def _lose(self, text: str, time: float, frame: int) -> None:
        self._buffer = b""
        self._reset()
        self._notice(text + "; looking for the next record", time, frame)

    def _notice(self, text: str, time: float, frame: int) -> None:
        self._emit(
            Notice(
                self._conversation,
                self._numbered(),
                time,
                frame,
                self._from_client,
                b"",
                (),
                None,
                None,
                text,
            )
        )

    def _search(self, data: bytes) -> bytes:
        """What follows from the next record on; empty, and the end of *data* kept, while none is found."""
        found = _FIND_CALL.search(data)
        for reply in _FIND_REPLY.finditer(data, 0, found.start() if found else len(data)):
            if self._follower.knows(int.from_bytes(reply[1], "big")):
                found = reply
                break
        if found is None:
            self._buffer = data[-19:]  # one byte less than the longest of the two patterns
            return b""
        self._searching = False
        self._buffer = b""
        return data[found.start() :]
