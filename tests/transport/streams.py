"""Two ends of a SUP stream for the tests: streams of ours, or a client that sends bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.transport.raw import HOST, Raw, eventually, raw
from wire.codec import codec
from wire.formats.sup import (
    Recv,
    Send,
    Signon,
    SupParams,
)
from wire.transport.limits import SupLimits
from wire.transport.sup_stream import MessageStream, SupListening, connect_sup, listen_sup

SIGNON = Signon(8, 26, b"4.3 BSD")


def recv(size: int, name: bytes = b"file") -> Recv:
    return Recv(name, 0o100644, 1, b"root", b"wheel", 5, (), (), size)


def built(*messages: Any, params: SupParams | None = None) -> bytes:
    return b"".join(codec(type(one), params or SupParams()).build(one) for one in messages)


END = built(Send())[-4:]


@asynccontextmanager
async def serving(
    session: Callable[[MessageStream], Awaitable[None]], taps: Any = (), **limits: Any
) -> AsyncIterator[SupListening]:
    listening = await listen_sup(reactor, HOST, 0, session, limits=SupLimits(**limits), taps=taps)
    try:
        yield listening
    finally:
        await listening.stop()
        assert not listening.streams


class Server:
    """A session that hands its stream to the test and waits until the test lets it go."""

    def __init__(self) -> None:
        self.streams: list[MessageStream] = []
        self._done: Deferred[None] = Deferred()

    async def __call__(self, stream: MessageStream) -> None:
        self.streams.append(stream)
        await self._done

    def end(self) -> None:
        if not self._done.called:
            self._done.callback(None)


@asynccontextmanager
async def pair(**limits: Any) -> AsyncIterator[tuple[MessageStream, MessageStream]]:
    """A client's stream and the server's."""
    session = Server()
    async with serving(session, **limits) as listening:
        client = await connect_sup(reactor, listening.address, limits=SupLimits(**limits))
        await eventually(lambda: session.streams)
        try:
            yield client, session.streams[0]
        finally:
            client.abort()
            session.end()
            await client.closed


@asynccontextmanager
async def bare(**limits: Any) -> AsyncIterator[tuple[Raw, MessageStream]]:
    """A client that sends bytes, and the server's stream."""
    session = Server()
    async with serving(session, **limits) as listening:
        client = await raw(listening.address)
        await eventually(lambda: session.streams)
        try:
            yield client, session.streams[0]
        finally:
            client.transport.abortConnection()
            session.end()
            await client.ended()


async def failure(waiting: Awaitable[Any]) -> Exception:
    """What it raises."""
    try:
        await waiting
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def started(waiting: Awaitable[Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(waiting)  # type: ignore[arg-type]
