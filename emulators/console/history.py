"""The latest messages of a lab, in bounded memory, and those who want to hear of the next ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from wire.capture.messages import Message
from wire.capture.text import detail, remarks
from wire.capture.values import as_dict

MESSAGES = 1000
"""Messages remembered."""
MEMORY = 16 * 1024 * 1024
"""Bytes of messages remembered."""
EXPLAINED = 64 * 1024
"""Bytes of the longest message that is kept to be explained; of a longer one the line alone is remembered."""
TEXT = 300
"""Characters of a message's arguments or results in its line."""


@attrs.frozen
class Line:
    """A message as a list shows it; the fields are what the page's script reads."""

    number: int
    time: float
    service: str
    client: str
    transport: str
    kind: str
    """`call`, `reply`, `message` from either side of SUP, `notice`, or `damaged`."""
    from_client: bool
    name: str
    status: str
    detail: str
    remarks: str
    latency: float | None
    """Seconds since the message that it answers."""
    size: int
    failed: bool

    @classmethod
    def of(cls, message: Message) -> Line:
        """The line of a message."""
        conversation = message.conversation
        said = detail(message)
        return cls(
            message.number, message.time, conversation.service, conversation.client_text, conversation.transport,
            message.kind, message.from_client, message.name, message.status,
            said if len(said) <= TEXT else said[: TEXT - 1] + "…", remarks(message),
            message.latency, message.size, message.failed,
        )  # fmt: skip


class History:
    """Listens to a `Watcher`. `listeners` hear of each new line; while nobody listens, no line is made."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Line], None]] = []
        self._kept: deque[Message | Line] = deque()  # of a message too long to keep, its line
        self._size = 0

    def __call__(self, message: Message) -> None:
        if len(message.raw) <= EXPLAINED:
            self._kept.append(message)
            self._size += len(message.raw)
        else:
            self._kept.append(Line.of(message))
        while len(self._kept) > MESSAGES or self._size > MEMORY:
            gone = self._kept.popleft()
            self._size -= len(gone.raw) if isinstance(gone, Message) else 0
        if self.listeners:
            line = Line.of(message)
            for listener in tuple(self.listeners):
                listener(line)

    def after(self, number: int) -> Iterator[Line]:
        """The lines remembered whose number is higher, oldest first."""
        return (_line(kept) for kept in self._kept if kept.number > number)

    def find(self, number: int) -> tuple[Line, dict[str, Any] | None] | None:
        """A message's line and, unless it was too long, all that `as_dict` tells of it; None if it is forgotten."""
        if not self._kept:
            return None
        place = number - self._kept[0].number  # numbers follow each other
        if not 0 <= place < len(self._kept):
            return None
        kept = self._kept[place]
        return _line(kept), as_dict(kept, explain=True) if isinstance(kept, Message) else None


def _line(kept: Message | Line) -> Line:
    return kept if isinstance(kept, Line) else Line.of(kept)
