"""From a server's name to a connection: portmapper, binder, domain server (NETINFO 4.5, "Connect")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from netinfo.client.errors import CannotConnectError, CommunicationError, NetInfoError
from netinfo.client.names import DirectServer, Portmapper, ServerName, TaggedServer
from netinfo.client.network import Link, Network, Target
from wire.codec import codec
from wire.formats.errors import FormatError
from wire.formats.netinfo import NETINFO, NiStatus
from wire.formats.nibind import NIBIND, AddrInfo
from wire.formats.portmap import IPPROTO_UDP, PORTMAP, CallitArgs, CallitResult, Mapping
from wire.formats.rpc import AUTH_NONE, Auth
from wire.transport.errors import TransportError

GETREGISTERED = codec(NIBIND.by_name["GETREGISTER"].result)
ALIVE_WAITS = (0.5, 1.0)
"""Seconds after each time that several binders are asked which of them answers."""
UDP_PATIENCE = 5.0
"""Seconds for the portmapper and the binder to answer: five calls, one a second."""


async def find_binder(network: Network, portmapper: Portmapper, protocol: int = IPPROTO_UDP) -> int:
    """The binder's port, by the portmapper of its host. Raises `TransportError`, `CannotConnectError` if
    there is none."""
    link = await network.connect_udp(await network.resolve(portmapper.host), portmapper.port, PORTMAP)
    try:
        question = Mapping(NIBIND.number, NIBIND.version, protocol, 0)
        port = await link.call(PORTMAP.by_name["GETPORT"], question, AUTH_NONE, UDP_PATIENCE)
    finally:
        link.close()
    if not port:
        raise CannotConnectError(
            portmapper.host, "its portmapper knows no NetInfo binder (program 200100001)."
        )
    return int(port)


async def find_ports(network: Network, server: TaggedServer) -> AddrInfo:
    """Where the server of a tag listens. Raises `TransportError`, and `NetInfoError` for NI_NOTAG and the
    like."""
    binder = await find_binder(network, server.portmapper)
    link = await network.connect_udp(await network.resolve(server.portmapper.host), binder, NIBIND)
    try:
        result = await link.call(NIBIND.by_name["GETREGISTER"], server.tag, AUTH_NONE, UDP_PATIENCE)
    finally:
        link.close()
    if result.status != NiStatus.NI_OK:
        raise NetInfoError(result.status, str(server))
    ports: AddrInfo = result.body
    return ports


def through_portmapper(
    host: str, port: int, name: str, argument: Any, is_good: Callable[[Any], bool] = lambda result: True
) -> Target:
    """A call of a host's binder that its portmapper passes on (CALLIT; NETINFO 4.4)."""
    procedure = NIBIND.by_name[name]
    passed_on = codec(procedure.argument).build(argument)
    callit = CallitArgs(NIBIND.number, NIBIND.version, procedure.number, passed_on)
    return Target(host, port, PORTMAP, PORTMAP.by_name["CALLIT"], callit, is_good)


def _is_registered(passed_on: CallitResult) -> bool:
    """Whether the result of a GETREGISTER that came through a portmapper is NI_OK."""
    try:
        return bool(GETREGISTERED.parse(passed_on.results)[0].status == NiStatus.NI_OK)
    except FormatError:
        return False


async def first_alive(network: Network, servers: Sequence[ServerName]) -> ServerName | None:
    """Which of several servers is the first whose binder says that it runs, all being asked at once (NETINFO 4.5).

    None if there is nothing to choose, or nobody answers: many portmappers of today pass no calls on.
    """
    asked, targets = [], []
    for server in servers if len(servers) > 1 else ():
        if isinstance(server, TaggedServer):
            try:
                host = await network.resolve(server.portmapper.host)
            except TransportError:
                continue
            port = server.portmapper.port
            targets.append(through_portmapper(host, port, "GETREGISTER", server.tag, _is_registered))
            asked.append(server)
    answer = await network.multicall(targets, ALIVE_WAITS) if targets else None
    return asked[answer.index] if answer else None


async def connect(network: Network, server: ServerName, patience: float) -> Link:
    """A TCP connection to a domain server. Raises `TransportError` and `NetInfoError`."""
    if isinstance(server, DirectServer):
        host, port = server.host, server.port
    else:
        host, port = server.portmapper.host, (await find_ports(network, server)).tcp_port
    return await network.connect_tcp(await network.resolve(host), port, NETINFO, patience)


async def connect_binder(network: Network, portmapper: Portmapper, protocol: int, patience: float) -> Link:
    """A way to a host's binder; *protocol* is IPPROTO_TCP or IPPROTO_UDP. Raises `TransportError`,
    `CannotConnectError`."""
    port = await find_binder(network, portmapper, protocol)
    host = await network.resolve(portmapper.host)
    if protocol == IPPROTO_UDP:
        return await network.connect_udp(host, port, NIBIND)
    return await network.connect_tcp(host, port, NIBIND, patience)


async def call_binder(
    link: Link, name: str, argument: Any, patience: float = UDP_PATIENCE, identity: Auth = AUTH_NONE
) -> Any:
    """Call a procedure of the binder. Raises `TransportError`, and `CommunicationError` for an argument that is too
    long for its format."""
    try:
        return await link.call(NIBIND.by_name[name], argument, identity, patience)
    except FormatError as error:
        raise CommunicationError("binder", f"{name} cannot carry this argument: {error}.") from error
