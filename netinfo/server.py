"""One domain server in this process: the rules of its domain, its RPC service, its ports (what `netinfod`
was)."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.logger import Logger

from netinfo.access import Access, Passwords
from netinfo.client.network import Network
from netinfo.client.reactor import ReactorNetwork
from netinfo.domain import Domain, Surroundings
from netinfo.parent import ParentFinder
from netinfo.ports import Ports
from netinfo.service import DomainService, Followers, Keeper
from netinfo.settings import Settings
from netinfo.superuser import OwnAddresses
from netinfo.tree import Tree
from wire.formats.nibind import AddrInfo
from wire.transport.errors import ListenError
from wire.transport.rpc_server import RpcServer
from wire.transport.tap import Address

log = Logger()


class DomainServer:
    """A domain, served. `start` opens its ports, `stop` closes them."""

    def __init__(
        self,
        reactor: Any,
        tag: bytes,
        tree: Tree,
        settings: Settings,
        keeper: Keeper | None = None,
        network: Network | None = None,
    ) -> None:
        self.reactor = reactor
        self.tag = tag
        self.settings = settings
        self.network = network or ReactorNetwork(reactor, settings.taps)
        passwords = Passwords()
        own = OwnAddresses()
        address = settings.own_address
        surroundings = Surroundings(
            addresses=tuple(dict.fromkeys([address, "127.0.0.1"])),
            hostname=settings.hostname,
            forced_root=settings.forced_root,
        )
        access = Access(settings.generation, settings.guards, passwords)
        self.domain = Domain(tag, tree, access=access, surroundings=surroundings)
        self.parent = ParentFinder(reactor, self.network, self.domain, address, settings.portmapper_port)
        self.service = DomainService(
            self.domain, settings.superuser_rule(own), self.parent.find, _Nobody(), keeper, passwords, own
        )
        name = f"netinfod {tag.decode()}"
        self.rpc = RpcServer([self.service], settings.limits, settings.taps, name)
        self.address: Address | None = None

    @property
    def ports(self) -> AddrInfo:
        """Where it listens, as the binder tells it."""
        assert self.address is not None
        return AddrInfo(self.address.port, self.address.port)

    async def start(self, ports: Ports | int) -> Address:
        """Listen: on this port, or on the first free one of those for the tag. Raises ListenError."""
        numbers = [ports] if isinstance(ports, int) else ports.of_domain(self.tag)
        failure: ListenError | None = None
        for number in numbers:
            try:
                listening = await self.rpc.listen(self.reactor, self.settings.listen, number)
            except ListenError as error:
                failure = failure or error
                continue
            self.address = listening.address
            log.info("domain {tag} served at {address}", tag=self.tag.decode(), address=self.address)
            return self.address
        assert failure is not None
        raise failure

    async def stop(self) -> None:
        await self.rpc.stop()


@attrs.frozen
class _Nobody:
    """A domain without clones."""

    def changed(self, events: Any) -> None: ...

    def check_master(self) -> None: ...

    def resync_clones(self) -> None: ...


_: Followers = _Nobody()
