"""A SUP client that does what it is told, byte by byte if need be, over a blocking socket."""

import contextlib
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from wire.codec import FormatError, codec
from wire.formats.errors import Damage
from wire.formats.sup import (
    MESSAGES,
    PROBE_LITTLE,
    TEST_STRING,
    Compress,
    Crypt,
    CryptOk,
    Deny,
    List,
    LogAck,
    Login,
    Need,
    NeedEntry,
    Refuse,
    Setup,
    SetupAck,
    Signon,
    SignonAck,
    SupParams,
)

T = TypeVar("T")
PARAMS = SupParams()


class RawClient:
    """One connection. Reading waits ten seconds at most; EOFError when the server has closed."""

    def __init__(self, host: str, port: int = 1127, timeout: float = 10.0) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, *messages: Any) -> None:
        self.write(b"".join(codec(type(message), PARAMS).build(message) for message in messages))

    def read(self, size: int) -> bytes:
        pieces, held = [self.received], len(self.received)
        while held < size:
            pieces.append(self.socket.recv(1 << 20))
            held += len(pieces[-1])
            if not pieces[-1]:
                raise EOFError
        data = b"".join(pieces)
        self.received = data[size:]
        return data[:size]

    def receive(self, kind: type[T] | None = None) -> T:
        """The next message, which must be a `kind` if one is named; of a RECV, what stands before the data."""
        while True:
            try:
                (number,) = struct.unpack_from("<i", self.received)
                found: Any = MESSAGES[number]
                message, end = codec(found, PARAMS).parse(self.received)
            except (struct.error, FormatError) as error:
                if isinstance(error, FormatError) and error.kind is not Damage.TRUNCATED:
                    raise
                data = self.socket.recv(65536)
                if not data:
                    raise EOFError from None
                self.received += data
                continue
            self.received = self.received[end:]
            assert kind is None or isinstance(message, kind), message
            return cast(T, message)

    def ended(self) -> bytes:
        """Whatever else the server says until it closes."""
        pieces = [self.received]
        self.received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(1 << 20):
                pieces.append(data)
        return b"".join(pieces)

    # --- the ordinary conversation ------------------------------------------------------------------------------

    def signon(self, version: int = 8) -> None:
        self.write(PROBE_LITTLE)
        self.send(Signon(version, 26, b"4.3 BSD"))
        self.receive(SignonAck)

    def setup(self, base: Path | bytes, collection: bytes = b"demo") -> SetupAck:
        hostbase = bytes(base) if isinstance(base, Path) else base
        self.send(Setup(0, None, collection, 0, hostbase, 0, 0, 0, 0, None))
        return self.receive(SetupAck)

    def login(self) -> None:
        self.send(Crypt(TEST_STRING), Login(None, None, None))
        self.receive(CryptOk)
        self.receive(LogAck)

    def list(self, base: Path, *refused: bytes) -> List:
        """Everything up to LIST."""
        self.signon()
        self.setup(base)
        self.login()
        return self.list_after_login(*refused)

    def list_after_login(self, *refused: bytes) -> List:
        self.send(Refuse(refused))
        return self.receive(List)

    def need(self, *names: bytes) -> Deny:
        self.send(Need(tuple(NeedEntry(name, 0) for name in names)))
        denied = self.receive(Deny)
        self.send(Compress(0))
        return denied
