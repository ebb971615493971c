"""TCP streams out of segments: bytes in order, once each, whatever the capture holds.

Segments are sorted by sequence number (RFC 9293 3.4, modulo 2^32): what was sent again is dropped, overlaps
keep the bytes that came first, what comes too early waits for what is missing. When the missing bytes cannot
come any more, because the receiver has acknowledged them or too much is waiting, they become a gap of known
size and the stream goes on after it. A capture that begins in the middle of a connection begins with its
first segment.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import attrs

from wire.capture.packets import ACK, FIN, RST, SYN, Segment

MAX_WAITING = 4 << 20
"""Bytes that came too early and wait, per direction of a connection; past it, what is missing is given up."""
MAX_WAITING_SEGMENTS = 2048
"""The same, in segments."""
MAX_WAITING_TOTAL = 16 << 20
"""Bytes that wait in all connections together; past it, nothing more is waited for."""
OVERHEAD = 256
"""What a segment that waits costs beside its bytes; it counts as waiting, too."""
MAX_CONNECTIONS = 16_384
"""Connections remembered at once; past it, the one that began first is forgotten."""
PATIENCE, GRACE = 8, 0.01
"""Segments of the receiver, or seconds, after which bytes that it acknowledged, but that were not captured,
are given up: recorders that read several queues may store an acknowledgement before the data."""
NEARBY = 1 << 20
"""Data this close to where a closed connection ended is still its own (late, or sent again), in bytes."""

_HALF = 1 << 31
_MASK = (1 << 32) - 1
_SPECIAL = SYN | FIN | RST


class Sink(Protocol):
    """Takes what one connection carries.

    Direction 0 is from its first address to its second, 1 the other way.
    """

    def data(self, direction: int, data: bytes, time: float, frame: int) -> None:
        """The next bytes of a direction, and the segment that completed them."""

    def gap(self, direction: int, size: int, reason: str, time: float, frame: int) -> None:
        """`size` bytes of a direction are not in the capture; data goes on after them."""

    def closed(self, reason: str, time: float, frame: int) -> None:
        """The connection is over; nothing more comes."""


@attrs.frozen
class Opening:
    """A connection at its first segment: packed addresses and ports of the side that sent it, then of the
    other.

    `handshake` tells whether the capture holds the SYN, so that the first address is the client's for
    certain.
    """

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    time: float
    frame: int
    handshake: bool
    comment: str = ""


class _Direction:
    """One direction of a connection: the next sequence number, and segments that came too early."""

    __slots__ = ("finished", "first", "held", "next", "started", "stuck", "waiting")

    def __init__(self) -> None:
        self.first = 0
        self.next = 0
        self.started = False
        self.finished = False
        self.waiting: dict[int, _Waiting] = {}
        self.held = 0
        self.stuck = 0  # segments seen since the first one that waits

    def soonest(self) -> int:
        """The sequence number of the first segment that waits."""
        return min(self.waiting, key=lambda number: _after(number, self.next))


class _Connection:
    __slots__ = ("closed", "keys", "sides", "sink")

    def __init__(self, sink: Sink, keys: tuple[_Key, _Key]) -> None:
        self.sink = sink
        self.keys = keys
        self.sides = (_Direction(), _Direction())
        self.closed = False


_Key = tuple[bytes, bytes, int, int]
_Waiting = tuple[bytes, int, bool, float, int]
"""What waits at a sequence number: payload, bytes cut off after it, FIN, and the time and number of its
packet."""


class Reassembler:
    """Follows every TCP connection of a capture.

    `opened` is called at each new one and returns the sink of its bytes.
    """

    def __init__(self, opened: Callable[[Opening], Sink]) -> None:
        self._opened = opened
        self._flows: OrderedDict[_Key, tuple[_Connection, int]] = OrderedDict()
        self._held = 0  # bytes that wait, in all connections

    def segment(self, segment: Segment) -> None:
        """Takes the next segment of the capture."""
        _, _, source, destination, source_port, destination_port, payload, missing, _, sequence, _, flags = (
            segment
        )
        key = (source, destination, source_port, destination_port)
        flow = self._flows.get(key)
        if flow is None or missing or flags & _SPECIAL:
            self._unusual(key, flow, segment)
            return
        connection, direction = flow
        side, other = connection.sides[direction], connection.sides[1 - direction]
        if sequence != side.next or side.waiting or other.waiting or connection.closed or not side.started:
            self._unusual(key, flow, segment)
        elif payload:
            side.next = (sequence + len(payload)) & _MASK
            connection.sink.data(direction, payload, segment.time, segment.frame)

    def _unusual(self, key: _Key, flow: tuple[_Connection, int] | None, segment: Segment) -> None:
        """A segment that begins or ends a connection, or is not simply the next one of its direction."""
        flags, carries = segment.flags, bool(segment.payload or segment.missing)
        sequence = (segment.sequence + 1) & _MASK if flags & SYN else segment.sequence
        if flow is not None and (flags & SYN or flow[0].closed) and self._is_new(flow, segment, sequence):
            self._forget(flow[0], "the ports were used again", segment)
            flow = None
        if flow is None:
            if not (carries or flags & SYN):
                return  # an acknowledgement of, or the end of, a connection that was not followed
            flow = self._open(key, segment)
        connection, direction = flow
        if connection.closed:
            return
        side, other = connection.sides[direction], connection.sides[1 - direction]
        if not side.started:
            side.started, side.first, side.next = True, sequence, sequence
        if flags & ACK and other.waiting:
            self._acknowledged(connection, 1 - direction, segment)
        if carries or flags & FIN:
            self._sort(connection, direction, sequence, segment)
        if flags & RST:
            self._close(connection, "reset", segment)
        elif side.finished and other.finished:
            self._close(connection, "closed", segment)

    def finish(self, time: float, frame: int) -> None:
        """Call at the end of the capture: gives out what still waits, and ends every connection."""
        end = Segment(frame, time, b"", b"", 0, 0, b"", 0, "", 0, 0, 0)
        for connection, direction in list(self._flows.values()):
            if direction == 0:
                self._forget(connection, "the capture ends", end)

    def _open(self, key: _Key, segment: Segment) -> tuple[_Connection, int]:
        if len(self._flows) >= 2 * MAX_CONNECTIONS:
            oldest = next(iter(self._flows.values()))[0]
            self._forget(oldest, "too many connections came after it to follow it further", segment)
        source, destination, source_port, destination_port = key
        flags = segment.flags
        opening = flags & SYN and not flags & ACK
        answer = flags & SYN and flags & ACK  # the capture holds the handshake's second half alone
        back: _Key = (destination, source, destination_port, source_port)
        keys = (back, key) if answer else (key, back)
        sink = self._opened(
            Opening(
                keys[0][0],
                keys[0][2],
                keys[0][1],
                keys[0][3],
                segment.time,
                segment.frame,
                bool(opening or answer),
                segment.comment,
            )
        )
        connection = _Connection(sink, keys)
        for direction in (0, 1):
            self._flows[keys[direction]] = (connection, direction)
        return self._flows[key]

    @staticmethod
    def _is_new(flow: tuple[_Connection, int], segment: Segment, sequence: int) -> bool:
        """Whether a SYN, or data after the end, begins another connection between the same ports."""
        connection, direction = flow
        side = connection.sides[direction]
        if segment.flags & SYN:
            if bool(segment.flags & ACK) != bool(direction):
                return True  # the other side opens
            return side.started and sequence != side.first
        return bool(segment.payload) and (not side.started or abs(_after(sequence, side.next)) > NEARBY)

    def _sort(self, connection: _Connection, direction: int, sequence: int, segment: Segment) -> None:
        """Puts a segment which is not simply the next one in its place; gives out what is in order then."""
        side = connection.sides[direction]
        payload, missing, fin = segment.payload, segment.missing, bool(segment.flags & FIN)
        late = -_after(sequence, side.next)
        if late > 0:  # sent again, at least in part
            kept = len(payload) - late
            if kept <= 0 and late >= len(payload) + missing and not (fin and late == len(payload) + missing):
                return
            sequence = side.next
            missing -= max(0, -kept)
            payload = payload[late:]
        known = side.waiting.get(sequence)
        if known is None or len(known[0]) < len(payload):
            more = len(payload) - len(known[0]) if known else len(payload) + OVERHEAD
            side.held += more
            self._held += more
            side.waiting[sequence] = (payload, missing, fin, segment.time, segment.frame)
        if sequence == side.next:
            self._release(connection, direction, segment)
        while side.waiting and (
            side.held > MAX_WAITING
            or len(side.waiting) > MAX_WAITING_SEGMENTS
            or self._held > MAX_WAITING_TOTAL
        ):
            self._give_up(connection, direction, "not in the capture, although much that came later is")

    def _release(self, connection: _Connection, direction: int, now: Segment | None) -> None:
        """Gives out the waiting segments whose turn has come: the receiver has them *now*, or had them in
        their own time.
        """
        side = connection.sides[direction]
        sink = connection.sink
        while side.waiting:
            entry = side.waiting.pop(side.next, None)
            late = 0
            if entry is None:  # the first may overlap what was given out meanwhile
                first = side.soonest()
                late = -_after(first, side.next)
                if late < 0:
                    return
                entry = side.waiting.pop(first)
            payload, missing, fin, time, frame = entry
            side.held -= len(payload) + OVERHEAD
            self._held -= len(payload) + OVERHEAD
            if late:
                missing = max(0, missing - max(0, late - len(payload)))
                payload = payload[late:]
            if now is not None:
                time, frame = now.time, now.frame
            side.stuck = 0
            side.next = (side.next + len(payload) + missing) & _MASK
            if payload:
                sink.data(direction, payload, time, frame)
            if missing:
                sink.gap(direction, missing, "cut off by the recorder's snap length", time, frame)
            if fin:
                side.finished = True
                side.waiting.clear()
                self._held -= side.held
                side.held = 0

    def _acknowledged(self, connection: _Connection, direction: int, segment: Segment) -> None:
        """Gives missing bytes up once the receiver has had them and the capture had time to deliver them."""
        side = connection.sides[direction]
        side.stuck += 1
        first = side.soonest()
        waited = segment.time - side.waiting[first][3]
        if (side.stuck > PATIENCE or waited > GRACE) and _after(segment.acknowledged, first) >= 0:
            self._give_up(connection, direction, "not in the capture, although the receiver had them")

    def _give_up(self, connection: _Connection, direction: int, reason: str) -> None:
        """Makes a gap of the bytes before the first waiting segment."""
        side = connection.sides[direction]
        first = side.soonest()
        size = _after(first, side.next)
        if size > 0:
            side.next = first
            _, _, _, time, frame = side.waiting[first]
            connection.sink.gap(direction, size, reason, time, frame)
        self._release(connection, direction, None)

    def _close(self, connection: _Connection, reason: str, segment: Segment) -> None:
        """Ends a connection; its ports are remembered, so that what still arrives is not taken for another
        one.
        """
        for direction in (0, 1):
            while connection.sides[direction].waiting:
                self._give_up(connection, direction, "not in the capture")
        connection.closed = True
        connection.sink.closed(reason, segment.time, segment.frame)

    def _forget(self, connection: _Connection, reason: str, segment: Segment) -> None:
        if not connection.closed:
            self._close(connection, reason, segment)
        for key in connection.keys:
            self._flows.pop(key, None)


def _after(number: int, base: int) -> int:
    """How far `number` is after `base` in sequence space; negative when it is before (RFC 9293 3.4)."""
    distance = (number - base) & _MASK
    return distance - (1 << 32) if distance >= _HALF else distance
