"""What the transport tests talk with: a TCP client that sends and receives bytes as a test says, and helpers."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from wire.transport.endpoint import connect_stream
from wire.transport.tap import Address

HOST = "127.0.0.1"


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds)


async def eventually(condition: Any, seconds: float = 60.0) -> None:
    """Wait until *condition()* is true; fail after *seconds*."""
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await sleep(0.01)
    raise AssertionError(f"not true within {seconds} s")


async def within(event: Deferred[Any], seconds: float = 20.0) -> Any:
    """What a Deferred brings; fail after *seconds*."""
    if not event.called:
        event.addTimeout(seconds, reactor)
    return await event


class Raw(Protocol):
    """The client."""

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.closed: Deferred[None] = Deferred()
        self._wanted = 0
        self._waiting: Deferred[None] | None = None

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    async def take(self, count: int) -> bytes:
        """The next *count* bytes; fewer if the connection ends before."""
        if len(self.received) < count and not self.closed.called:
            self._wanted = count
            self._waiting = Deferred()
            await within(self._waiting)
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._waiting is not None and len(self.received) >= self._wanted:
            self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(None)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def close(self) -> None:
        self.transport.loseConnection()
        await self.ended()

    async def ended(self, seconds: float = 20.0) -> None:
        """Wait until the other side has closed."""
        await within(self.closed, seconds)


async def raw(address: Address) -> Raw:
    client = Raw()
    await connect_stream(reactor, address, client, 5.0)
    return client
