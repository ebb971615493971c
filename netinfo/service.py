"""A domain as an ONC RPC service: what stands between the network and `netinfo.domain` (NETINFO 1.1, 3, 5).

The rules are the domain's. Here calls wait for what they must wait for (a password to be checked, a change to
be on disk, a parent to be found), and what the domain wants done besides its answer is passed on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

import attrs
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from netinfo import replication
from netinfo.access import Caller, StatusError
from netinfo.domain import Domain
from netinfo.events import Changed, CheckMaster, Event, Replaced, ResyncClones
from netinfo.limits import ReplySizeError
from netinfo.networks import admits
from netinfo.passwords import Passwords, UnverifiedError, crypt_matches
from netinfo.procedures import NotServedError, transfer_view
from netinfo.seldom import Seldom
from netinfo.store import StoreError
from netinfo.superuser import OwnAddresses, SuperuserRule
from wire.formats.netinfo import NETINFO, NiStatus, ReadallBody, Result
from wire.formats.rpc import AcceptStatus, Auth, AuthStatus, Procedure
from wire.transport.rpc_server import NO_REPLY, AcceptError, Encoded, IncomingCall, Reject, Streamed
from wire.transport.tap import Address, Transport

log = Logger()

OVER_UDP = frozenset({NETINFO.by_name["PING"].number, NETINFO.by_name["BIND"].number})
VERIFICATIONS = 4
"""Passwords checked at the same time; more wait. DES crypt takes milliseconds of a processor."""


class Keeper(Protocol):
    """Where changes are made durable."""

    def keep(self, events: Sequence[Changed | Replaced]) -> Awaitable[None]:
        """Fires when all are on disk. Fails with StoreError when none is, and they are undone in the
        domain."""


class Followers(Protocol):
    """Who acts on what happens in the domain: replication."""

    def changed(self, events: Sequence[Changed]) -> None:
        """These changes are durable; a master tells its clones."""

    def check_master(self, trusted: bool) -> None:
        """A clone compares with its master; *trusted*: not just anybody wants it."""

    def resync_clones(self, trusted: bool) -> None:
        """A master has its clones compare."""


@attrs.define
class DomainService:
    """Program 200100000 for one domain."""

    domain: Domain
    is_superuser: SuperuserRule
    find_parent: Callable[[], Awaitable[None]]
    """Looks for the parent domain and leaves what it found in the domain's surroundings (NETINFO 4.3)."""
    followers: Followers
    keeper: Keeper | None = None
    """None: changes live as long as the process."""
    passwords: Passwords = attrs.Factory(Passwords)
    own: OwnAddresses = attrs.Factory(OwnAddresses)
    describe: Callable[[], None] = lambda: None
    """Brings the domain's surroundings up to date before STATISTICS tells them."""
    program = NETINFO
    _verifications: DeferredSemaphore = attrs.field(
        factory=lambda: DeferredSemaphore(VERIFICATIONS), init=False
    )
    _telling: Seldom = attrs.field(factory=Seldom, init=False)
    _last: tuple[Address, Auth, Caller] | None = attrs.field(default=None, init=False)

    def admit(self, procedure: int, transport: Transport, peer: Address) -> None:
        """The UDP filter: over UDP PING and BIND, nothing else (NETINFO 1.1)."""
        if transport == "udp" and procedure not in OVER_UDP:
            raise Reject(AuthStatus.AUTH_TOOWEAK)

    def accept_tcp(self, peer: Address, local: Address) -> bool:
        """The root's `trusted_networks` (NETINFO 3.1)."""
        return admits(self.domain.tree, peer.host, self.own(peer.host))

    def recall(
        self, procedure: Procedure, credential: Auth, peer: Address
    ) -> Callable[[bytes], bytes | None] | None:
        """Reading is anybody's; what a peer sees depends on its address alone (NETINFO 3.1, 8)."""
        caller = Caller(peer.host, peer.port, self.own(peer.host), credential=credential)
        return self.domain.recall(procedure.number, caller)

    def serve(self, call: IncomingCall) -> Any:
        procedure = call.procedure
        special = _SPECIAL.get(procedure.name)
        if special is not None:
            return special(self, call)
        try:
            reply = self.domain.reply(procedure.number, call.argument, self._caller(call))
        except UnverifiedError as unverified:
            return self._verified(call, unverified)
        except NotServedError:
            if self.domain.generation.unserved_bind_silent:
                return NO_REPLY
            raise AcceptError(AcceptStatus.SYSTEM_ERR) from None
        except ReplySizeError as error:
            if self._telling():
                log.warn("{name} for {peer}: {error}", name=procedure.name, peer=call.peer, error=error)
            raise AcceptError(AcceptStatus.SYSTEM_ERR) from None
        if self.domain.outbox:
            return self._settle(Encoded(reply), self.domain.take())
        return Encoded(reply)

    def _caller(self, call: IncomingCall) -> Caller:
        """Who calls. Only for a change it is asked whether it is the superuser: that may be dear to find
        out."""
        last = self._last
        if (
            last is not None
            and last[0] is call.peer
            and last[1] is call.credential
            and not call.procedure.mutates
        ):
            return last[2]
        host, port = call.peer.host, call.peer.port
        superuser = call.procedure.mutates and self.is_superuser(call.peer, call.local, call.transport)
        caller = Caller(host, port, self.own(host), superuser, call.credential)
        if not call.procedure.mutates:
            self._last = call.peer, call.credential, caller
        return caller

    async def _verified(self, call: IncomingCall, unverified: UnverifiedError) -> Any:
        """Check a password on another thread, then make the call again, which has changed nothing so far."""
        password, stored = unverified.password, unverified.stored
        fits = await self._verifications.run(deferToThread, crypt_matches, password, stored)
        self.passwords.learn(password, stored, fits)
        result = self.serve(call)
        return await result if isinstance(result, Awaitable) else result

    async def _rparent(self, call: IncomingCall) -> Any:
        await self.find_parent()
        return self.domain.call(call.procedure.number, call.argument, self._caller(call))

    def _readall(self, call: IncomingCall) -> Any:
        """The whole domain, streamed; as it was when the call came."""
        domain, caller = self.domain, self._caller(call)
        domain.calls[call.procedure.number] += 1
        try:
            if not replication.may_read_all(domain, call.argument, caller):
                return Result(NiStatus.NI_OK, ReadallBody(0, 0, ()))
        except StatusError as refused:
            return Result(refused.status, None)
        objects = replication.snapshot(domain.tree, transfer_view(domain, caller))
        chunks = replication.transfer(domain.tree, objects)
        head = next(chunks)  # with the checksum of now
        if self._telling():
            log.info("{tag}: sent to {peer} as a whole", tag=domain.tag.decode(), peer=call.peer)
        return Streamed(self._sending(chain([head], chunks)))

    def _sending(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        surroundings = self.domain.surroundings
        surroundings.sending += 1
        try:
            yield from chunks
        finally:
            surroundings.sending -= 1

    def _settle(self, result: Any, events: list[Event]) -> Any:
        """Answer only after changes are durable; then tell the followers."""
        changes = [event for event in events if isinstance(event, (Changed, Replaced))]
        for event in events:
            if isinstance(event, CheckMaster):
                self.followers.check_master(event.trusted)
            elif isinstance(event, ResyncClones):
                self.followers.resync_clones(event.trusted)
        if not changes:
            return result
        if self.keeper is None:
            self._told(changes)
            return result
        return self._kept(result, changes, self.keeper)

    async def _kept(self, result: Any, changes: Sequence[Changed | Replaced], keeper: Keeper) -> Any:
        try:
            await keeper.keep(changes)
        except StoreError as error:
            # A clone is behind now, though its master takes the update for made.
            self.followers.check_master(trusted=True)
            return Result(NiStatus.NI_NOSPACE if error.full else NiStatus.NI_SYSTEMERR, None)
        self._told(changes)
        return result

    def _told(self, changes: Iterable[Changed | Replaced]) -> None:
        told = [change for change in changes if isinstance(change, Changed) and change.procedure is not None]
        if told:
            self.followers.changed(told)


def _statistics(service: DomainService, call: IncomingCall) -> Any:
    service.describe()
    return service.domain.call(call.procedure.number, call.argument, service._caller(call))


_SPECIAL: dict[str, Callable[[DomainService, IncomingCall], Any]] = {
    "RPARENT": DomainService._rparent,
    "READALL": DomainService._readall,
    "STATISTICS": _statistics,
}
"""Procedures that take more than the domain itself to answer."""
