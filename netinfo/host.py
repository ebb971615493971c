"""All of NetInfo on one host, in one process: the domain servers, the binder, and a portmapper or the way to
one.

What `nibindd` and its child processes were: `Host` starts a server for every domain, tells the binder, and
makes and unmakes domains when the binder is asked to.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from netinfo.addresses import ANY
from netinfo.binder import BinderService, DomainError, Registry
from netinfo.client.network import Network
from netinfo.client.reactor import ReactorNetwork
from netinfo.portmapper import PortmapperService, PortmapTable, register_itself
from netinfo.ports import Ports
from netinfo.server import DomainServer
from netinfo.settings import Settings
from netinfo.superuser import OwnAddresses
from netinfo.tree import Tree
from wire.formats.netinfo import NETINFO, Binding
from wire.formats.nibind import NIBIND, BindArgs, CloneArgs, Registration
from wire.formats.portmap import IPPROTO_TCP, IPPROTO_UDP, Mapping
from wire.formats.rpc import AUTH_NONE, Procedure
from wire.transport.errors import TransportError
from wire.transport.rpc_server import RpcServer
from wire.transport.tap import Address

log = Logger()

BIND_PATIENCE = 2.0
"""Seconds a domain server has to answer BIND: one call, not repeated (NETINFO 4.2)."""
PING_PATIENCE = 1.0


class Host:
    """The domains of this host and its binder."""

    def __init__(
        self, reactor: Any, settings: Settings, ports: Ports, network: Network | None = None
    ) -> None:
        self.reactor = reactor
        self.settings = settings
        self.ports = ports
        self.network = network or ReactorNetwork(reactor, settings.taps)
        self.servers: dict[bytes, DomainServer] = {}
        self.registry = Registry()
        own = OwnAddresses()
        self.binder = BinderService(self.registry, self, settings.superuser_rule(own), settings.generation)
        self.binder_rpc = RpcServer([self.binder], settings.limits, settings.taps, "nibindd")
        self.binder_address: Address | None = None
        self.portmap_table = PortmapTable()
        self.portmapper = PortmapperService(self.portmap_table, self._forward)
        self.portmapper_rpc = RpcServer([self.portmapper], settings.limits, settings.taps, "portmap")
        self.portmapper_address: Address | None = None

    async def start_portmapper(self) -> Address:
        """Serve as this host's portmapper. Raises ListenError."""
        listening = await self.portmapper_rpc.listen(
            self.reactor, self.settings.listen, self.ports.portmapper
        )
        self.portmapper_address = listening.address
        register_itself(self.portmap_table, listening.address.port)
        return listening.address

    async def start_binder(self) -> Address:
        """Serve as this host's binder. Raises ListenError."""
        listening = await self.binder_rpc.listen(self.reactor, self.settings.listen, self.ports.binder)
        self.binder_address = listening.address
        for protocol in (IPPROTO_TCP, IPPROTO_UDP):
            self.portmap_table.set(Mapping(NIBIND.number, NIBIND.version, protocol, listening.address.port))
        return listening.address

    async def start_domain(self, tag: bytes, tree: Tree, port: int | None = None) -> DomainServer:
        """Serve a domain and tell the binder. Raises ListenError."""
        server = DomainServer(self.reactor, tag, tree, self.settings, None, self.network)
        await server.start(self.ports if port is None else port)
        self.servers[tag] = server
        self.registry.add(Registration(tag, server.ports))
        return server

    async def stop(self) -> None:
        """Close everything."""
        await self.portmapper_rpc.stop()
        await self.binder_rpc.stop()
        while self.servers:
            _, server = self.servers.popitem()
            self.registry.remove(server.tag)
            await server.stop()

    # --- what the portmapper asks -------------------------------------------------------------------------

    async def _forward(self, port: int, procedure: Procedure, argument: Any) -> Any:
        link = await self.network.connect_udp(self._self_address(), port, NIBIND)
        try:
            return await link.call(procedure, argument, AUTH_NONE, BIND_PATIENCE)
        finally:
            link.close()

    def _self_address(self) -> str:
        """Where this host reaches its own servers."""
        return "127.0.0.1" if self.settings.listen == ANY else self.settings.listen

    # --- what the binder asks (`binder.Domains`) ----------------------------------------------------------

    async def create_master(self, tag: bytes) -> None:
        raise DomainError("not yet")

    async def create_clone(self, args: CloneArgs) -> None:
        raise DomainError("not yet")

    async def destroy(self, tag: bytes) -> None:
        server = self.servers.pop(tag, None)
        if server is not None:
            await server.stop()

    async def asks_bind(self, registration: Registration, args: BindArgs) -> bool:
        try:
            await self._call(
                registration, "BIND", Binding(args.client_tag, args.client_address), BIND_PATIENCE
            )
        except TransportError:
            return False
        return True

    async def is_alive(self, registration: Registration) -> bool:
        try:
            await self._call(registration, "PING", None, PING_PATIENCE)
        except TransportError:
            return False
        return True

    async def _call(self, registration: Registration, name: str, argument: Any, patience: float) -> None:
        port = registration.addresses.udp_port
        link = await self.network.connect_udp(self._self_address(), port, NETINFO)
        try:
            await link.call(NETINFO.by_name[name], argument, AUTH_NONE, patience)
        finally:
            link.close()
