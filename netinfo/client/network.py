"""What the client library needs of a network, so that the same code runs under Twisted and with plain
blocking sockets.

`Domain` and its helpers are coroutines over this interface. `netinfo.client.blocking` implements it without
an event loop (its coroutines never suspend, so `run` drives them to their end at once),
`netinfo.client.reactor` on Twisted's.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import attrs

from wire.formats.rpc import Auth, Procedure, Program

T = TypeVar("T")


class Link(Protocol):
    """A way to one program on one server: a TCP connection, or a UDP socket."""

    async def call(self, procedure: Procedure, argument: Any, credential: Auth, patience: float) -> Any:
        """Call and wait for the result, at most *patience* seconds. Raises `TransportError`."""

    def close(self) -> None: ...


@attrs.frozen
class Target:
    """One of the servers that `Network.multicall` asks, what it is asked, and which results count as answers."""

    host: str
    port: int
    program: Program
    procedure: Procedure
    argument: Any
    is_good: Callable[[Any], bool] = lambda result: True


@attrs.frozen
class Answer:
    """The first good answer to a multicall: which target it is for, who sent it (with a broadcast, not the
    target's address), and the result."""

    index: int
    host: str
    result: Any


class Network(Protocol):
    """Sockets and time."""

    async def connect_tcp(self, host: str, port: int, program: Program, patience: float) -> Link:
        """A TCP connection, from a reserved port where that is possible (NETINFO 4.5). Raises
        `TransportError`."""

    async def connect_udp(self, host: str, port: int, program: Program) -> Link:
        """A UDP socket that repeats its calls every second until they are answered. Raises
        `TransportError`."""

    async def multicall(self, targets: Sequence[Target], waits: Sequence[float]) -> Answer | None:
        """Call all targets over UDP at once and take the first that succeeds; repeat after each of *waits*
        seconds.

        None after the last of them. Calls that are refused count as silence.
        """

    async def resolve(self, host: str) -> str:
        """A host's IPv4 address. Raises `TransportError`."""

    async def sleep(self, seconds: float) -> None: ...


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine over a blocking network, which never has to wait for anybody."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a coroutine over a blocking network waited for an event loop")
