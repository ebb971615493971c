"""Record marking: how RPC messages are told apart on a TCP stream (RFC 5531 section 11).

A record is sent as fragments, each after a word with its length and, in the top bit, whether it is the last. The reader
reassembles them without sockets: bytes in, records out. A length that a peer merely announces allocates nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from wire.formats.rpc import LAST_FRAGMENT
from wire.transport.errors import RecordError

MARK = Struct(">I")


def mark(length: int, last: bool = True) -> bytes:
    """The word before a fragment of *length* bytes."""
    return MARK.pack(length | LAST_FRAGMENT if last else length)


class RecordReader:
    """Bytes of a stream in, whole records out: `feed`, then iterate."""

    __slots__ = ("_at", "_data", "_drained", "_inside", "_last", "_left", "_limit", "_record")

    def __init__(self, limit: int) -> None:
        """limit: the longest record accepted, in bytes."""
        self._limit = limit
        self._data = b""
        self._at = 0
        self._inside = False  # a record has begun and was not there in one piece
        self._left = 0  # bytes of the present fragment that are still to come
        self._last = False
        self._drained = False
        self._record = bytearray()

    @property
    def partial(self) -> bool:
        """Whether a record has begun and is not complete."""
        return self._inside or self._at < len(self._data)

    @property
    def buffered(self) -> int:
        """Bytes held."""
        return len(self._data) - self._at + len(self._record)

    def beginning(self, size: int) -> bytes:
        """The first bytes of a record that is not complete, as far as they have arrived."""
        return bytes(self._record[:size])

    def drain(self) -> bytes:
        """The bytes there are of a record that is not complete; the reader forgets them, and the record that comes will
        be the rest. For records that are longer than one wants to hold."""
        drained, self._record = bytes(self._record), bytearray()
        self._drained = self._drained or bool(drained)
        return drained

    def alone(self, data: bytes) -> bytes | None:
        """The record that *data* is, to the last byte, where nothing waits before it: it comes from who waits for every
        reply. Otherwise None, and *data* is to be fed."""
        size = len(data) - 4
        if self._data or self._inside or not 0 < size <= self._limit:
            return None
        return data[4:] if MARK.unpack_from(data)[0] == LAST_FRAGMENT | size else None

    def feed(self, data: bytes) -> None:
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    def __iter__(self) -> Iterator[bytes]:
        """The records that have arrived as a whole. May be left before its end; the rest comes in the next turn.

        Raises RecordError at one that is longer than the limit, or empty.
        """
        unpack, limit = MARK.unpack_from, self._limit
        data, at = self._data, self._at
        size = len(data)
        while True:
            if not self._inside and at + 4 <= size:  # nearly always: one fragment, all there
                (word,) = unpack(data, at)
                end = at + 4 + (word & ~LAST_FRAGMENT)
                if word > LAST_FRAGMENT and end <= size and end - at - 4 <= limit:
                    self._at = end
                    yield data[at + 4 : end]
                    at = end
                    continue
            elif at == size:
                self._data, self._at = b"", 0
                return
            record = self._reassemble()
            if record is None:
                return
            at = self._at
            yield record

    def _reassemble(self) -> bytes | None:
        data = self._data
        while True:
            if not self._left:
                if len(data) < self._at + 4:
                    return None
                (word,) = MARK.unpack_from(data, self._at)
                self._at += 4
                self._left, self._last = word & ~LAST_FRAGMENT, bool(word & LAST_FRAGMENT)
                self._inside = True
                if len(self._record) + self._left > self._limit:
                    raise RecordError(f"A record is longer than the {self._limit} bytes allowed.")
            piece = data[self._at : self._at + self._left]
            self._at += len(piece)
            self._left -= len(piece)
            self._record += piece
            if self._left:
                return None
            if self._last:
                if not self._record and not self._drained:
                    raise RecordError("A record is empty, which is how a caller ends its connection.")
                record = bytes(self._record)
                self._record = bytearray()
                self._inside = self._drained = False
                return record
