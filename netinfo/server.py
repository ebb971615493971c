"""One domain server in this process: the rules of its domain, its database, its RPC service, its ports (what
`netinfod` was).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from netinfo import replication
from netinfo.access import Access
from netinfo.addresses import ANY
from netinfo.client.network import Network
from netinfo.client.reactor import ReactorNetwork
from netinfo.domain import Domain, Surroundings
from netinfo.keeper import StoreKeeper
from netinfo.networks import loopback_only
from netinfo.parent import ParentFinder
from netinfo.passwords import Passwords
from netinfo.ports import Ports
from netinfo.properties import values_of
from netinfo.rawformat import Branch, plant
from netinfo.replicate import Clone, Master
from netinfo.service import DomainService
from netinfo.settings import Settings
from netinfo.store import Store
from netinfo.superuser import OwnAddresses
from netinfo.tree import ROOT, Tree, image_of
from wire.formats.nibind import AddrInfo
from wire.transport.errors import ListenError
from wire.transport.rpc_server import RpcServer
from wire.transport.tap import Address

log = Logger()

SUFFIX = ".db"
"""A domain's database is called by its tag and this."""


def database_of(state: Path, tag: bytes) -> Path:
    """Where the database of a tag is; the tag must be one (`binder.is_tag`)."""
    return state / (tag.decode() + SUFFIX)


def open_database(path: Path, beginning: Branch, settings: Settings) -> tuple[Store, Tree]:
    """A domain's database and what is in it; a new one begins as *beginning*. Raises StoreError and
    OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(path)
    try:
        tree = store.load(settings.generation)
        if tree.get(ROOT) is None:
            tree = plant(beginning, settings.generation)
            store.begin(image_of(tree))
    except BaseException:
        store.close()
        raise
    return store, tree


class DomainServer:
    """A domain, served. `start` opens its ports, `stop` closes them."""

    def __init__(
        self,
        reactor: Any,
        tag: bytes,
        tree: Tree,
        settings: Settings,
        store: Store | None = None,
        network: Network | None = None,
    ) -> None:
        """store: where changes are kept; None: they live as long as the process."""
        self.reactor = reactor
        self.tag = tag
        self.settings = settings
        network = network or ReactorNetwork(reactor, settings.taps)
        own, passwords = OwnAddresses(), Passwords()
        addresses = tuple(dict.fromkeys([settings.own_address, *settings.own_addresses()]))
        self.domain = Domain(
            tag,
            tree,
            access=Access(settings.generation, settings.guards, passwords),
            clone=replication.is_clone(tree, tag, addresses, settings.generation),
            surroundings=Surroundings(
                addresses=addresses, hostname=settings.hostname, forced_root=settings.forced_root
            ),
        )
        self.keeper = StoreKeeper(reactor, store, self.domain) if store else None
        port = settings.portmapper_port
        self.parent = ParentFinder(reactor, network, self.domain, settings.own_address, port)
        self.followers: Master | Clone
        if self.domain.clone:
            self.followers = Clone(reactor, network, self.domain, port, self.keeper)
        else:
            self.followers = Master(reactor, network, self.domain, port)
        self.service = DomainService(
            self.domain,
            settings.superuser_rule(own),
            self.parent.find,
            self.followers,
            self.keeper,
            passwords,
            own,
            self._describe,
        )
        self.rpc = RpcServer([self.service], settings.limits, settings.taps, f"netinfod {tag.decode()}")
        self.address: Address | None = None

    @property
    def ports(self) -> AddrInfo:
        """Where it listens, as the binder tells it; only once it has been started."""
        assert self.address is not None
        return AddrInfo(self.address.port, self.address.port)

    async def start(self, ports: Ports | int) -> Address:
        """Listen: on this port, or on the first free one of those for the tag. Raises ListenError."""
        host = self.settings.listen
        obeys_root = self.settings.generation.root_settings
        if obeys_root and host == ANY and loopback_only(self.domain.tree):
            host = "127.0.0.1"
        numbers: Iterable[int] = [ports] if isinstance(ports, int) else ports.of_domain(self.tag)
        if obeys_root and not isinstance(ports, int):
            numbers = chain(self._ports_of_root(), numbers)
        failure: ListenError | None = None
        for number in numbers:
            try:
                listening = await self.rpc.listen(self.reactor, host, number)
                break
            except ListenError as error:
                failure = failure or error
        else:
            assert failure is not None
            raise failure
        self.address = listening.address
        role = "clone" if self.domain.clone else "master"
        log.info(
            "domain {tag} ({role}, {count} directories) served at {address}",
            tag=self.tag.decode(),
            role=role,
            count=len(self.domain.tree.directories),
            address=self.address,
        )
        self.followers.start()
        return self.address

    async def stop(self) -> None:
        """Close the ports and the connections, then the database, in which everything acknowledged is."""
        self.followers.stop()
        await self.rpc.stop()
        if self.keeper is not None:
            self.keeper.close()

    def toggle_lock(self) -> None:
        """Refuse all changes with NI_MASTERBUSY, or let them in again, as Apple's servers did on SIGINT (NETINFO
        2.5)."""
        around = self.domain.surroundings
        around.locked = not around.locked
        log.info("{tag}: {what}", tag=self.tag.decode(), what="locked" if around.locked else "unlocked")

    def _ports_of_root(self) -> list[int]:
        """The root's `port`, which Apple's servers obeyed (NETINFO 1.1)."""
        root = self.domain.tree.get(ROOT)
        values = values_of(root.properties, b"port") if root else ()
        return [int(value) for value in values[:1] if value.isdigit() and 0 < int(value) < 65536]

    def _describe(self) -> None:
        """Bring what STATISTICS tells about the server up to date."""
        around, connections = self.domain.surroundings, self.rpc.connections
        allowed = int(self.settings.limits.connections)
        around.connections = (len(connections), connections.most, allowed, connections.displaced)
        around.cleanup_remaining = self.followers.until_cleanup()
