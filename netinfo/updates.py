"""Keeping clones in step: what a master tells each of them and when, and when a clone asks its master (NETINFO 5).

Sans-IO: `Updates` and `Checks` are told what happened and what time it is, and say what to do next; seconds are those
of any clock that only goes forward. A clone that cannot be reached, or falls too far behind, is told nothing more
until it answers again; it then learns the master's checksum and transfers the domain if its own is another.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from netinfo.events import Changed
from netinfo.hierarchy import Server
from netinfo.replication import Tuning
from wire.formats.netinfo import NETINFO
from wire.formats.rpc import Procedure

CRASHED, RESYNC = NETINFO.by_name["CRASHED"], NETINFO.by_name["RESYNC"]

WAITING_LIMIT = 10_000
"""Updates that may wait for one clone; beyond, it is quicker to transfer the domain."""
FIRST_RETRY, LAST_RETRY = 1.0, 60.0
"""Seconds after which a clone that did not answer is tried again; doubled each time."""
STRANGERS_PAUSE = 10.0
"""Seconds between two reactions to a RESYNC or CRASHED that anybody may have sent (NETINFO 8)."""
TRUSTED_PAUSE = 1.0
"""The same where the master or this host itself asked."""

Outgoing = tuple[Procedure, Any]
"""A call to make: the procedure and its argument."""


@attrs.frozen
class Send:
    """Make these calls to a clone, in order, over one connection from a reserved port, with AUTH_NONE.

    What it answers does not matter: a clone on which an update fails asks its master itself. Then say `Updates.sent`
    or, if it could not be reached, `Updates.failed`.
    """

    server: Server
    calls: tuple[Outgoing, ...]


@attrs.define
class _Clone:
    """What a master knows of one clone."""

    server: Server
    waiting: deque[Outgoing] = attrs.Factory(deque)
    due: float | None = None
    """When the waiting updates shall go out."""
    behind: bool = True
    """It must be told the checksum before any update makes sense."""
    resync: bool = False
    """It shall be told RESYNC."""
    attempts: int = 0
    retry: float = 0.0
    busy: bool = False

    def next_time(self) -> float | None:
        """When there is something to send, if nothing else happens."""
        if self.busy:
            return None
        if self.behind or self.resync:
            return self.retry
        return self.due


class Updates:
    """A master's side. `checksum` gives the domain's current one."""

    def __init__(self, checksum: Callable[[], int], tuning: Tuning, now: float) -> None:
        self._checksum = checksum
        self._tuning = tuning
        self._clones: dict[Server, _Clone] = {}
        self._periodic = now

    @property
    def waiting(self) -> int:
        """Changes that not every clone has been told of (`Surroundings.waiting_updates`)."""
        return sum(len(clone.waiting) for clone in self._clones.values())

    @property
    def sending(self) -> int:
        """Clones that are being told something right now."""
        return sum(clone.busy for clone in self._clones.values())

    def resync(self, servers: Iterable[Server], tuning: Tuning, now: float) -> None:
        """These are the clones now; each shall hear RESYNC. Done for a RESYNC and every `Tuning.cleanup_wait`."""
        self._tuning = tuning
        self._periodic = now
        self._clones = {server: self._clones.get(server, _Clone(server)) for server in servers}
        for clone in self._clones.values():
            clone.resync = True
            clone.attempts, clone.retry = 0, now

    def start(self, servers: Iterable[Server], now: float) -> None:
        """The master has started: every clone shall hear its checksum, by CRASHED (NETINFO 5.2)."""
        self._clones = {server: _Clone(server, retry=now) for server in servers}
        self._periodic = now

    def changed(self, change: Changed, now: float) -> None:
        """A change is durable; every clone that is in step shall make it, too."""
        if change.procedure is None:
            return
        for clone in self._clones.values():
            if clone.behind:
                continue
            if len(clone.waiting) >= WAITING_LIMIT:
                self._lose(clone, now)
                continue
            clone.waiting.append((change.procedure, change.argument))
            if clone.due is None:
                clone.due = now + self._tuning.update_latency

    def periodic_at(self) -> float | None:
        """When `resync` is due by itself; None: never."""
        wait = self._tuning.cleanup_wait
        return None if wait is None else self._periodic + wait

    def next_time(self) -> float | None:
        """When `due` will have something; None: not before something else happens."""
        if self.sending >= self._tuning.subthreads:
            return None
        times = [time for clone in self._clones.values() if (time := clone.next_time()) is not None]
        return min(times, default=None)

    def due(self, now: float) -> list[Send]:
        """What to send now."""
        sends: list[Send] = []
        room = self._tuning.subthreads - self.sending
        for clone in self._clones.values():
            time = clone.next_time()
            if time is not None and time <= now and len(sends) < room:
                sends.append(self._send(clone))
        return sends

    def _send(self, clone: _Clone) -> Send:
        calls = list(clone.waiting)
        if clone.behind:
            calls.append((CRASHED, self._checksum()))
        if clone.resync:
            calls.append((RESYNC, None))
        # From here on it is in step: what changes while these calls are under way goes out after them.
        clone.busy, clone.behind, clone.resync, clone.due = True, False, False, None
        clone.waiting.clear()
        return Send(clone.server, tuple(calls))

    def sent(self, server: Server) -> None:
        """The clone took all calls of a `Send`."""
        clone = self._clones.get(server)
        if clone is not None:
            clone.busy, clone.attempts = False, 0

    def failed(self, server: Server, now: float) -> None:
        """The clone could not be reached, or not to the end."""
        clone = self._clones.get(server)
        if clone is not None:
            clone.busy = False
            self._lose(clone, now)

    def _lose(self, clone: _Clone, now: float) -> None:
        clone.behind, clone.due = True, None
        clone.waiting.clear()
        clone.retry = now + min(FIRST_RETRY * 2.0**clone.attempts, LAST_RETRY)
        clone.attempts = min(clone.attempts + 1, 16)


class Pace:
    """Lets one through, and the next after a pause; what comes in between is not lost but waits for its end."""

    def __init__(self) -> None:
        self._wanted: float | None = None
        self._ready = -math.inf

    def want(self, now: float, pause: float) -> None:
        """Something asks for it; *pause* seconds must have passed since the last time."""
        time = max(now, self._ready + pause)
        self._wanted = time if self._wanted is None else min(time, self._wanted)

    def next_time(self) -> float | None:
        """When `take` will be True; None: nothing was asked for."""
        return self._wanted

    def take(self, now: float) -> bool:
        """True once for what was asked for, when its time has come."""
        if self._wanted is None or now < self._wanted:
            return False
        self._wanted = None
        self._ready = now
        return True


class Checks:
    """A clone's side: when to ask the master whether its checksum is another, and transfer the domain if it is."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._running = False
        self._attempts = 0
        self._disturbed = False

    def want(self, now: float, *, trusted: bool) -> None:
        """Something says that this clone may be behind. *trusted*: the master, or this host itself."""
        self._pace.want(now, TRUSTED_PAUSE if trusted else STRANGERS_PAUSE)

    def updated(self) -> None:
        """The master's update was applied; a transfer that is under way may not have it."""
        self._disturbed = self._running

    def next_time(self) -> float | None:
        """When `begin` will be True; None: not before something else happens."""
        return None if self._running else self._pace.next_time()

    def begin(self, now: float) -> bool:
        """True if a check shall begin now; then say `finished` when it is over."""
        if self._running or not self._pace.take(now):
            return False
        self._running, self._disturbed = True, False
        return True

    def finished(self, now: float, *, reached: bool) -> None:
        """The check is over; *reached*: the master answered, and what it sent was taken over."""
        self._running = False
        if reached:
            self._attempts = 0
            if self._disturbed:
                self._pace.want(now, TRUSTED_PAUSE)
        else:
            self._pace.want(now, min(FIRST_RETRY * 2.0**self._attempts, LAST_RETRY))
            self._attempts = min(self._attempts + 1, 16)
