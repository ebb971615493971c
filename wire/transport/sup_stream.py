"""SUP over TCP: servers that have a session for each client, and clients.

Sessions talk over a `MessageStream`, which both sides get.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wire.transport.endpoint import Listening, addresses_of, connect_stream, listen_on, open_socket
from wire.transport.errors import ConnectError
from wire.transport.limits import SupLimits
from wire.transport.message_stream import MessageStream
from wire.transport.tap import Address, Tap

__all__ = ["MessageStream", "Session", "SupListening", "connect_sup", "listen_sup"]

log = Logger()

Session = Callable[[MessageStream], Awaitable[None]]


class SupListening(Listening):
    """An open SUP server: `stop` closes the port, and the connections at once."""

    def __init__(self, address: Address, port: Any, streams: dict[MessageStream, Deferred[None]]) -> None:
        super().__init__(address, port)
        self.streams = streams
        """The sessions under way."""

    async def stop(self) -> None:
        await super().stop()
        sessions = list(self.streams.items())
        for stream, _ in sessions:
            stream.abort()
        for _, over in sessions:
            await over


class _Sessions(Factory):
    noisy = False

    def __init__(
        self, reactor: Any, session: Session, limits: SupLimits, taps: Sequence[Tap], name: str
    ) -> None:
        self.streams: dict[MessageStream, Deferred[None]] = {}
        self._reactor = reactor
        self._session = session
        self._limits = limits
        self._taps = taps
        self._name = name

    def buildProtocol(self, addr: Any) -> MessageStream | None:
        if len(self.streams) >= self._limits.connections:
            log.warn(
                "{name}: too many connections; one from {peer} refused",
                name=self._name,
                peer=Address.of(addr),
            )
            return None
        patience = self._limits.until_refuse
        return MessageStream(self._reactor, self._limits, self._taps, self._name, patience, self._begin)

    def _begin(self, stream: MessageStream) -> None:
        over: Deferred[None] = Deferred()
        self.streams[stream] = over

        def end(outcome: Any) -> None:
            if isinstance(outcome, Failure):
                log.failure(
                    "{name}: the session with {peer} failed", outcome, name=self._name, peer=stream.peer
                )
                stream.abort()
            del self.streams[stream]
            over.callback(None)

        Deferred.fromCoroutine(self._run(stream)).addBoth(end)

    async def _run(self, stream: MessageStream) -> None:
        await self._session(stream)
        await stream.finish()


async def listen_sup(
    reactor: Any,
    host: str,
    port: int,
    session: Session,
    *,
    limits: SupLimits | None = None,
    taps: Sequence[Tap] = (),
    name: str = "supfilesrv",
    reuse_port: bool = False,
) -> SupListening:
    """Serve *session* to every client, from its probe on; a port of 0 is any free one. The connection is closed
    after it.

    reuse_port: several processes share the port. Raises ListenError.
    """
    listening = open_socket("tcp", host, port, reuse_port)
    address = Address.of(listening.getsockname())
    factory = _Sessions(reactor, session, limits or SupLimits(), taps, name)
    return SupListening(address, await listen_on(reactor, listening, cast("Any", factory)), factory.streams)


# --- clients --------------------------------------------------------------------------------------------------------


async def connect_sup(
    reactor: Any,
    address: Address,
    *,
    timeout: float = 30.0,
    limits: SupLimits | None = None,
    taps: Sequence[Tap] = (),
    name: str = "sup",
) -> MessageStream:
    """Connect to the server at *address*, whose host may be a name: each of its addresses is tried, *timeout* seconds
    at most.

    Raises ConnectError, for the last of them.
    """
    limits = limits or SupLimits()
    failure: ConnectError | None = None
    for host in await addresses_of(address.host):
        stream = MessageStream(reactor, limits, taps, name, limits.afterwards, None)
        try:
            await connect_stream(reactor, Address(host, address.port), stream, timeout)
        except ConnectError as error:
            failure = error
        else:
            return stream
    assert failure is not None
    raise failure
