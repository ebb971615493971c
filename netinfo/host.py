"""All of NetInfo on one host, in one process: domain servers, the binder, and a portmapper or the way to one.

What `nibindd` and its child processes were: `Host` starts a server for every domain, tells the binder, and
makes and unmakes domains when the binder is asked to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from netinfo import aliases, starter
from netinfo.addresses import ANY, to_text
from netinfo.binder import BinderService, DomainError, Registry, is_tag
from netinfo.client.names import LOCAL_TAG, Portmapper
from netinfo.client.network import Network
from netinfo.client.reactor import ReactorNetwork
from netinfo.passwords import crypt_matches
from netinfo.portmapper import PortmapperService, PortmapTable, register_itself
from netinfo.ports import Ports
from netinfo.properties import values_of
from netinfo.rawformat import Branch, plant
from netinfo.registration import set_mappings, unset_mappings
from netinfo.server import SUFFIX, DomainServer, database_of, open_database
from netinfo.settings import Settings
from netinfo.store import StoreError
from netinfo.superuser import OwnAddresses
from wire.formats.netinfo import NETINFO, Binding
from wire.formats.nibind import NIBIND, REGISTRATION_LIMIT, BindArgs, CloneArgs, Registration
from wire.formats.portmap import IPPROTO_TCP, IPPROTO_UDP, Mapping
from wire.formats.rpc import AUTH_NONE, Procedure, Program
from wire.transport.errors import ListenError, TransportError
from wire.transport.rpc_server import RpcServer
from wire.transport.tap import Address

log = Logger()

BIND_PATIENCE = 2.0
"""Seconds a domain server has to answer BIND (NETINFO 4.2)."""
PING_PATIENCE = 1.0
DATABASE_FILES = ("", "-wal", "-shm", ".lock")
"""What may be after a database's name: SQLite's own files, and the store's lock."""


