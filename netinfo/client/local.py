"""The client library over a domain in this very process, such as a database opened without a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from netinfo.access import Caller
from netinfo.client.domain import Domain, Options
from netinfo.client.names import DirectServer
from netinfo.client.network import Answer, Link, Target
from netinfo.domain import Domain as Rules
from netinfo.events import Changed
from wire.formats.rpc import Auth, Procedure, Program
from wire.transport.errors import ConnectError

SUPERUSER = Caller("127.0.0.1", own=True, superuser=True)

Keep = Callable[[Sequence[Changed]], None]
"""Makes changes durable; raises where that fails."""


@attrs.frozen
class LocalNetwork:
    """`Network` whose only server is a domain in memory; its caller is the superuser."""

    rules: Rules
    keep: Keep

    async def connect_tcp(self, host: str, port: int, program: Program, patience: float) -> Link:
        return LocalLink(self.rules, self.keep)

    async def connect_udp(self, host: str, port: int, program: Program) -> Link:
        raise ConnectError("A database opened without a server has no parent and no binder.")

    async def multicall(self, targets: Sequence[Target], waits: Sequence[float]) -> Answer | None:
        return None

    async def resolve(self, host: str) -> str:
        return host

    async def sleep(self, seconds: float) -> None:
        """Nobody else changes anything meanwhile."""


@attrs.frozen
class LocalLink:
    """`Link` to it."""

    rules: Rules
    keep: Keep

    async def call(self, procedure: Procedure, argument: Any, credential: Auth, patience: float) -> Any:
        result = self.rules.call(procedure.number, argument, SUPERUSER)
        changes = [event for event in self.rules.take() if isinstance(event, Changed)]
        if changes:
            try:
                self.keep(changes)
            except Exception:
                self.rules.undo(changes)
                raise
        return result

    def close(self) -> None:
        """Nothing is open."""


def open_local(rules: Rules, name: str, keep: Keep) -> Domain:
    """A client's view of a domain in memory; *name* is what errors call it."""
    return Domain(LocalNetwork(rules, keep), [DirectServer(name, 0)], Options())
