"""The world outside the client's rules: connections over Twisted, waiting, threads, and which hosts are this one."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Sequence
from typing import Any, TextIO, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from sup.channel import Channel
from sup.upgrade import Network, Unreachable
from wire.transport.errors import ConnectError
from wire.transport.sup_stream import connect_sup
from wire.transport.tap import Address, Tap

T = TypeVar("T")


@frozen
class Connections:
    """Makes connections to file servers (`sup.upgrade.Connect`)."""

    reactor: Any
    port: int
    taps: Sequence[Tap]
    trace: int
    trace_to: TextIO

    async def __call__(self, host: str, /) -> Channel:
        """A connection to *host*. Raises Unreachable."""
        try:
            stream = await connect_sup(self.reactor, Address(host, self.port), taps=self.taps)
        except ConnectError as error:
            raise Unreachable(str(error)) from error
        if not self.trace:
            return stream
        from sup.trace import TracingChannel

        return TracingChannel(stream, self.trace, lambda line: print(line, file=self.trace_to))


def offload(function: Callable[[], T], /) -> Deferred[T]:
    """Run what blocks in a thread (`sup.execution.Offload`)."""
    return deferToThread(function)


def outside(reactor: Any, connections: Connections) -> Network:
    """What an upgrade needs of the world, over *reactor*."""

    async def sleep(seconds: int) -> None:
        await deferLater(reactor, seconds)

    return Network(connections, sleep, random.randrange, is_this_machine)


def is_this_machine(host: str) -> bool:
    """Whether *host* has this machine's canonical name; `localhost` has not (SUP 7.2, -l)."""
    here = socket.gethostname()
    try:
        names = {
            socket.getaddrinfo(name, None, flags=socket.AI_CANONNAME)[0][3] or name for name in (host, here)
        }
    except OSError:
        return host == here
    return len(names) == 1