class Host:
    """The domains of this host, its binder and, if wanted, its portmapper.

    state: the directory of the databases; None: nothing outlives the process.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        ports: Ports,
        state: Path | None = None,
        network: Network | None = None,
    ) -> None:
        self.reactor = reactor
        self.settings = settings
        self.ports = ports
        self.state = state
        self.network = network or ReactorNetwork(reactor, settings.taps)
        self.servers: dict[bytes, DomainServer] = {}
        self.registry = Registry()
        rule = settings.superuser_rule(OwnAddresses())
        self.binder = BinderService(self.registry, self, rule, settings.generation)
        self.table = PortmapTable()
        self.portmapper = PortmapperService(self.table, self._forward)
        self.binder_address: Address | None = None
        self.portmapper_address: Address | None = None
        self._binder_rpc = RpcServer([self.binder], settings.limits, settings.taps, "nibindd")
        self._portmapper_rpc = RpcServer([self.portmapper], settings.limits, settings.taps, "portmap")
        self._registered_at: Portmapper | None = None
        self._verifications = DeferredSemaphore(1)

    @property
    def loopback(self) -> str:
        """Where this host reaches its own servers."""
        return "127.0.0.1" if self.settings.listen == ANY else self.settings.listen

    # --- starting and stopping --------------------------------------------------------------------------------

    async def start_portmapper(self, port: int | None = None) -> Address:
        """Be this host's portmapper, whose port is then taken to be that of every host. Raises
        ListenError."""
        number = self.ports.portmapper if port is None else port
        listening = await self._portmapper_rpc.listen(self.reactor, self.settings.listen, number)
        self.portmapper_address = listening.address
        self.settings = attrs.evolve(self.settings, portmapper_port=listening.address.port)
        register_itself(self.table, listening.address.port)
        return listening.address

    async def start_binder(self, port: int | None = None) -> Address:
        """Be this host's binder, and tell the portmapper in this process. Raises ListenError."""
        number = self.ports.binder if port is None else port
        listening = await self._binder_rpc.listen(self.reactor, self.settings.listen, number)
        self.binder_address = listening.address
        for mapping in self._binder_mappings():
            self.table.set(mapping)
        return listening.address

    def _binder_mappings(self) -> list[Mapping]:
        assert self.binder_address is not None
        port = self.binder_address.port
        return [Mapping(NIBIND.number, NIBIND.version, each, port) for each in (IPPROTO_TCP, IPPROTO_UDP)]

    async def register_with(self, portmapper: Portmapper) -> None:
        """Tell a portmapper outside this process, such as rpcbind, where the binder is.

        Raises `TransportError` if none runs there, `RegistrationError` if it refuses.
        """
        await unset_mappings(self.network, portmapper, NIBIND.number, NIBIND.version)
        await set_mappings(self.network, portmapper, self._binder_mappings())
        self._registered_at = portmapper

    def _make_state(self) -> None:
        if self.state is not None:
            self.state.mkdir(parents=True, exist_ok=True, mode=0o700)

    def stored(self) -> tuple[bytes, ...]:
        """The tags of the databases in the state directory: `local` first, so that it gets its port."""
        if self.state is None:
            return ()
        tags = [path.name.removesuffix(SUFFIX).encode() for path in self.state.glob(f"*{SUFFIX}")]
        return tuple(sorted(filter(is_tag, tags), key=lambda tag: (tag != b"local", tag != b"network", tag)))

    async def start_domain(self, tag: bytes, beginning: Branch, port: int | None = None) -> DomainServer:
        """Serve a domain and tell the binder; a new database begins as *beginning*.

        port: instead of the one that belongs to the tag. Raises ListenError and StoreError.
        """
        if self.state is None:
            store, tree = None, plant(beginning, self.settings.generation)
        else:
            store, tree = open_database(database_of(self.state, tag), beginning, self.settings)
        server = DomainServer(self.reactor, tag, tree, self.settings, store, self.network)
        try:
            await server.start(self.ports if port is None else port)
        except ListenError:
            await server.stop()
            raise
        self.servers[tag] = server
        if not self.registry.add(Registration(tag, server.ports)):
            log.warn(
                "domain {tag} is not in the binder, which can tell of {n} domains alone: clients reach it as {address}",
                tag=tag.decode(),
                n=REGISTRATION_LIMIT,
                address=server.address,
            )
        return server

    async def start_stored(self) -> None:
        """Serve every domain of the state directory, which is made if it is not there.

        A database that cannot be used is told in the log, and keeps no other domain from being served. Raises
        ListenError, OSError, and StoreError where no domain can be served.
        """
        self._make_state()
        failure: StoreError | None = None
        for tag in self.stored():
            try:
                await self.start_domain(tag, Branch())
            except StoreError as error:
                log.error("domain {tag} is not served: {error}", tag=tag.decode(), error=error)
                failure = failure or error
        if failure is not None and not self.servers:
            raise failure

    async def stop(self) -> None:
        """Close everything; what was acknowledged is on disk."""
        if self._registered_at is not None:
            try:
                await unset_mappings(self.network, self._registered_at, NIBIND.number, NIBIND.version)
            except TransportError as error:
                log.info("the portmapper was not told that the binder ends: {error}", error=error)
        await self._portmapper_rpc.stop()
        await self._binder_rpc.stop()
        while self.servers:
            tag, server = self.servers.popitem()
            self.registry.remove(tag)
            await server.stop()

    # --- what the portmapper asks -----------------------------------------------------------------------------

    async def _forward(self, port: int, procedure: Procedure, argument: Any) -> Any:
        return await self._ask(NIBIND, port, procedure, argument, BIND_PATIENCE)

    async def _ask(
        self, program: Program, port: int, procedure: Procedure, argument: Any, patience: float
    ) -> Any:
        """Call a server of this host over UDP."""
        link = await self.network.connect_udp(self.loopback, port, program)
        try:
            return await link.call(procedure, argument, AUTH_NONE, patience)
        finally:
            link.close()

    # --- what the binder asks (`binder.Domains`) --------------------------------------------------------------

    async def create_master(self, tag: bytes) -> None:
        host = self.settings.hostname.encode()
        beginning = starter.bare_master(tag, host, [self.settings.own_address])
        self._begin(tag, beginning)

    async def create_clone(self, args: CloneArgs) -> None:
        master = starter.bare_clone(args.master_name, to_text(args.master_address), args.master_tag)
        self._begin(args.tag, master)

    def _begin(self, tag: bytes, beginning: Branch) -> None:
        """Start a new domain; the answer does not wait for it (NETINFO 4.2)."""
        if self.state is not None and database_of(self.state, tag).exists():
            raise DomainError(
                f"domain {tag.decode()} is not made: {database_of(self.state, tag)} exists already"
            )
        starting = Deferred.fromCoroutine(self.start_domain(tag, beginning))
        starting.addErrback(
            lambda failure: log.error(
                "domain {tag} is not served: {why}", tag=tag.decode(), why=failure.getErrorMessage()
            )
        )

    async def destroy(self, tag: bytes) -> None:
        server = self.servers.pop(tag, None)
        if server is None:
            return  # another process serves it
        await server.stop()
        if self.state is None:
            return
        path = database_of(self.state, tag)
        for ending in DATABASE_FILES:
            try:
                path.with_name(path.name + ending).unlink(missing_ok=True)
            except OSError as error:
                raise DomainError(f"{path} cannot be deleted: {error.strerror}") from None
        log.info("domain {tag} destroyed", tag=tag.decode())

    async def asks_bind(self, registration: Registration, args: BindArgs) -> bool:
        binding = Binding(args.client_tag, args.client_address)
        return await self._answers(registration, "BIND", binding, BIND_PATIENCE)

    async def is_alive(self, registration: Registration) -> bool:
        return await self._answers(registration, "PING", None, PING_PATIENCE)

    def real_tag(self, tag: bytes, client: str) -> bytes:
        return aliases.real_tag(tag, client, ((t, s.domain.tree) for t, s in self.servers.items()))

    async def is_root_password(self, password: bytes) -> bool:
        """The host's root is, as on a NeXT, the user `root` of its domain `local`."""
        local = self.servers.get(LOCAL_TAG)
        root = local and local.domain.tree.path(b"users", b"root")
        stored = next(iter(values_of(root.properties, b"passwd")), b"") if root else b""
        return bool(stored) and await self._verifications.run(deferToThread, crypt_matches, password, stored)

    async def _answers(self, registration: Registration, name: str, argument: Any, patience: float) -> bool:
        port = registration.addresses.udp_port
        try:
            await self._ask(NETINFO, port, NETINFO.by_name[name], argument, patience)
        except TransportError:
            return False
        return True
