"""Keeps the servers of a domain the same: a master sends updates to its clones, a clone transfers the domain
(NETINFO 5).

What is sent when is decided in `netinfo.updates`; here are the connections and the clock. Updates of one
clone share a connection, because every connection takes one of the few reserved ports, which clones ask for
(NETINFO 11).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from netinfo import replication
from netinfo.client.domain import Domain as Remote
from netinfo.client.domain import Options
from netinfo.client.errors import NetInfoError
from netinfo.client.names import Portmapper, TaggedServer
from netinfo.client.network import Network
from netinfo.domain import Domain
from netinfo.events import Changed, Replaced
from netinfo.hierarchy import Server
from netinfo.service import Keeper
from netinfo.store import StoreError
from netinfo.tree import DamagedTreeError
from netinfo.updates import STRANGERS_PAUSE, TRUSTED_PAUSE, Checks, Pace, Send, Updates
from wire.formats.netinfo import NiStatus
from wire.transport.errors import TransportError

log = Logger()

PATIENCE = Options(read_timeout=60.0, write_timeout=60.0)
"""60 seconds for each call (NETINFO 5.3)."""
LINGER = 5.0
"""Seconds that a connection to a clone is kept after the last update."""


def remote(network: Network, server: Server, portmapper_port: int) -> Remote:
    """A master or clone, to call it."""
    return Remote(network, [TaggedServer(Portmapper(server.address, portmapper_port), server.tag)], PATIENCE)


@attrs.define
class Alarm:
    """One timer, set to the next time at which there is something to do."""

    reactor: Any
    ring: Callable[[], None]
    _timer: Any = attrs.field(default=None, init=False)
    _when: float | None = attrs.field(default=None, init=False)

    def set(self, when: float | None) -> None:
        """Ring at that time of the reactor's clock; None: not."""
        if self._timer is not None and when == self._when:
            return
        self.stop()
        self._when = when
        if when is not None:
            self._timer = self.reactor.callLater(max(0.0, when - self.reactor.seconds()), self._ring)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def remaining(self) -> float:
        """Seconds until it rings; 0 if it is not set."""
        return 0.0 if self._timer is None else max(0.0, self._timer.getTime() - self.reactor.seconds())

    def _ring(self) -> None:
        self._timer = None
        self.ring()


# --- the master's side --------------------------------------------------------------------------------------


class Master:
    """Tells the clones of a domain that this host is the master of (`service.Followers`)."""

    def __init__(self, reactor: Any, network: Network, domain: Domain, portmapper_port: int) -> None:
        self._reactor = reactor
        self._network = network
        self._domain = domain
        self._portmapper_port = portmapper_port
        self._alarm = Alarm(reactor, self._pump)
        self._pace = Pace()
        self._open: dict[Server, tuple[Remote, Alarm]] = {}
        self._updates = Updates(
            lambda: domain.tree.checksum,
            replication.tuning(domain.tree, domain.generation),
            reactor.seconds(),
        )

    def start(self) -> None:
        """Tell every clone the checksum (NETINFO 5.2)."""
        self._updates.start(self._clones(), self._reactor.seconds())
        self._pump()

    def stop(self) -> None:
        self._alarm.stop()
        for server in list(self._open):
            self._close(server)

    def changed(self, events: Sequence[Changed]) -> None:
        now = self._reactor.seconds()
        for event in events:
            self._updates.changed(event, now)
        self._pump()

    def check_master(self, trusted: bool) -> None:
        """A master has no master."""

    def until_cleanup(self) -> float:
        """Seconds until all clones are told to compare; 0 if they never are."""
        periodic = self._updates.periodic_at()
        return 0.0 if periodic is None else max(0.0, periodic - self._reactor.seconds())

    def resync_clones(self, trusted: bool) -> None:
        self._pace.want(self._reactor.seconds(), TRUSTED_PAUSE if trusted else STRANGERS_PAUSE)
        self._pump()

    def _clones(self) -> tuple[Server, ...]:
        domain = self._domain
        return replication.clones(domain.tree, domain.tag, domain.surroundings.addresses, domain.generation)

    def _pump(self) -> None:
        """Do what is due, and set the alarm for what is not."""
        now = self._reactor.seconds()
        periodic = self._updates.periodic_at()
        if self._pace.take(now) or (periodic is not None and periodic <= now):
            tuning = replication.tuning(self._domain.tree, self._domain.generation)
            self._updates.resync(self._clones(), tuning, now)
        for send in self._updates.due(now):
            Deferred.fromCoroutine(self._send(send)).addErrback(self._broken, send)
        surroundings = self._domain.surroundings
        surroundings.waiting_updates, surroundings.notify_threads = (
            self._updates.waiting,
            self._updates.sending,
        )
        times = [self._updates.next_time(), self._updates.periodic_at(), self._pace.next_time()]
        self._alarm.set(min((time for time in times if time is not None), default=None))

    async def _send(self, send: Send) -> None:
        clone, linger = self._connection(send.server)
        linger.stop()
        try:
            refused = False
            for procedure, argument in send.calls:
                result = await clone.call(procedure.name, argument)
                refused = refused or getattr(result, "status", None) == NiStatus.NI_RDONLY
            if refused:
                # It does not take us for its master, perhaps because reserved ports are out of our reach.
                await clone.crashed(self._domain.tree.checksum)
        except (TransportError, NetInfoError) as error:
            log.warn("clone {clone} was not told: {error}", clone=send.server.address, error=error)
            self._close(send.server)
            self._updates.failed(send.server, self._reactor.seconds())
        else:
            self._updates.sent(send.server)
            linger.set(self._reactor.seconds() + LINGER)
        self._pump()

    def _broken(self, failure: Any, send: Send) -> None:
        log.failure("updates of clone {clone} failed", failure, clone=send.server.address)
        self._close(send.server)
        self._updates.failed(send.server, self._reactor.seconds())
        self._pump()

    def _connection(self, server: Server) -> tuple[Remote, Alarm]:
        if server not in self._open:
            clone = remote(self._network, server, self._portmapper_port)
            self._open[server] = clone, Alarm(self._reactor, lambda: self._close(server))
        return self._open[server]

    def _close(self, server: Server) -> None:
        if server in self._open:
            clone, linger = self._open.pop(server)
            linger.stop()
            clone.close()


