"""Calls to services without a network, and a network without sockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from netinfo.client.network import Answer, Link, Target
from wire.formats.rpc import AUTH_NONE, Auth, Procedure, Program
from wire.transport.errors import ConnectError
from wire.transport.rpc_server import IncomingCall
from wire.transport.tap import Address, Transport

LOCAL = Address("127.0.0.1", 111)
ROOT_HERE = Address("127.0.0.1", 1000)
"""A reserved port of this host."""
USER_HERE = Address("127.0.0.1", 5000)
STRANGER = Address("192.0.2.9", 1000)


def incoming(
    program: Program,
    name: str,
    argument: Any = None,
    peer: Address = USER_HERE,
    transport: Transport = "tcp",
    credential: Auth = AUTH_NONE,
) -> IncomingCall:
    """A call as a service gets it."""
    return IncomingCall(program.by_name[name], argument, credential, peer, LOCAL, transport)


Handler = Callable[[Address, Program, Procedure, Any], Any]


@attrs.define(slots=False)
class FakeNetwork:
    """`Network` whose servers are one function: `answer(address, program, procedure, argument)`; it may
    raise."""

    answer: Handler
    multicalls: list[tuple[tuple[Target, ...], tuple[float, ...]]] = attrs.Factory(list)
    multicall_answer: Callable[[Sequence[Target]], Answer | None] = lambda targets: None
    slept: list[float] = attrs.Factory(list)
    opened: list[Address] = attrs.Factory(list)
    links: list[FakeLink] = attrs.Factory(list)
    """The TCP connections that were made."""

    async def connect_tcp(self, host: str, port: int, program: Program, patience: float) -> Link:
        self.opened.append(Address(host, port))
        self.links.append(FakeLink(self, Address(host, port), program))
        return self.links[-1]

    def still_open(self) -> list[Address]:
        """Where connections lead that nobody has closed."""
        return [link.address for link in self.links if not link.closed]

    async def connect_udp(self, host: str, port: int, program: Program) -> Link:
        return FakeLink(self, Address(host, port), program)

    async def multicall(self, targets: Sequence[Target], waits: Sequence[float]) -> Answer | None:
        self.multicalls.append((tuple(targets), tuple(waits)))
        return self.multicall_answer(targets)

    async def resolve(self, host: str) -> str:
        if host.startswith("unknown"):
            raise ConnectError(f"No IPv4 address is known for host {host}.")
        return host

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@attrs.define
class FakeLink:
    """`Link` to it."""

    network: FakeNetwork
    address: Address
    program: Program
    closed: bool = False

    async def call(self, procedure: Procedure, argument: Any, credential: Auth, patience: float) -> Any:
        assert not self.closed
        return self.network.answer(self.address, self.program, procedure, argument)

    def close(self) -> None:
        self.closed = True
