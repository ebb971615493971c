"""What a capture says, message by message: the values that the text, JSON, page, filters and statistics are
made from.

A `Conversation` is a TCP connection, or what two UDP ports say to each other. Its `Message`s are RPC calls
and replies, SUP messages, and notices where the capture has nothing to read. Every message keeps its bytes,
so that it can be explained later, and only if somebody asks (`wire.capture.explanation`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import attrs

from wire.formats import rpc
from wire.formats.errors import FormatError
from wire.formats.netinfo import Result
from wire.formats.record import WireType
from wire.formats.rpc import Procedure, Program
from wire.formats.sup import SupParams

# Defined, not frozen: one is made per message of a capture, and a frozen attrs instance costs three times as
# much.


Parse = Callable[..., tuple[Any, int]]


def address_text(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@attrs.define(eq=False)
class Conversation:
    """Two ports that talk.

    `client` is who opened the connection or called first; hosts are in their usual notation.
    """

    number: int
    transport: str
    client: tuple[str, int]
    server: tuple[str, int]
    time: float
    service: str = ""
    """The name a Ghostports recorder wrote beside it, such as ``netinfod network``."""
    protocol: str = ""
    client_text: str = attrs.field(init=False)
    server_text: str = attrs.field(init=False)
    ways: tuple[str, str] = attrs.field(init=False)
    """From server to client, and from client to server, for a line of text."""
    columns: tuple[str, str] = attrs.field(init=False)
    """The same behind its number, as wide as the columns of a summary."""

    def __attrs_post_init__(self) -> None:
        client, server = address_text(*self.client), address_text(*self.server)
        self.client_text, self.server_text = client, server
        self.ways = (f"{server} → {client}", f"{client} → {server}")
        self.columns = (f"{self.number:4} {self.ways[0]:41}", f"{self.number:4} {self.ways[1]:41}")


@attrs.define(eq=False)
class Message:
    """One message. `time` (seconds since 1970) and `frame` are those of the packet that completed it.

    raw: its bytes as they were on the wire.  notes: what is remarkable about it, in words.
    damage: where its bytes stop making sense, if they do.
    """

    conversation: Conversation
    number: int
    time: float
    frame: int
    from_client: bool
    raw: bytes
    notes: tuple[str, ...] = ()
    damage: FormatError | None = None
    latency: float | None = None
    """Seconds since the message that this one answers; None if it answers none that is known."""

    @property
    def kind(self) -> str:
        """``call``, ``reply``, ``message``, ``notice``, or ``damaged``."""
        return "message"

    @property
    def protocol(self) -> str:
        """``netinfo``, ``nibind``, ``portmap``, ``rpc`` (another program), ``sup``; empty if not known."""
        return self.conversation.protocol

    @property
    def name(self) -> str:
        """The procedure, or the type of a SUP message."""
        return ""

    @property
    def status(self) -> str:
        """How an answer ended; empty for everything that is no answer."""
        return ""

    @property
    def source(self) -> str:
        return self.conversation.client_text if self.from_client else self.conversation.server_text

    @property
    def destination(self) -> str:
        return self.conversation.server_text if self.from_client else self.conversation.client_text

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return len(self.raw)

    @property
    def failed(self) -> bool:
        """Whether it reports that something did not work."""
        return False

    @property
    def value(self) -> Any:
        """The arguments, the result, or the SUP message; None if there are none or they are damaged."""
        return None

    @property
    def format(self) -> WireType | None:
        """The wire type of `value`."""
        return None


@attrs.define(eq=False)
class Notice(Message):
    """Something of a conversation that is not in the capture, or cannot be read; `text` says what."""

    text: str = ""

    @property
    def kind(self) -> str:
        return "notice"


@attrs.frozen(eq=False)
class Head:
    """What the header of an RPC message says, apart from its xid; many messages share one.

    size: bytes of the header, the xid included.  kind: ``call`` or ``reply``.  status: of a reply, what RPC
    itself says of the call.  program, procedure: of a call, if they are explained here; protocol and name are
    theirs, or made of their numbers.  argument, result: parsers.
    """

    body: rpc.Call | rpc.Reply
    size: int
    kind: str
    status: str = ""
    protocol: str = ""
    name: str = "?"
    program: Program | None = None
    procedure: Procedure | None = None
    argument: Parse | None = None
    result: Parse | None = None

    def format(self, kind: str) -> WireType | None:
        """The wire type of this call's arguments, or of the results in a ``reply`` to it; None if not known."""
        if self.procedure is None:
            return None
        return self.procedure.argument if kind == "call" else self.procedure.result


