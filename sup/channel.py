"""What a SUP session needs of the connection it is held over; `wire.transport.sup_stream` has it over TCP."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, Protocol, TypeVar

from wire.formats.sup import Recv, SupParams
from wire.transport.errors import ConnectionClosed, IdleTimeout, PeerGoaway, UnexpectedMessage
from wire.transport.tap import Address

__all__ = ["Channel", "ConnectionClosed", "IdleTimeout", "PeerGoaway", "UnexpectedMessage"]

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
