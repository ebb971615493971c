"""SUP's message stream over TCP, for both roles: messages and the data of files, one after another (SUP 1).

A session awaits one message after another, and sends. Long messages are parsed while they arrive; the data of a file
passes through in chunks, in either direction, and is never held whole. What is sent is gathered and leaves in one
write when the session has to wait for something, or when there is enough of it (SUP 10).
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wire.codec import Codec, codec
from wire.formats.blocks import END, WORD
from wire.formats.errors import Damage, FormatError
from wire.formats.sup import MESSAGES, PROBE_BIG, PROBE_LITTLE, Goaway, MessageType, Recv, SupParams
from wire.transport.errors import (
    ConnectionClosed,
    IdleTimeout,
    PeerGoaway,
    TransportError,
    UnexpectedMessage,
)
from wire.transport.limits import SupLimits
from wire.transport.tap import Address, Tap, Tapped

log = Logger()

T = TypeVar("T")

WRITE = 64 * 1024
"""Bytes gathered before they are written."""
READ_AHEAD = 256 * 1024
"""Bytes taken from the network that no session waits for yet; then reading stops."""
READ = 256 * 1024
"""Bytes read at a time, where the transport can be told."""
WORD_SIZE = 4
QUICKACK = getattr(socket, "TCP_QUICKACK", None)
"""Where the system has it: acknowledge at once what has been read. The original programs write in small pieces, and
Nagle's algorithm holds the next back until the one before is acknowledged, 40 ms later otherwise (SUP 10.1)."""
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 6}
"""A peer whose machine is gone is noticed after four minutes, however long its silence may last."""


