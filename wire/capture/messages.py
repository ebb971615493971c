"""What a capture says, message by message: the values that the text, JSON, page, filters and statistics are
made from.

A `Conversation` is a TCP connection, or what two UDP ports say to each other. Its `Message`s are RPC calls
and replies, SUP messages, and notices where the capture has nothing to read. Every message keeps its bytes,
so that it can be explained later, and only if somebody asks (`wire.capture.explanation`).
"""

from __future__ import annotations

from typing import Any

import attrs

from wire.formats import rpc
from wire.formats.errors import FormatError
from wire.formats.record import WireType
from wire.formats.rpc import Procedure, Program
from wire.formats.sup import SupParams

# Defined, not frozen: one is made per message of a capture, and a frozen attrs instance costs three times as
# much.


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

    def __attrs_post_init__(self) -> None:
        self.client_text = address_text(*self.client)
        self.server_text = address_text(*self.server)


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


@attrs.define(eq=False)
class CallRecord:
    """What is remembered of a call, so that its reply can be understood."""

    number: int
    time: float
    frame: int
    digest: int
    program: Program | None
    procedure: Procedure | None
    call: rpc.Call
    inner: Procedure | None = None
    """The procedure that CALLIT passes its arguments on to."""
    replies: int = 0


@attrs.define(eq=False)
class RpcMessage(Message):
    """A call or a reply of ONC RPC.

    marks: (place in raw, length) of every record fragment; empty over UDP.
    header: the RPC header; None if it is damaged.  start: where arguments or results begin in the record.
    record: the message without record marks.  body: arguments or result.
    call: for a reply, what its call asked; None if the call is not in the capture.
    """

    record: bytes = b""
    marks: tuple[tuple[int, int], ...] = ()
    header: rpc.Message | None = None
    start: int = 0
    program: Program | None = None
    procedure: Procedure | None = None
    body: Any = None
    call: CallRecord | None = None
    again: int = 0
    """For a call that was sent before: the number it had then."""

    @property
    def kind(self) -> str:
        return "damaged" if self.header is None else "call" if type(self.header.body) is rpc.Call else "reply"

    @property
    def protocol(self) -> str:
        return self.program.name if self.program is not None else "rpc"

    @property
    def name(self) -> str:
        if self.procedure is not None:
            return self.procedure.name
        if self.header is None:
            return "?"
        call = (
            self.header.body if type(self.header.body) is rpc.Call else self.call.call if self.call else None
        )
        if call is None:
            return "?"
        return f"{call.program}.{call.version}.{call.procedure}"

    @property
    def status(self) -> str:
        """How a reply ended: the status that came with the result, or the one of RPC itself; empty for a
        call.
        """
        if self.header is None or isinstance(self.header.body, rpc.Call):
            return ""
        reply = self.header.body.body
        if isinstance(reply, rpc.Rejected):
            return _name(reply.body if reply.status == rpc.RejectStatus.AUTH_ERROR else reply.status)
        if reply.status != rpc.AcceptStatus.SUCCESS:
            return _name(reply.status)
        body = self.body
        status = getattr(body, "status", None)
        if status is not None:
            return _name(status)
        return _name(body) if hasattr(body, "name") and isinstance(body, int) else "SUCCESS"

    @property
    def failed(self) -> bool:
        return self.status not in ("", "SUCCESS", "NI_OK")

    @property
    def value(self) -> Any:
        return self.body

    @property
    def format(self) -> WireType | None:
        if self.procedure is None or self.header is None:
            return None
        return self.procedure.argument if type(self.header.body) is rpc.Call else self.procedure.result


def _name(status: Any) -> str:
    return str(getattr(status, "name", status))


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
