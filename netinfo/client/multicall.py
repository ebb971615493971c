"""One question to many servers at once over UDP, for the first good answer: how parents are found (NETINFO
4.3).

No sockets here: `Multicall` makes the datagrams and understands what comes back. Each target has its own
transaction number, so that an answer to a broadcast still tells which question it answers.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import attrs

from netinfo.client.network import Answer, Target
from wire.codec import codec
from wire.formats.errors import FormatError
from wire.formats.rpc import (
    AUTH_NONE,
    RPC_VERSION,
    Accepted,
    AcceptStatus,
    Call,
    Message,
    MsgType,
    Reply,
)


@attrs.frozen
class Multicall:
    """The calls, and the number of the first; the others follow it, as the original's did."""

    targets: tuple[Target, ...]
    first_xid: int = attrs.Factory(lambda: secrets.randbits(31))

    def datagrams(self) -> Iterator[tuple[str, int, bytes]]:
        """Host, port and bytes of each call; the same every time, so that repeating them is harmless."""
        for index, target in enumerate(self.targets):
            procedure = target.procedure
            call = Call(
                RPC_VERSION,
                target.program.number,
                target.program.version,
                procedure.number,
                AUTH_NONE,
                AUTH_NONE,
            )
            header = codec(Message).build(Message(self.first_xid + index, MsgType.CALL, call))
            yield target.host, target.port, header + codec(procedure.argument).build(target.argument)

    def answer(self, datagram: bytes, host: str) -> Answer | None:
        """What a datagram from *host* answers; None unless it is a success."""
        try:
            message, end = codec(Message).parse(datagram)
            index = message.xid - self.first_xid
            if not 0 <= index < len(self.targets) or not isinstance(message.body, Reply):
                return None
            accepted = message.body.body
            if not isinstance(accepted, Accepted) or accepted.status is not AcceptStatus.SUCCESS:
                return None
            result, _ = codec(self.targets[index].procedure.result).parse(datagram, end)
        except FormatError:
            return None
        return Answer(index, host, result)