@attrs.define(eq=False)
class CallRecord:
    """What is remembered of a call, so that its reply can be understood."""

    number: int
    time: float
    frame: int
    digest: int
    head: Head
    inner: Procedure | None = None
    """The procedure that CALLIT passes its arguments on to."""
    replies: int = 0


@attrs.define(eq=False)
class RpcMessage(Message):
    """A call or a reply of ONC RPC.

    record: the message without record marks.  marks: (place in raw, length) of every record fragment; empty
    over UDP. head: what its header says; None if that is damaged.  asked: the head of the call, be it this or
    the one it answers; None if that is not in the capture.  body: arguments or result.  call: for a reply,
    its call.
    """

    record: bytes = b""
    marks: tuple[tuple[int, int], ...] = ()
    xid: int | None = None
    head: Head | None = None
    asked: Head | None = None
    body: Any = None
    call: CallRecord | None = None
    again: int = 0
    """For a call that was sent before: the number it had then."""

    @property
    def header(self) -> rpc.Message | None:
        """The header as a value; None if it is damaged."""
        if self.head is None or self.xid is None:
            return None
        kind = rpc.MsgType.CALL if self.head.kind == "call" else rpc.MsgType.REPLY
        return rpc.Message(self.xid, kind, self.head.body)

    @property
    def start(self) -> int:
        """Where arguments or results begin in the record."""
        return self.head.size if self.head is not None else 0

    @property
    def program(self) -> Program | None:
        return self.asked.program if self.asked is not None else None

    @property
    def procedure(self) -> Procedure | None:
        return self.asked.procedure if self.asked is not None else None

    @property
    def kind(self) -> str:
        return self.head.kind if self.head is not None else "damaged"

    @property
    def protocol(self) -> str:
        return self.asked.protocol if self.asked is not None else self.conversation.protocol

    @property
    def name(self) -> str:
        return self.asked.name if self.asked is not None else "?"

    @property
    def status(self) -> str:
        """How a reply ended: the status that came with the result, or the one of RPC itself; empty for a
        call.
        """
        if self.head is None:
            return ""
        said, body = self.head.status, self.body
        if said != "SUCCESS" or body is None:
            return said
        status = body.status if isinstance(body, Result) else body if isinstance(body, IntEnum) else None
        return said if status is None else _name(status)

    @property
    def failed(self) -> bool:
        return self.status not in ("", "SUCCESS", "NI_OK")

    @property
    def value(self) -> Any:
        return self.body

    @property
    def format(self) -> WireType | None:
        return None if self.asked is None else self.asked.format(self.kind)


def _name(status: Any) -> str:
    """The name of a status; `_name_` is what `name` looks up, at a tenth of its cost."""
    return getattr(status, "_name_", None) or str(status)


@attrs.define(eq=False)
class SupMessage(Message):
    """A message of SUP.

    params: what the session had agreed on when it was sent.  data_size: bytes of file data in it, None if it
    has none; of which `raw` holds the first `data_kept`, at `data_start`.  unpacked: their number after gzip,
    None without.
    """

    content: Any = None
    content_format: WireType | None = None
    type: str = ""
    params: SupParams = attrs.field(factory=SupParams)
    data_size: int | None = None
    data_start: int = 0
    data_kept: int = 0
    unpacked: int | None = None

    @property
    def name(self) -> str:
        return self.type

    @property
    def size(self) -> int:
        return len(self.raw) + (self.data_size or 0) - self.data_kept

    @property
    def status(self) -> str:
        """The code of an answer that has one."""
        code = getattr(self.content, "code", None)
        return "" if code is None else _name(code)

    @property
    def failed(self) -> bool:
        if self.type == "GOAWAY":
            return getattr(self.content, "reason", None) is not None
        return self.status not in ("", "OK", "SUCCESS", "DONTLOG") or getattr(self.content, "mode", None) == 0

    @property
    def value(self) -> Any:
        return self.content

    @property
    def format(self) -> WireType | None:
        return self.content_format
