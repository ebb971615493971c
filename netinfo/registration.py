"""Making a server known on its host: programs to the portmapper, domains to the binder (NETINFO 1.1, 4.2)."""

from __future__ import annotations

from collections.abc import Iterable

from netinfo.client.errors import NetInfoError
from netinfo.client.names import Portmapper
from netinfo.client.network import Network
from netinfo.client.servers import call_binder, connect_binder
from wire.formats.netinfo import NiStatus
from wire.formats.nibind import AddrInfo, Registration
from wire.formats.portmap import IPPROTO_TCP, PORTMAP, Mapping
from wire.formats.rpc import AUTH_NONE

PATIENCE = 5.0


class RegistrationError(Exception):
    """A server that runs, but is not known under its name; the text says why."""


async def set_mappings(network: Network, portmapper: Portmapper, mappings: Iterable[Mapping]) -> None:
    """Enter programs into a running portmapper, in place of what it had for them.

    Raises `TransportError` if none runs, `RegistrationError` if it refuses.
    """
    link = await network.connect_tcp(portmapper.host, portmapper.port, PORTMAP, PATIENCE)
    try:
        for mapping in mappings:
            if not await link.call(PORTMAP.by_name["SET"], mapping, AUTH_NONE, PATIENCE):
                raise RegistrationError(
                    f"The portmapper at {portmapper.host}:{portmapper.port} does not let program"
                    f" {mapping.program} be registered."
                )
    finally:
        link.close()


async def unset_mappings(network: Network, portmapper: Portmapper, program: int, version: int) -> None:
    """Take a program out of a running portmapper. Raises `TransportError` if none runs."""
    link = await network.connect_tcp(portmapper.host, portmapper.port, PORTMAP, PATIENCE)
    try:
        await link.call(PORTMAP.by_name["UNSET"], Mapping(program, version, 0, 0), AUTH_NONE, PATIENCE)
    finally:
        link.close()


async def register_domain(network: Network, portmapper: Portmapper, tag: bytes, ports: AddrInfo) -> None:
    """Tell the binder of a host where a domain is served.

    Raises `TransportError` or `NetInfoError` if there is no binder, `RegistrationError` if it refuses.
    """
    await _tell(network, portmapper, "REGISTER", Registration(tag, ports))


async def unregister_domain(network: Network, portmapper: Portmapper, tag: bytes) -> None:
    """Have the binder forget a domain; raises as `register_domain`."""
    await _tell(network, portmapper, "UNREGISTER", tag)


async def _tell(network: Network, portmapper: Portmapper, name: str, argument: object) -> None:
    link = await connect_binder(network, portmapper, IPPROTO_TCP, PATIENCE)
    try:
        status = await call_binder(link, name, argument, PATIENCE)
    finally:
        link.close()
    if status != NiStatus.NI_OK:
        raise RegistrationError(str(NetInfoError(status, f"binder of {portmapper.host}, {name}")))
