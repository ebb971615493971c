"""One question to many servers at once over UDP, for the first good answer: how parents are found (NETINFO
4.3).

No sockets here: `Multicall` makes the datagrams and understands what comes back. Each target has its own
transaction number, so that an answer to a broadcast still tells which question it answers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs

from netinfo.client.network import Answer, Target
from wire.transport.errors import RpcError
from wire.transport.rpc_message import XID, build_call, read_reply


@attrs.frozen
class Multicall:
    """The calls, and the number of the first; the others follow it, as the original's did."""

    targets: tuple[Target, ...]
    first_xid: int = attrs.Factory(lambda: int.from_bytes(os.urandom(4), "big") >> 1)

    def datagrams(self) -> Iterator[tuple[str, int, bytes]]:
        """Host, port and bytes of each call; the same every time, so that repeating them is harmless."""
        for index, target in enumerate(self.targets):
            call = build_call(self.first_xid + index, target.program, target.procedure, target.argument)
            yield target.host, target.port, call

    def answer(self, datagram: bytes, host: str) -> Answer | None:
        """What a datagram from *host* answers; None unless it is a success, and good."""
        index = int.from_bytes(datagram[:XID], "big") - self.first_xid
        if not 0 <= index < len(self.targets):
            return None
        try:
            result = read_reply(self.targets[index].procedure, datagram)
        except RpcError:
            return None
        return Answer(index, host, result) if self.targets[index].is_good(result) else None
