"""A channel that plays one side of a conversation from a script, and records what the other side says."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, TypeVar

from sup.channel import ConnectionClosed, PeerGoaway, UnexpectedMessage
from wire.formats.sup import Goaway, Recv, SupParams
from wire.transport.tap import Address

T = TypeVar("T")


class ScriptedChannel:
    """Gives `script`, message after message; an exception in it is raised, a function is called for its message.

    At the end of the script the connection is closed. What is sent is in `sent`; a file as (RECV, data).
    """

    def __init__(self, *script: Any, host: str = "127.0.0.1") -> None:
        self.peer = Address(host, 40000)
        self.local = Address("127.0.0.1", 871)
        self.params = SupParams()
        self.idle_timeout = 0.0
        self.script = list(script)
        self.sent: list[Any] = []
        self.ending = ""

    async def receive_probe(self) -> None:
        pass

    def send_probe(self) -> None:
        pass

    async def receive(self, *types: type[T]) -> T:
        if not self.script:
            raise ConnectionClosed("the script is over")
        item = self.script.pop(0)
        if callable(item):
            item = item()
        if isinstance(item, Exception):
            raise item
        if isinstance(item, Goaway):
            raise PeerGoaway(item.reason)
        if not isinstance(item, types):
            raise UnexpectedMessage(f"{item} came where {types} was expected")
        return item

    def send(self, *messages: Any) -> None:
        self.sent.extend(messages)

    async def drain(self) -> None:
        pass

    async def receive_file(self, size: int, write: Callable[[bytes], None]) -> None:
        data = self.script.pop(0)
        assert len(data) == size
        write(data)

    async def send_file(self, recv: Recv, chunks: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        data = b""
        if isinstance(chunks, AsyncIterable):
            async for chunk in chunks:
                data += chunk
        else:
            data = b"".join(chunks)
        assert len(data) == recv.size
        self.sent.append((recv, data))

    async def finish(self) -> None:
        self.ending = self.ending or "finished"

    def abort(self) -> None:
        self.ending = "aborted"
