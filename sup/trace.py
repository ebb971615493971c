"""`sup -N`: what travels over a channel, in the words of the original's network trace (SUP 7.2).

One or two levels show the messages, three their values, four the lengths of strings that come in too. What
LOGIN carries is never shown.
"""

from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from typing import Any, TypeVar

from sup.channel import Channel, ChannelAround
from sup.report import Write, printable
from wire.codec import codec
from wire.explain import Node, explain
from wire.formats.sup import Login, Recv, type_of

T = TypeVar("T")

VALUES, LENGTHS = 3, 4
_SECRET = b"(not shown)"


class TracingChannel(ChannelAround):
    """A channel like `channel` that also tells `write` about every message."""

    def __init__(self, channel: Channel, level: int, write: Write) -> None:
        super().__init__(channel)
        self._level = level
        self._write = write

    async def receive(self, *types: type[T]) -> T:
        """The next message, told."""
        message = await self._channel.receive(*types)
        self._tell("Reading", message)
        return message

    def send(self, *messages: Any) -> None:
        """Sends messages, told."""
        for message in messages:
            self._tell("Writing", message)
        self._channel.send(*messages)

    async def receive_file(self, size: int, write: Callable[[bytes], None]) -> None:
        """The data of a file; only its size is told."""
        if self._level >= VALUES:
            self._write(f"SCM Reading file of {size} bytes")
        await self._channel.receive_file(size, write)

    async def send_file(self, recv: Recv, chunks: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        self._tell("Writing", recv)
        await self._channel.send_file(recv, chunks)

    def _tell(self, verb: str, message: Any) -> None:
        kind = type(message)
        self._write(f"SCM {verb} message {int(type_of(kind))}")
        if self._level < VALUES:
            return
        if isinstance(message, Login):
            message = Login(
                *(value and _SECRET for value in (message.logcrypt, message.user, message.password))
            )
        data = codec(kind, self.params).build(message)
        for value in _blocks(explain(kind, data, self.params)):
            if isinstance(value, int):
                self._write(f"SCM {verb} integer {value}")
                continue
            if value is not None and verb == "Reading" and self._level >= LENGTHS:
                self._write(f"SCM {verb} string count {len(value)}")
            self._write(f"SCM {verb} string {'NULL' if value is None else printable(value)}")


def _blocks(message: Node) -> Iterator[int | bytes | None]:
    """The integers and strings of a message in their order; None for a NULL string (SUP 1.3)."""
    for leaf in message.leaves():
        match leaf.name, leaf.value:
            case "number", value:
                yield int(value)
            case "bytes", value if value:
                yield value
            case "count", 0:
                yield b""
            case (("count" | "end of list"), -2):
                yield None
