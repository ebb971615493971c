"""The lab: portmapper, binder, two NetInfo domains and a SUP file server in one process, each where it can be reached.

`Lab.start` opens them one after the other, `Lab.stop` closes them; what they said and heard goes to the lab's taps. The
commands (`emulators.commands.lab`, `emulators.commands.tour`) and the web console look at `services`.
"""

from __future__ import annotations

import os
import pwd
import random
from collections.abc import Sequence
from typing import Any

import attrs
from twisted.logger import Logger

from emulators.config import LabConfig
from emulators.faults import FaultyReactor
from emulators.samples import COLLECTION
from emulators.state import State
from emulators.watch import Watcher, elsewhere
from netinfo import starter
from netinfo.addresses import ANY, own_addresses
from netinfo.client.reactor import ReactorNetwork
from netinfo.generation import GENERATIONS
from netinfo.host import Host
from netinfo.settings import Settings
from netinfo.superuser import SOCKETS
from sup import nameserver
from sup.config import CollectionConfig, ServerConfig
from sup.service import FileServer, SharedSlots
from wire.transport.endpoint import Listening
from wire.transport.errors import ListenError
from wire.transport.sup_stream import listen_sup
from wire.transport.tap import Address, Tap

log = Logger()

HOST = "srv"
"""What the lab's machine is called in its own domains (NETINFO 7.4)."""
DOMAINS = (b"local", b"network")
SUP_PORT, SUP_DEBUG_PORT, SUP_NAME_PORT = 871, 1127, 869
SUP_DEBUG = "supfilesrv -P"
"""The file server's second port, for Debian's `sup -P`."""


@attrs.frozen
class Service:
    """One of the lab's servers. `historic` is the port it once had, `transports` such as ``udp tcp``."""

    name: str
    historic: int
    address: Address
    transports: str
    doc: str
    tag: bytes = b""
    """Of a domain."""


