"""A server that says what a test wrote down, whatever the client says; no network, no waiting."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, TypeVar

from sup.channel import ConnectionClosed, PeerGoaway, UnexpectedMessage
from wire.formats.sup import (
    CryptOk,
    Deny,
    Goaway,
    List,
    ListEntry,
    LogAck,
    LoginCode,
    Recv,
    SetupAck,
    SetupCode,
    SignonAck,
    SupParams,
)
from wire.transport.tap import Address

T = TypeVar("T")

Script = Iterable[Any]
"""Messages, each file's data (bytes, or a list of pieces) behind its RECV, and exceptions to be raised."""


def opening(version: int = 8) -> list[Any]:
    """What a server says until it has let the client in."""
    return [
        SignonAck(version, 13, b"4.3 BSD", 4711),
        SetupAck(SetupCode.OK),
        CryptOk(),
        LogAck(LoginCode.OK, None),
    ]


def listing(*entries: ListEntry, scantime: int = 2_000_000_000) -> List:
    """A LIST."""
    return List(tuple(entries), scantime)


def session(
    entries: Iterable[ListEntry], transfer: Script, version: int = 8, denied: tuple[bytes, ...] = ()
) -> list[Any]:
    """A whole session in which all goes well; `transfer` are the RECVs and their data, without the last."""
    return [*opening(version), listing(*entries), Deny(denied), *transfer, Recv()]


class ScriptedServer:
    """The client's end of a conversation with such a server. When the script ends, so does the connection."""

    def __init__(self, script: Script) -> None:
        self.peer = Address("scripted", 871)
        self.local = Address("test", 0)
        self.params = SupParams()
        self.idle_timeout = 0.0
        self.sent: list[Any] = []
        self.writes: list[int] = []
        self.unread = list(script)
        self.finished = False
        self.aborted = False

    def _next(self) -> Any:
        if not self.unread:
            raise ConnectionClosed("The other side closed the connection.")
        item = self.unread.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    async def receive(self, *types: type[T]) -> T:
        message = self._next()
        if isinstance(message, Goaway):
            raise PeerGoaway(message.reason)
        if not isinstance(message, types):
            raise UnexpectedMessage(f"{type(message).__name__} came out of turn.")
        return message

    async def receive_file(self, size: int, write: Callable[[bytes], None]) -> None:
        data = self._next()
        for piece in [data] if isinstance(data, bytes) else data:
            if isinstance(piece, Exception):
                raise piece
            write(piece)

    def send(self, *messages: Any) -> None:
        if self.finished or self.aborted:
            raise AssertionError("sent after the end")
        self.sent += messages
        self.writes.append(len(messages))

    def send_probe(self) -> None:
        self.sent.append("probe")

    async def drain(self) -> None:
        """Nothing is ever held back."""

    async def finish(self) -> None:
        self.finished = True

    def abort(self) -> None:
        self.aborted = True

    async def receive_probe(self) -> None:
        raise AssertionError("a client receives no probe")

    async def send_file(self, recv: Recv, chunks: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        raise AssertionError("a client sends no files")

    def kinds(self) -> list[str]:
        """The types of what was sent, equal ones in a row counted once."""
        names = [message if isinstance(message, str) else type(message).__name__ for message in self.sent]
        return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]

    def only(self, kind: type[T]) -> T:
        """The one message of a type that was sent."""
        (found,) = (message for message in self.sent if isinstance(message, kind))
        return found