@implementer(IHalfCloseableProtocol)
class MessageStream(Protocol):
    """One session's connection.

    It is used by one coroutine at a time. Messages are those of `wire.formats.sup`; how they lie on the wire depends on
    `params`, which the session brings up to date (`order` is set by the probe).

    Everything that waits raises IdleTimeout when the other side neither sends nor reads for `idle_timeout` seconds, and
    ConnectionClosed when the connection has ended.
    """

    transport: Any
    peer: Address
    local: Address

    def __init__(
        self,
        reactor: Any,
        limits: SupLimits,
        taps: Sequence[Tap],
        service: str,
        idle_timeout: float,
        begin: Callable[[MessageStream], None] | None,
    ) -> None:
        """begin: called when a client has connected; None at the client itself."""
        self._reactor = reactor
        self._limits = limits
        self._taps = taps
        self._service = service
        self._begin = begin
        self._params = SupParams()
        self._codecs: dict[type[Any], Codec[Any]] = {}
        self._data = b""
        self._at = 0
        self._sink: Callable[[bytes], None] | None = None
        self._sink_left = 0
        self._out: list[bytes] = []
        self._out_size = 0
        self._flushing = False
        self._waiting: Deferred[None] | None = None
        self._for_room = False
        self._held_up = False
        self._reading = True
        self._read_end: TransportError | None = None
        self._write_end: TransportError | None = None
        self._discarding = False
        self._idle_timeout = idle_timeout
        self._watch: Any = None
        self._heard = 0.0
        self._all_read: Deferred[None] = Deferred()
        self._all_sent: Deferred[None] = Deferred()
        self.closed: Deferred[None] = Deferred()
        """Fires once the connection has ended, whoever ended it."""

    # --- what both sides agree on ---------------------------------------------------------------------------------

    @property
    def params(self) -> SupParams:
        """Byte order, version and list-only of the session; to be replaced when it learns more."""
        return self._params

    @params.setter
    def params(self, params: SupParams) -> None:
        self._params = params
        self._codecs.clear()

    @property
    def idle_timeout(self) -> float:
        """The longest silence of the other side, in seconds."""
        return self._idle_timeout

    @idle_timeout.setter
    def idle_timeout(self, seconds: float) -> None:
        self._idle_timeout = seconds
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
            self._look()

    def _codec(self, kind: Any) -> Codec[Any]:
        found = self._codecs.get(kind)
        if found is None:
            found = self._codecs[kind] = codec(kind, self._params)
        return found

    # --- receiving --------------------------------------------------------------------------------------------

    async def receive(self, *types: type[T]) -> T:
        """The next message, which must be of one of *types*.

        Raises PeerGoaway where GOAWAY came instead (SUP 2.18), UnexpectedMessage where anything else did, FormatError
        where it is damaged.
        """
        if len(types) == 1 and self._at < len(self._data):  # most often it is the one, and has come whole
            try:
                message, self._at = self._codec(types[0]).parse(self._data, self._at)
                return cast(T, message)
            except FormatError:
                pass
        while len(self._data) < self._at + WORD_SIZE:
            await self._more()
        number, _ = self._codec(WORD).parse(self._data, self._at)
        kind = MESSAGES.get(number)
        if kind not in types and kind is not Goaway:
            came = MessageType(number).name if kind else f"a message of the unknown type {number}"
            due = " or ".join(wanted.__name__.upper() for wanted in types)
            raise UnexpectedMessage(f"{came} came where {due} was expected.")
        message = await self._message(kind)
        if isinstance(message, Goaway):
            raise PeerGoaway(message.reason)
        return cast(T, message)

    async def _message(self, kind: Any) -> Any:
        form = self._codec(kind)
        try:
            message, self._at = form.parse(self._data, self._at)
            return message
        except FormatError as error:
            if error.kind is not Damage.TRUNCATED:
                raise
        stream, size = form.stream(), 0
        while True:
            data, self._data = self._data[self._at :], b""
            self._at = 0
            size += len(data)
            if size > self._limits.message:
                raise FormatError(Damage.LIMIT, "", self._limits.message)
            if stream.feed(data):
                self._data = stream.rest
                return stream.value
            await self._more()

    async def receive_file(self, size: int, write: Callable[[bytes], None]) -> None:
        """Pass the data of a file, *size* bytes, to *write* in pieces as they come, then read the end mark.

        Raises FormatError where the end mark is missing, and whatever *write* raises.
        """
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        if piece:
            write(piece)
        if len(piece) < size:
            self._sink, self._sink_left = write, size - len(piece)
            try:
                while self._sink_left:
                    await self._more()
            finally:
                self._sink = None
        while len(self._data) < self._at + WORD_SIZE:
            await self._more()
        _, self._at = self._codec(END).parse(self._data, self._at)

    async def receive_probe(self) -> None:
        """Read the client's first four bytes and take over its byte order (SUP 1.2).

        Raises IdleTimeout after `SupLimits.probe` seconds, and UnexpectedMessage where they are no probe.
        """
        patience, self.idle_timeout = self.idle_timeout, self._limits.probe
        while len(self._data) < self._at + len(PROBE_LITTLE):
            await self._more()
        probe = self._data[self._at : self._at + len(PROBE_LITTLE)]
        self._at += len(PROBE_LITTLE)
        if probe not in (PROBE_LITTLE, PROBE_BIG):
            raise UnexpectedMessage("What came first is not the probe that SUP clients begin with.")
        self.params = attrs.evolve(self._params, order="<" if probe == PROBE_LITTLE else ">")
        self.idle_timeout = patience

    def dataReceived(self, data: bytes) -> None:
        if self._taps:
            self._tapped.tell("data", self.peer, False, data)
        self._heard = self._reactor.seconds()
        if self._discarding:
            return
        if self._sink is not None:
            taken = data if len(data) <= self._sink_left else data[: self._sink_left]
            try:
                self._sink(taken)
            except Exception:
                self._sink = None
                self._wake(Failure())
                return
            self._sink_left -= len(taken)
            if self._sink_left:
                return
            self._sink = None
            data = data[len(taken) :]
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        if self._waiting is not None and not self._for_room:
            self._wake()
        elif self._reading and len(self._data) > READ_AHEAD:
            self._reading = False
            self.transport.pauseProducing()

    # --- sending ----------------------------------------------------------------------------------------------

    def send(self, *messages: Any) -> None:
        """Send messages; they leave with what is sent next, at the latest when the session waits.

        Raises ConnectionClosed, and FormatError where a message does not fit its format.
        """
        for message in messages:
            self._put(self._codec(type(message)).build(message))

    def send_probe(self) -> None:
        """A client's first four bytes: this one's integers are little-endian (SUP 1.2)."""
        self._put(PROBE_LITTLE if self._params.order == "<" else PROBE_BIG)

    async def send_file(self, recv: Recv, chunks: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        """Send a RECV, the data of its file, whose chunks must make up `recv.size` bytes, and the end mark. The header
        and the first of the data are one write (SUP 10.2).

        Raises ValueError where the chunks are more or fewer bytes; the connection is of no use then, nor after
        whatever *chunks* raises.
        """
        self._put(self._codec(Recv).build(recv))
        left = recv.size or 0
        if isinstance(chunks, AsyncIterable):
            async for chunk in chunks:
                left -= len(chunk)
                await self._put_data(chunk, left)
        else:
            for chunk in chunks:
                left -= len(chunk)
                await self._put_data(chunk, left)
        if left:
            raise ValueError(f"a file of {recv.size} bytes ended {left} bytes too early")
        self._put(self._codec(END).build(None))

    async def _put_data(self, chunk: bytes, left: int) -> None:
        if left < 0:
            raise ValueError(f"a file has {-left} bytes more than were announced")
        self._put(chunk)
        if self._held_up:
            await self._room()

    async def drain(self) -> None:
        """Wait until most of what was sent is on its way."""
        self._flush()
        if self._held_up:
            await self._room()

    def _put(self, data: bytes) -> None:
        if self._write_end is not None:
            raise self._write_end
        self._out.append(data)
        self._out_size += len(data)
        if self._out_size >= WRITE:
            self._flush()
        elif not self._flushing:
            self._flushing = True
            self._reactor.callLater(0, self._flush_later)

    def _flush_later(self) -> None:
        self._flushing = False
        self._flush()

    def _flush(self) -> None:
        if self._out and self._write_end is None:
            out, self._out, self._out_size = self._out, [], 0
            if self._taps:
                self._tapped.tell("data", self.peer, True, b"".join(out))
            if len(out) == 1:
                self.transport.write(out[0])
            else:
                self.transport.writeSequence(out)

    def pauseProducing(self) -> None:
        self._held_up = True

    def resumeProducing(self) -> None:
        self._held_up = False
        self._heard = self._reactor.seconds()
        if self._for_room:
            self._wake()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""

    # --- waiting ------------------------------------------------------------------------------------------------

    async def _more(self) -> None:
        """Wait for bytes."""
        self._flush()
        if not self._reading and len(self._data) - self._at <= READ_AHEAD:
            self._reading = True
            self.transport.resumeProducing()
        if QUICKACK is not None and self._read_end is None and self._write_end is None:
            with suppress(OSError):  # the connection may have been reset meanwhile
                self.transport.getHandle().setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)
        await self._wait(for_room=False)

    async def _room(self) -> None:
        """Wait until the transport takes more."""
        await self._wait(for_room=True)

    async def _wait(self, for_room: bool) -> None:
        over = self._write_end if for_room else self._read_end
        if over is not None:
            raise over
        self._heard = self._reactor.seconds()
        self._for_room = for_room
        self._waiting = Deferred()
        if self._watch is None:
            self._look()
        await self._waiting

    def _wake(self, failure: Failure | None = None) -> None:
        waiting, self._waiting = self._waiting, None
        self._for_room = False
        if waiting is not None and not waiting.called:
            if failure is None:
                waiting.callback(None)
            else:
                waiting.errback(failure)

    def _look(self) -> None:
        """See whether the other side has been silent for too long, and when to look again."""
        self._watch = None
        if self._waiting is None:
            return
        left = self._heard + self._idle_timeout - self._reactor.seconds()
        if left > 0:
            self._watch = self._reactor.callLater(left, self._look)
        else:
            self._wake(Failure(IdleTimeout(self._idle_timeout, str(self.peer))))

    # --- beginning and end ----------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport = self.transport
        self.peer, self.local = Address.of(transport.getPeer()), Address.of(transport.getHost())
        self._tapped = Tapped(self._taps, "tcp", self.local, self._service)
        self._tapped.tell("open", self.peer, self._begin is None)
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        handle = transport.getHandle()
        for name, value in KEEPALIVE.items():
            option = getattr(socket, name, None)
            if option is not None:
                handle.setsockopt(socket.IPPROTO_TCP, option, value)
        transport.bufferSize = READ
        transport.registerProducer(self, True)
        self._heard = self._reactor.seconds()
        if self._begin is not None:
            self._begin(self)

    def readConnectionLost(self) -> None:
        """The other side sends nothing more; it may still read."""
        self._end_reading(ConnectionClosed(f"{self.peer} closed the connection."))

    def writeConnectionLost(self) -> None:
        """All has been sent, and that nothing follows."""
        self._all_sent.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._tapped.tell("close", self.peer, self._write_end is not None)
        lost = ConnectionClosed(f"The connection to {self.peer} was lost.")
        self._write_end = self._write_end or lost  # before anybody is woken, who might write or close
        self._end_reading(lost)
        if self._for_room:
            self._wake(Failure(lost))
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for ended in (self._all_sent, self.closed):
            if not ended.called:
                ended.callback(None)

    def _end_reading(self, error: TransportError) -> None:
        if self._read_end is None:
            self._read_end = error
            if not self._for_room:
                self._wake(Failure(error))
            if not self._all_read.called:
                self._all_read.callback(None)

    async def finish(self) -> None:
        """Close in an orderly way: send what is left, say that nothing follows, and give the other side a moment to
        close too, so that it can read what was sent last (SUP 12.1)."""
        if self._write_end is None:
            self._flush()
            self._write_end = ConnectionClosed("This side has closed the connection.")
            self._discarding = True
            self.transport.unregisterProducer()
            self.transport.resumeProducing()
            self.transport.loseWriteConnection()
            await self._at_most(self._idle_timeout, self._all_sent)
            await self._at_most(self._limits.drain, self._all_read)
            self.transport.loseConnection()
        await self._at_most(self._limits.drain, self.closed)
        if not self.closed.called:
            self.transport.abortConnection()
            await self.closed

    async def _at_most(self, seconds: float, event: Deferred[None]) -> None:
        """Wait for something of this connection, but not for ever."""
        if not event.called:
            patience: Deferred[None] = Deferred()
            timer = self._reactor.callLater(seconds, patience.callback, None)
            event.addCallback(lambda _: None if patience.called else patience.callback(None))
            await patience
            if timer.active():
                timer.cancel()

    def abort(self) -> None:
        """Close at once, whatever has not been sent. Whoever waits gets ConnectionClosed."""
        self._write_end = self._write_end or ConnectionClosed("This side has closed the connection.")
        self.transport.abortConnection()