class Lab:
    """All servers. `services` holds those that run, in the order of their start."""

    def __init__(self, reactor: Any, config: LabConfig, state: State, taps: Sequence[Tap] = ()) -> None:
        self.config = config
        self.state = state
        self.watcher = Watcher()
        self.services: list[Service] = []
        self.notes: list[str] = []
        """What a person should know about this start, in sentences."""
        self._reactor = FaultyReactor(reactor, config.faults, random.Random()) if config.faults else reactor  # noqa: S311
        self._taps = tuple(taps)
        self._host: Host | None = None
        self._files: FileServer | None = None
        self._listening: list[Listening] = []

    @property
    def address(self) -> str:
        """Where clients on this machine reach the lab."""
        return "127.0.0.1" if self.config.listen == ANY else self.config.listen

    def has(self, name: str) -> bool:
        """Whether a service of that name runs."""
        return any(service.name == name for service in self.services)

    def reached(self, name: str) -> Address:
        """Where clients on this machine reach the service of that name, which runs."""
        port = next(service.address.port for service in self.services if service.name == name)
        return Address(self.address, port)

    @property
    def account(self) -> str:
        """Whom the lab runs as; the number of an account that has no name, as in a container."""
        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return str(os.geteuid())

    @property
    def superusers(self) -> tuple[str, ...]:
        """The accounts whose commands on this machine write to NetInfo without a password (NETINFO 3.2)."""
        if self.config.netinfo.superuser == "reserved-port":
            return ("root",)
        return tuple(dict.fromkeys((self.account, "root"))) if SOCKETS[0].exists() else ()

    async def start(self) -> None:
        """Open everything. Raises ListenError and StoreError, and has closed again what it opened."""
        try:
            await self._start_netinfo()
            await self._start_sup()
            self._look_at_addresses()
            if self.config.faults:
                self.notes.append(f"The network misbehaves on purpose: {self.config.fault}.")
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything; what was acknowledged is on disk."""
        self.services.clear()
        while self._listening:
            await self._listening.pop().stop()
        if self._files is not None:
            self._files.stop_threads()
            self._files = None
        if self._host is not None:
            await self._host.stop()
            self._host = None

    # --- NetInfo ------------------------------------------------------------------------------------------------

    async def _start_netinfo(self) -> None:
        chosen = self.config.netinfo
        settings = Settings(
            listen=self.config.listen,
            hostname=HOST,
            generation=GENERATIONS[chosen.generation],
            guards=chosen.guards,
            superuser=chosen.superuser,
            limits=chosen.limits,
            taps=(self.watcher.rpc, *self._taps),
        )
        network = ReactorNetwork(self._reactor, [elsewhere(tap, self._is_own) for tap in settings.taps])
        host = self._host = Host(self._reactor, settings, self.config.ports, self.state.databases, network)
        portmapper = await host.start_portmapper()
        self._add("portmapper", 111, portmapper, "finds nibindd")
        host.settings = attrs.evolve(settings, portmapper_port=portmapper.port)
        binder = await host.start_binder()
        self._add("nibindd", 766, binder, "finds the domains")
        for tag in dict.fromkeys((*DOMAINS, *host.stored())):
            if tag in DOMAINS:
                beginning = starter.sample(tag, settings.own_address, HOST)
            else:
                beginning = starter.bare_master(tag, HOST.encode(), [settings.own_address])
            server = await host.start_domain(tag, beginning)
            assert server.address is not None
            name = tag.decode()
            historic = {"local": 1033, "network": 877}.get(name, 0)
            self._add(f"domain {name}", historic, server.address, "NetInfo directory", tag)

    def _add(self, name: str, historic: int, address: Address, doc: str, tag: bytes = b"") -> None:
        self.services.append(Service(name, historic, address, "udp tcp", doc, tag))

    # --- SUP ----------------------------------------------------------------------------------------------------

    async def _start_sup(self) -> None:
        chosen = self.config.sup
        base = str(self.state.collections / COLLECTION)
        config = attrs.evolve(
            chosen,
            bases=(*chosen.bases, str(self.state.collections)),
            collections={COLLECTION: CollectionConfig(base=base), **chosen.collections},
        )
        taps = (self.watcher.sup, *self._taps)
        self._files = files = FileServer(self._reactor, config, SharedSlots(config.max_clients), taps)
        listening = await files.listen(self.config.listen, self.config.ports.at(SUP_PORT))
        self._listening.append(listening)
        self._add_sup("supfilesrv", SUP_PORT, listening.address, f"SUP collection {COLLECTION}")
        if self.config.sup_debug_port:
            await self._start_debug_port(files)
        await self._start_name_server(config, taps)
        self.state.write_supfile(self.address)

    async def _start_name_server(self, config: ServerConfig, taps: Sequence[Tap]) -> None:
        """It tells the clients of protocol 4 and 5 that this lab has its collections (SUP 2.19)."""
        hosts = {os.fsencode(name): (self.address,) for name in config.collections}
        listening = await listen_sup(
            self._reactor,
            self.config.listen,
            self.config.ports.at(SUP_NAME_PORT),
            lambda stream: nameserver.answer(stream, hosts),
            limits=config.limits,
            taps=taps,
            name="supnamesrv",
        )
        self._listening.append(listening)
        self._add_sup("supnamesrv", SUP_NAME_PORT, listening.address, "SUP's old name server")

    async def _start_debug_port(self, files: FileServer) -> None:
        try:
            listening = await files.listen(self.config.listen, SUP_DEBUG_PORT)
        except ListenError as error:
            self.notes.append(
                f"{error} So Debian's `sup -P`, which knows no other port, does not find this lab."
            )
        else:
            self._listening.append(listening)
            self._add_sup(SUP_DEBUG, SUP_DEBUG_PORT, listening.address, "the same, for sup -P")

    def _add_sup(self, name: str, historic: int, address: Address, doc: str) -> None:
        self.services.append(Service(name, historic, address, "tcp", doc))

    # --- addresses ----------------------------------------------------------------------------------------------

    def _is_own(self, address: Address) -> bool:
        here = {"127.0.0.1", self.address, *(own_addresses() if self.config.listen == ANY else ())}
        return address.host in here and any(service.address.port == address.port for service in self.services)

    def _look_at_addresses(self) -> None:
        assert self._host is not None
        now = self._host.settings.own_address
        if self.state.address != now:
            self.notes.append(
                f"The samples were made for {self.state.address}, and this lab is reached at {now}: a child domain "
                "finds its parent at the first alone. Begin anew with --fresh, or give this lab a name of its own."
            )
        if not self.config.listen.startswith("127."):
            self.notes.append(
                f"Listening on {self.config.listen}: whoever reaches this machine can talk to the lab, whose "
                "passwords are known to everybody."
            )
        if not self.config.listen.startswith("127.") and self.config.listen != ANY:
            self.notes.append(
                "Clients that look for a server by broadcast, as a NeXT does, need --listen 0.0.0.0."
            )


__all__ = ["HOST", "Lab", "ListenError", "Service"]