# --- the clone's side ---------------------------------------------------------------------------------------


class Clone:
    """Keeps a clone the same as its master (`service.Followers`)."""

    def __init__(
        self,
        reactor: Any,
        network: Network,
        domain: Domain,
        portmapper_port: int,
        keeper: Keeper | None,
        aside: Callable[..., Awaitable[Any]] = deferToThread,
    ) -> None:
        """aside: calls a function that takes long, so that others are served meanwhile."""
        self._aside = aside
        self._reactor = reactor
        self._network = network
        self._domain = domain
        self._portmapper_port = portmapper_port
        self._keeper = keeper
        self._checks = Checks()
        self._alarm = Alarm(reactor, self._pump)
        self._periodic = Alarm(reactor, lambda: self.check_master(True))
        self._stopped = False

    def start(self) -> None:
        """Compare at once."""
        self.check_master(True)

    def stop(self) -> None:
        self._stopped = True
        self._alarm.stop()
        self._periodic.stop()

    def changed(self, events: Sequence[Changed]) -> None:
        self._checks.updated()

    def check_master(self, trusted: bool) -> None:
        self._checks.want(self._reactor.seconds(), trusted=trusted)
        self._pump()

    def resync_clones(self, trusted: bool) -> None:
        """A clone has no clones."""

    def until_cleanup(self) -> float:
        """Seconds until it compares by itself; 0 if it never does, or is about to."""
        return self._periodic.remaining()

    def _pump(self) -> None:
        if self._stopped:
            return
        if self._checks.begin(self._reactor.seconds()):
            Deferred.fromCoroutine(self._check()).addErrback(self._broken)
        self._alarm.set(self._checks.next_time())

    def _broken(self, failure: Any) -> None:
        log.failure(
            "clone {tag}: the comparison with its master failed", failure, tag=self._domain.tag.decode()
        )
        self._finished(reached=False)

    async def _check(self) -> None:
        """Ask the master for everything, unless it has the same checksum."""
        try:
            if await self._transfer():
                log.info(
                    "clone {tag}: transferred from its master, {count} directories",
                    tag=self._domain.tag.decode(),
                    count=len(self._domain.tree.directories),
                )
        except (TransportError, NetInfoError, DamagedTreeError, StoreError) as error:
            log.warn("clone {tag}: {error}", tag=self._domain.tag.decode(), error=error)
            self._finished(reached=False)
        else:
            self._finished(reached=True)

    def _finished(self, *, reached: bool) -> None:
        now = self._reactor.seconds()
        self._checks.finished(now, reached=reached)
        wait = replication.tuning(self._domain.tree, self._domain.generation).cleanup_wait
        self._periodic.set(None if wait is None or self._stopped else now + wait)
        self._pump()

    async def _transfer(self) -> bool:
        """Whether the domain was another at the master, and has been replaced."""
        domain = self._domain
        named, addresses = replication.master_of(domain.tree), replication.master_addresses(domain.tree)
        if named is None or not addresses:
            raise NetInfoError(NiStatus.NI_CANTFINDADDRESS, "master of the domain")
        failure: Exception | None = None
        domain.surroundings.receiving = True
        try:
            for address in addresses:
                master = remote(self._network, Server(address, named[1]), self._portmapper_port)
                try:
                    body = await master.readall(domain.tree.checksum)
                except (TransportError, NetInfoError) as error:
                    failure = error
                    continue
                finally:
                    master.close()
                if not body.checksum and not body.objects:
                    return False
                received = await self._aside(replication.received, body, domain.generation, domain.limits)
                domain.replace(received)
                replaced = [event for event in domain.take() if isinstance(event, Replaced)]
                if self._keeper is not None:
                    await self._keeper.keep(replaced)
                return True
        finally:
            domain.surroundings.receiving = False
        assert failure is not None
        raise failure
