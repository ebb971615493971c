"""One NetInfo domain: calls in, results and changes out, and no I/O (NETINFO 2).

`Domain.call` answers a procedure; what else must happen because of it (a change to be stored and told to clones, a
check with the master) is put into the domain's outbox, for whoever serves it to `take`. Nothing here waits: where a
verdict on a password is missing, `passwords.UnverifiedError` comes out before anything has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from netinfo import procedures
from netinfo.access import Access, Caller
from netinfo.events import Changed, Event, Replaced
from netinfo.generation import NEXT, Generation
from netinfo.limits import Limits, ReplySizeError
from netinfo.passwords import UnverifiedError
from netinfo.replies import KEPT, Replies, directory_named, key_of
from netinfo.tree import Commit, Totals, Tree
from wire.codec import codec
from wire.formats.netinfo import NETINFO, Binding


@attrs.define
class Surroundings:
    """What a domain must know of the world around it; the server keeps it up to date."""

    addresses: tuple[str, ...] = ("127.0.0.1",)
    """IPv4 addresses of this host, loopback included."""
    hostname: str = "localhost"
    parent: Binding | None = None
    """A server of the parent domain that was found alive (NETINFO 4.3)."""
    forced_root: bool = False
    """Never has a parent (netinfod -n)."""
    locked: bool = False
    """Nothing may be written until whoever locked the database unlocks it (NETINFO 2.5)."""
    sending: int = 0
    """READALL replies under way."""
    receiving: bool = False
    """This clone is receiving a READALL."""
    waiting_updates: int = 0
    """Changes that not every clone has been told of."""
    notify_threads: int = 0
    cleanup_remaining: float = 0.0
    """Seconds until the next periodic check of the clones."""
    connections: tuple[int, int, int, int] = (0, 0, 0, 0)
    """TCP connections: now, most ever, most allowed, closed to make room."""


class Domain:
    """A domain as one server holds it.

    tag: the name under which this host serves it.  clone: it only takes changes from its master (NETINFO 3.5).
    access: the rules about callers; the default is the modern one.
    """

    def __init__(
        self,
        tag: bytes,
        tree: Tree | None = None,
        *,
        access: Access | None = None,
        clone: bool = False,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.tag = tag
        self.tree = tree if tree is not None else Tree(access.generation if access else NEXT)
        self.access = access or Access(self.tree.generation)
        if self.access.generation is not self.tree.generation:
            raise ValueError("a domain's tree and its access rules must be of one generation")
        self.clone = clone
        self.surroundings = surroundings or Surroundings()
        self.calls = [0] * len(NETINFO.procedures)
        self.microseconds = [0.0] * len(NETINFO.procedures)
        self.outbox: list[Event] = []
        self._replies = Replies()
        self._build_argument = [codec(row.argument).build for row in NETINFO.procedures]
        self._build_result = [codec(row.result).build for row in NETINFO.procedures]

    @property
    def generation(self) -> Generation:
        return self.tree.generation

    @property
    def limits(self) -> Limits:
        return self.tree.limits

    def call(self, number: int, argument: Any, caller: Caller) -> Any:
        """The result of procedure *number*, a value of its result format in `NETINFO`.

        Raises `UnverifiedError` (compute the verdict, call again), `NotServedError` (a BIND that this domain does not
        serve) and `ReplySizeError`.
        """
        clock = self.access.clock
        start = clock()
        try:
            return procedures.TABLE[number](self, argument, caller)
        except UnverifiedError:
            self.calls[number] -= 1  # it will be made again
            raise
        finally:
            self.calls[number] += 1
            self.microseconds[number] += (clock() - start) * 1e6

    def reply(self, number: int, argument: Any, caller: Caller) -> bytes:
        """What `call` would give, as XDR bytes; for reading procedures built once for each state of the tree."""
        tree = self.tree
        directory = tree.directories.get(directory_named(argument)) if number in KEPT else None
        if directory is None:
            return self._built(number, self.call(number, argument, caller))
        key = self._key(number, caller) + self._build_argument[number](argument)
        reply = self._replies.get(key, tree.directories)
        if reply is None:
            reply = self._built(number, self.call(number, argument, caller))
            self._replies.put(key, directory, reply)
        else:
            self.calls[number] += 1
        return reply

    def recall(self, number: int, caller: Caller) -> Callable[[bytes], bytes | None] | None:
        """A short cut for this caller's calls of procedure *number*; None if there is none.

        It takes the bytes of an argument and gives those of the reply if `reply` has built it before and it is still
        the same; otherwise None, and nothing has happened.
        """
        if number not in KEPT:
            return None
        seen: Totals | None = None
        key = b""

        def recalled(argument: bytes) -> bytes | None:
            nonlocal seen, key
            tree = self.tree
            if tree.totals is not seen:  # another tree, or a change: perhaps of who sees passwords
                seen, key = tree.totals, self._key(number, caller)
            reply = self._replies.get(key + argument, tree.directories)
            if reply is not None:
                self.calls[number] += 1
            return reply

        return recalled

    def _key(self, number: int, caller: Caller) -> bytes:
        return key_of(number, self.access.sees_passwords(self.tree, caller))

    def _built(self, number: int, result: Any) -> bytes:
        reply = self._build_result[number](result)
        if len(reply) > self.limits.reply:
            raise ReplySizeError(f"a reply of {len(reply)} bytes is beyond the limit of {self.limits.reply}")
        return reply

    def take(self) -> list[Event]:
        """What has happened since the last `take`, in order."""
        events, self.outbox = self.outbox, []
        return events

    def changed(self, commit: Commit, procedure: str, argument: Any) -> None:
        """Note a change for the store and the clones."""
        self.outbox.append(Changed(commit, NETINFO.by_name[procedure], argument))

    def undo(self, changes: Iterable[Changed]) -> None:
        """Take back changes that could not be stored: all since the first of them, in the order they were made."""
        for change in reversed(list(changes)):
            self.tree.undo(change.commit)

    def replace(self, received: Replaced) -> None:
        """A clone takes over what READALL brought (`replication.received`), its instances as they are (NETINFO 5.3)."""
        self.tree = received.tree
        self.outbox.append(received)
