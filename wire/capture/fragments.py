"""IP datagrams put together from their fragments (RFC 791 3.2, RFC 8200 4.5), in bounded memory."""

from __future__ import annotations

import attrs

MAX_PENDING = 256
"""Datagrams waiting for their missing fragments at once."""
SECONDS = 30.0
"""Capture time after which an incomplete datagram is given up (RFC 791 suggests 15 s, RFC 8200 60 s)."""
MAX_DATAGRAM = 65_535
"""Longest datagram, in bytes."""

Key = tuple[bytes, bytes, int, int]
"""What fragments of one datagram share: source, destination, identification, protocol."""


@attrs.define
class _Pending:
    """The fragments seen of one datagram: bytes by offset, and the total once the last one is known."""

    frame: int
    time: float
    parts: dict[int, bytes] = attrs.field(factory=dict)
    held: int = 0
    total: int = -1

    def whole(self) -> bytes | None:
        """The datagram, when no part is missing; an overlap keeps what came first."""
        if self.total < 0 or self.held < self.total:
            return None
        data = bytearray()
        for offset in sorted(self.parts):
            if offset > len(data):
                return None
            data += self.parts[offset][len(data) - offset :]
        return bytes(data[: self.total]) if len(data) >= self.total else None


class Fragments:
    """Datagrams of which fragments are still missing. `given_up` collects (packet, time) of where those began that
    will not be whole any more; the caller empties it."""

    def __init__(self) -> None:
        self.given_up: list[tuple[int, float]] = []
        self._pending: dict[Key, _Pending] = {}

    def add(self, key: Key, part: bytes, offset: int, more: bool, frame: int, time: float) -> bytes | None:
        """Takes one fragment, of packet *frame*; the whole datagram, if it was the last one missing."""
        self._expire(time)
        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = _Pending(frame, time)
        if offset not in pending.parts and pending.held <= 2 * MAX_DATAGRAM:
            pending.parts[offset] = part
            pending.held += len(part)
        if not more:
            pending.total = offset + len(part)
        data = pending.whole()
        if data is not None:
            del self._pending[key]
        return data

    def finish(self) -> None:
        """Gives up everything that waits: the capture ends."""
        self.given_up += [(pending.frame, pending.time) for pending in self._pending.values()]
        self._pending.clear()

    def _expire(self, now: float) -> None:
        while self._pending:
            key, oldest = next(iter(self._pending.items()))
            if len(self._pending) < MAX_PENDING and now - oldest.time < SECONDS:
                return
            del self._pending[key]
            self.given_up.append((oldest.frame, oldest.time))
