"""What a SUP session needs of the connection it is held over; `wire.transport.sup_stream` has it over TCP."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, Protocol, TypeVar

from wire.formats.sup import Recv, SupParams
from wire.transport.errors import ConnectionClosed, IdleTimeout, PeerGoaway, UnexpectedMessage
from wire.transport.tap import Address

__all__ = ["Channel", "ChannelAround", "ConnectionClosed", "IdleTimeout", "PeerGoaway", "UnexpectedMessage"]

T = TypeVar("T")


class Channel(Protocol):
    """A conversation of SUP messages with one peer."""

    peer: Address
    local: Address
    params: SupParams
    idle_timeout: float

    async def receive(self, *types: type[T]) -> T: ...

    def send(self, *messages: Any) -> None: ...

    async def drain(self) -> None: ...

    async def receive_file(self, size: int, write: Callable[[bytes], None]) -> None: ...

    async def send_file(self, recv: Recv, chunks: Iterable[bytes] | AsyncIterable[bytes]) -> None: ...

    async def receive_probe(self) -> None: ...

    def send_probe(self) -> None: ...

    async def finish(self) -> None: ...

    def abort(self) -> None: ...


class ChannelAround:
    """A channel that passes everything on to `channel`; its subclasses change what they are about."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.peer = channel.peer
        self.local = channel.local

    @property
    def params(self) -> SupParams:
        """What the session has agreed on."""
        return self._channel.params

    @params.setter
    def params(self, params: SupParams) -> None:
        self._channel.params = params

    @property
    def idle_timeout(self) -> float:
        """The longest silence of the other side, in seconds."""
        return self._channel.idle_timeout

    @idle_timeout.setter
    def idle_timeout(self, seconds: float) -> None:
        self._channel.idle_timeout = seconds

    async def receive(self, *types: type[T]) -> T:
        return await self._channel.receive(*types)

    def send(self, *messages: Any) -> None:
        self._channel.send(*messages)

    async def drain(self) -> None:
        await self._channel.drain()

    async def receive_file(self, size: int, write: Callable[[bytes], None]) -> None:
        await self._channel.receive_file(size, write)

    async def send_file(self, recv: Recv, chunks: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        await self._channel.send_file(recv, chunks)

    async def receive_probe(self) -> None:
        await self._channel.receive_probe()

    def send_probe(self) -> None:
        self._channel.send_probe()

    async def finish(self) -> None:
        await self._channel.finish()

    def abort(self) -> None:
        self._channel.abort()
