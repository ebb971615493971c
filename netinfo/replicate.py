"""Keeps masters and clones of a domain the same: updates pushed, whole domains pulled (NETINFO 5).

A master sends every change to every clone, in order, each clone over a connection of its own. Where that
fails (a clone was away, or refuses because our updates cannot come from a reserved port) it tells the clone
its checksum instead, and the clone pulls. A clone that sees another checksum than its own, or an update that
does not fit, transfers the domain.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

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
from netinfo.superuser import OwnAddresses
from netinfo.tree import DamagedTreeError
from wire.formats.netinfo import NiStatus
from wire.transport.errors import TransportError

log = Logger()

PATIENCE = Options(read_timeout=60.0, write_timeout=60.0)
"""NETINFO 5.3: 60 seconds for each call."""
LINGER = 5.0
"""Seconds that a connection to a clone is kept after the last update."""
QUEUE_LIMIT = 10_000
"""Updates waiting for one clone; beyond, it is told to transfer the whole domain."""
RETRY_FIRST, RETRY_MOST = 5.0, 300.0
"""Seconds after which a clone that could not reach its master tries again; doubled each time."""
STRANGERS_PAUSE = 10.0
"""Seconds between two checks that peers other than the master ask for (NETINFO 8)."""
BUSY_PAUSE = 2.0
"""Seconds after NI_MASTERBUSY."""


def remote(network: Network, server: Server, portmapper_port: int) -> Remote:
    """A master or clone, to call it."""
    return Remote(network, [TaggedServer(Portmapper(server.address, portmapper_port), server.tag)], PATIENCE)


# --- the master's side --------------------------------------------------------------------------------------


class CloneFeed:
    """What one clone is still to be told."""

    def __init__(self, master: Master, server: Server) -> None:
        self._master = master
        self._server = server
        self._queue: deque[Changed] = deque()
        self._behind = False
        """The clone has missed something: its checksum is compared after the queue."""
        self._resync = False
        self._remote: Remote | None = None
        self._working = False
        self._closer: Any = None

    @property
    def waiting(self) -> int:
        """Updates that the clone has not been told of."""
        return len(self._queue)

    def push(self, changes: Sequence[Changed]) -> None:
        if self._behind and not self._working:
            self._queue.clear()
        self._queue.extend(changes)
        if len(self._queue) > QUEUE_LIMIT:
            self.compare()
        self._start()

    def compare(self) -> None:
        """Tell the clone our checksum, so that it transfers the domain if its own is another (CRASHED)."""
        self._queue.clear()
        self._behind = True
        self._start()

    def resync(self) -> None:
        """Tell the clone to check (RESYNC)."""
        self._resync = True
        self._start()

    def _start(self) -> None:
        if not self._working:
            self._working = True
            Deferred.fromCoroutine(self._work()).addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        self._working = False
        log.failure("updates of clone {server} stopped", failure, server=self._server)

    async def _work(self) -> None:
        if self._closer is not None:
            self._closer.cancel()
            self._closer = None
        latency = self._master.latency
        if latency:
            await deferLater(self._master.reactor, latency)
        if self._remote is None:
            self._remote = remote(self._master.network, self._server, self._master.portmapper_port)
        try:
            await self._tell(self._remote)
        except (TransportError, NetInfoError) as error:
            if not self._behind:
                log.warn("clone {clone} was not told: {error}", clone=self._server.address, error=error)
            self._queue.clear()
            self._behind = True
            self.close()
        finally:
            self._working = False
            self._master.count()
        if self._remote is not None:
            self._closer = self._master.reactor.callLater(LINGER, self._rest)

    async def _tell(self, clone: Remote) -> None:
        while self._queue or self._behind or self._resync:
            if self._queue and not self._behind:
                change = self._queue.popleft()
                assert change.procedure is not None
                result = await clone.call(change.procedure.name, change.argument)
                if result.status != NiStatus.NI_OK:
                    log.info(
                        "clone {clone} answered {status} to an update; it is told to transfer the domain",
                        clone=self._server.address,
                        status=NiStatus(result.status).name,
                    )
                    self._queue.clear()
                    self._behind = True
            elif self._behind:
                self._queue.clear()
                await clone.crashed(self._master.domain.tree.checksum)
                self._behind = False
            else:
                await clone.resync()
                self._resync = False

    def _rest(self) -> None:
        self._closer = None
        self.close()

    def close(self) -> None:
        """Close the connection; the next update opens another."""
        if self._closer is not None:
            self._closer.cancel()
            self._closer = None
        if self._remote is not None:
            self._remote.close()
            self._remote = None


class Master:
    """Tells the clones of a domain that this host is the master of (`service.Followers`)."""

    def __init__(self, reactor: Any, network: Network, domain: Domain, portmapper_port: int) -> None:
        self.reactor = reactor
        self.network = network
        self.domain = domain
        self.portmapper_port = portmapper_port
        self._feeds: dict[Server, CloneFeed] = {}
        self._cleanup: Any = None

    @property
    def latency(self) -> float:
        """Seconds an update waits for others to join it (NETINFO 5.1)."""
        return replication.tuning(self.domain.tree, self.domain.generation).update_latency

    def start(self) -> None:
        """After a start the clones compare (CRASHED), and every cleanup period they check (NETINFO 5.2)."""
        for feed in self._clones():
            feed.compare()
        self._schedule()

    def stop(self) -> None:
        if self._cleanup is not None:
            self._cleanup.cancel()
            self._cleanup = None
        for feed in self._feeds.values():
            feed.close()

    def changed(self, events: Sequence[Changed]) -> None:
        for feed in self._clones():
            feed.push(events)
        self.count()

    def check_master(self, asked_by: str) -> None:
        """A master has no master."""

    def resync_clones(self, asked_by: str) -> None:
        for feed in self._clones():
            feed.resync()

    def count(self) -> None:
        """Tell the domain how many updates wait."""
        self.domain.surroundings.waiting_updates = sum(feed.waiting for feed in self._feeds.values())

    def _clones(self) -> list[CloneFeed]:
        """A feed for every clone that the domain lists now; clones that it lists no longer are left alone."""
        domain = self.domain
        listed = replication.clones(domain.tree, domain.tag, domain.surroundings.addresses, domain.generation)
        for gone in self._feeds.keys() - set(listed):
            self._feeds.pop(gone).close()
        for server in listed:
            if server not in self._feeds:
                self._feeds[server] = CloneFeed(self, server)
        return list(self._feeds.values())

    def _schedule(self) -> None:
        wait = replication.tuning(self.domain.tree, self.domain.generation).cleanup_wait
        if wait is not None:
            self._cleanup = self.reactor.callLater(wait, self._clean_up)

    def _clean_up(self) -> None:
        self.resync_clones("")
        self._schedule()


# --- the clone's side ---------------------------------------------------------------------------------------


@attrs.define
class Clone:
    """Keeps a clone the same as its master (`service.Followers`)."""

    reactor: Any
    network: Network
    domain: Domain
    portmapper_port: int
    own: OwnAddresses
    keeper: Keeper | None = None
    _checking: bool = attrs.field(default=False, init=False)
    _again: bool = attrs.field(default=False, init=False)
    _timer: Any = attrs.field(default=None, init=False)
    _retry: float = attrs.field(default=RETRY_FIRST, init=False)
    _strangers: float = attrs.field(default=float("-inf"), init=False)
    _stopped: bool = attrs.field(default=False, init=False)

    def start(self) -> None:
        """Check at once, and every cleanup period."""
        self._check()

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def changed(self, events: Sequence[Changed]) -> None:
        """An update came; if a transfer is under way it may have come too late for it."""
        if self._checking:
            self._again = True

    def resync_clones(self, asked_by: str) -> None:
        """A clone has no clones."""

    def check_master(self, asked_by: str) -> None:
        """Compare with the master now; strangers may ask for it only now and then (NETINFO 8)."""
        if not self.own(asked_by) and asked_by not in replication.master_addresses(self.domain.tree):
            now = self.reactor.seconds()
            if now - self._strangers < STRANGERS_PAUSE:
                return
            self._strangers = now
        self._check()

    def _check(self) -> None:
        if self._stopped:
            return
        if self._checking:
            self._again = True
            return
        self._checking = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        Deferred.fromCoroutine(self._compare()).addBoth(self._checked)

    def _checked(self, wait: Any) -> None:
        self._checking = False
        if isinstance(wait, Failure):
            log.failure("the comparison with the master failed", wait)
            wait = RETRY_MOST
        again, self._again = self._again, False
        if again:
            wait = 0.0
        if not self._stopped and wait is not None:
            self._timer = self.reactor.callLater(wait, self._due)

    def _due(self) -> None:
        self._timer = None
        self._check()

    async def _compare(self) -> float | None:
        """Ask the master for everything, unless our checksum is its own.

        Gives the seconds until the next time; None for never, unless somebody asks for it.
        """
        tag = self.domain.tag.decode()
        try:
            changed = await self._transfer()
        except (TransportError, NetInfoError, DamagedTreeError, StoreError) as error:
            if isinstance(error, NetInfoError) and error.status == NiStatus.NI_MASTERBUSY:
                return BUSY_PAUSE
            log.warn("clone {tag}: not compared with its master: {error}", tag=tag, error=error)
            wait, self._retry = self._retry, min(self._retry * 2, RETRY_MOST)
            return wait
        finally:
            self.domain.surroundings.receiving = False
        if changed:
            log.info("clone {tag}: domain transferred from its master", tag=tag)
        self._retry = RETRY_FIRST
        return replication.tuning(self.domain.tree, self.domain.generation).cleanup_wait

    async def _transfer(self) -> bool:
        """Whether the domain was another at the master, and has been replaced."""
        tree = self.domain.tree
        named = replication.master_of(tree)
        addresses = replication.master_addresses(tree)
        if named is None or not addresses:
            raise NetInfoError(NiStatus.NI_CANTFINDADDRESS, "the master")
        servers = [Server(address, named[1]) for address in addresses]
        failure: Exception | None = None
        for server in servers:
            master = remote(self.network, server, self.portmapper_port)
            try:
                body = await master.readall(tree.checksum)
            except (TransportError, NetInfoError) as error:
                failure = error
                continue
            finally:
                master.close()
            if body.checksum == 0 and not body.objects:
                return False
            self.domain.surroundings.receiving = True
            self.domain.replace(body.objects, body.highest_id)
            await self._keep()
            return True
        assert failure is not None
        raise failure

    async def _keep(self) -> None:
        replaced = [event for event in self.domain.take() if isinstance(event, Replaced)]
        if self.keeper is not None:
            await self.keeper.keep(replaced)
