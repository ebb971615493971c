"""How a domain server finds its parent domain: RPARENT, candidates, BIND through their portmappers (NETINFO
4.3).

`ParentFinder` leaves what it found in the domain's `Surroundings.parent`, from which RPARENT is answered. One
search runs at a time, however many callers wait for it; a parent once found is only asked whether it is still
there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from netinfo import hierarchy
from netinfo.addresses import BROADCAST, Interface, interfaces, is_loopback, to_number, to_text
from netinfo.client.errors import NetInfoError
from netinfo.client.names import Portmapper, TaggedServer
from netinfo.client.network import Network
from netinfo.client.servers import find_ports, through_portmapper
from netinfo.domain import Domain
from netinfo.hierarchy import Server
from wire.formats.netinfo import NETINFO, Binding
from wire.formats.nibind import BindArgs
from wire.formats.rpc import AUTH_NONE
from wire.transport.errors import TransportError

log = Logger()

NEXT_WAITS = (4.0, 6.0, 8.0, 10.0, 12.0)
"""Seconds after each time that all candidates are asked (NETINFO 4.3)."""
APPLE_WAITS = (0.5, 1.0, 2.0, 2.0)
"""The same in each of Apple's three rounds."""
CALLER_PATIENCE = 4.0
"""Seconds that a caller of RPARENT waits; the search goes on without it, and the next call finds its result
(NETINFO 11)."""
APPLE_PAUSE = 600.0
"""Seconds for which Apple's server does not search again after nobody answered."""
PING_PATIENCE = 2.0


@attrs.define
class ParentFinder:
    """Finds, and keeps, the parent of one domain.

    address: this server's own IPv4 address, as its parent knows it.  portmapper_port: historically 111,
    everywhere.
    """

    reactor: Any
    network: Network
    domain: Domain
    address: str
    portmapper_port: int = 111
    interfaces: Callable[[], Sequence[Interface]] = interfaces
    shuffle: Callable[[Any], None] = random.shuffle
    _searching: Deferred[None] | None = attrs.field(default=None, init=False)
    _not_before: float = attrs.field(default=0.0, init=False)

    async def find(self) -> None:
        """Bring `Surroundings.parent` up to date, within the patience of a caller."""
        if hierarchy.is_root(self.domain):
            self.domain.surroundings.parent = None
            return
        search = self._searching or self._start()
        await self._wait(search)

    def _start(self) -> Deferred[None]:
        """Begin a search; fires when it is over, whatever came of it."""
        done: Deferred[None] = Deferred()
        self._searching = done

        def finished(result: Any) -> None:
            self._searching = None
            if result is not None:
                log.failure("the search for the parent of {tag!r} failed", result, tag=self.domain.tag)
            done.callback(None)

        Deferred.fromCoroutine(self._search()).addBoth(finished)
        return done

    def _wait(self, search: Deferred[None]) -> Deferred[None]:
        """Fires with the search, or when the caller's patience is over."""
        waiting: Deferred[None] = Deferred()
        timer = self.reactor.callLater(CALLER_PATIENCE, waiting.callback, None)

        def finished(_: None) -> None:
            if timer.active():
                timer.cancel()
                waiting.callback(None)

        search.addCallback(finished)
        return waiting

    async def _search(self) -> None:
        surroundings = self.domain.surroundings
        if surroundings.parent is not None:
            if await self._lives(surroundings.parent):
                return
            log.warn("{tag}: the parent domain no longer answers", tag=self.domain.tag.decode())
            surroundings.parent = None
        if self.reactor.seconds() < self._not_before:
            return
        if self.domain.generation.anonymous_binding:
            surroundings.parent = await self._search_as_apple()
            if surroundings.parent is None:
                self._not_before = self.reactor.seconds() + APPLE_PAUSE
        else:
            surroundings.parent = await self._ask(hierarchy.candidates(self.domain.tree), NEXT_WAITS)
        if surroundings.parent is not None:
            found = surroundings.parent
            log.info(
                "{tag}: parent domain found: {address}/{parent}",
                tag=self.domain.tag.decode(),
                address=to_text(found.address),
                parent=found.tag.decode("ascii", "replace"),
            )

    async def _lives(self, parent: Binding) -> bool:
        """Whether the parent's binder still knows its tag, and, as Apple asks, its server answers (NETINFO
        4.3)."""
        server = Server(to_text(parent.address), parent.tag)
        if self.domain.generation.anonymous_binding:
            return await self._answers(server)
        try:
            await find_ports(self.network, self._tagged(server))
        except (TransportError, NetInfoError):
            return False
        return True

    def _tagged(self, server: Server) -> TaggedServer:
        return TaggedServer(Portmapper(server.address, self.portmapper_port), server.tag)

    async def _ask(self, candidates: Sequence[Server], waits: Sequence[float]) -> Binding | None:
        """BIND through the portmapper of every candidate; the first that answers is the parent."""
        targets = []
        tags = []
        for address, tag in dict.fromkeys(self._spread(candidates)):
            args = BindArgs(to_number(self.address), self.domain.tag, tag)
            targets.append(through_portmapper(address, self.portmapper_port, "BIND", args))
            tags.append(tag)
        answer = await self.network.multicall(targets, waits) if targets else None
        if answer is None:
            return None
        return Binding(tags[answer.index], to_number(answer.host))

    def _spread(self, candidates: Sequence[Server]) -> Iterator[tuple[str, bytes]]:
        """Address and tag of each candidate; a broadcast goes to every network this host is attached to.

        255.255.255.255 by itself would leave by the default route alone, if there is one.
        """
        for server in candidates:
            if server.address != BROADCAST:
                yield server.address, server.tag
                continue
            for interface in self._interfaces():
                yield interface.broadcast, server.tag

    def _interfaces(self) -> tuple[Interface, ...]:
        """The networks that this server is on. One that is known by a loopback address is on that alone: no other host
        could answer it, and nothing of it shall leave the machine."""
        if is_loopback(self.address):
            return (Interface("loopback", self.address, "255.0.0.0", self.address),)
        return tuple(each for each in self.interfaces() if not is_loopback(each.address))

    async def _search_as_apple(self) -> Binding | None:
        """First whoever is there, even if it does not know us ("anonymous binding"); then by BIND, in three
        rounds."""
        found = hierarchy.candidates(self.domain.tree)
        interfaces = self._interfaces()
        rounds = hierarchy.apple_rounds(found, self.domain.tag, interfaces, self.shuffle)
        broadcasts = {BROADCAST} | {each.broadcast for each in interfaces if each.broadcast != each.address}
        for server in rounds[-1] if rounds else ():
            if server.address not in broadcasts and await self._answers(server):
                return Binding(server.tag, to_number(server.address))
        for candidates in rounds:
            if parent := await self._ask(candidates, APPLE_WAITS):
                return parent
        return None

    async def _answers(self, server: Server) -> bool:
        try:
            ports = await find_ports(self.network, self._tagged(server))
            link = await self.network.connect_udp(server.address, ports.udp_port, NETINFO)
            try:
                await link.call(NETINFO.by_name["PING"], None, AUTH_NONE, PING_PATIENCE)
            finally:
                link.close()
        except (TransportError, NetInfoError):
            return False
        return True
