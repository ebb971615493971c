"""Waits, for a domain on the reactor, until its changes are on disk; takes back in memory what could not be
written.

`netinfo.store.GroupCommit` does the writing, on a thread of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from netinfo.domain import Domain
from netinfo.events import Changed, Replaced
from netinfo.store import GroupCommit, Store, StoreError

log = Logger()


class StoreKeeper:
    """Makes a domain's changes durable in its store (`service.Keeper`)."""

    def __init__(self, reactor: Any, store: Store, domain: Domain) -> None:
        self._domain = domain
        self._commits = GroupCommit(store, reactor.callFromThread)
        self._tree = domain.tree
        self._unconfirmed: deque[tuple[Changed | Replaced, Any]] = deque()
        """Events that are not known to be durable, each with the tree that was the domain's before it."""
        self._submitted = 0
        self._failure: StoreError | None = None

    def keep(self, events: Sequence[Changed | Replaced]) -> Deferred[None]:
        """Fires when all are on disk. Fails with StoreError after all that is not durable was undone in the
        domain.
        """
        for event in events:
            self._unconfirmed.append((event, self._tree))
            if isinstance(event, Replaced):
                self._tree = event.tree
        if self._failure is not None:  # the store refuses everything until what failed has drained
            failure = self._failure
            self._undo()
            return fail(failure)
        done: Deferred[None] = Deferred()
        self._submitted += 1
        self._commits.submit(events, partial(self._confirmed, len(events), done))
        return done

    def _confirmed(self, count: int, done: Deferred[None], failure: StoreError | None) -> None:
        self._submitted -= 1
        if failure is None:
            for _ in range(count):
                self._unconfirmed.popleft()
            done.callback(None)
            return
        if self._failure is None:
            log.error("{error}", error=failure)
            self._failure = failure
        self._undo()
        if not self._submitted:
            self._failure = None
            self._commits.resume()
        done.errback(failure)

    def _undo(self) -> None:
        """Take back everything that is not durable, the latest first."""
        while self._unconfirmed:
            event, before = self._unconfirmed.pop()
            if isinstance(event, Changed):
                self._domain.undo([event])
            else:
                self._domain.tree = self._tree = before

    def close(self) -> None:
        """Write what is waiting, and close the store."""
        self._commits.close()
