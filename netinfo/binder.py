"""The NetInfo binder (nibindd), ONC RPC program 200100001 version 1: which domain tag is served where
(NETINFO 4.2).

`Registry` is what it knows; `BinderService` answers calls from it, and asks the program it lives in
(`Domains`) to make and unmake domains. Who may do so, how a domain server is asked, and whether one still
lives, is handed in.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import attrs
from twisted.logger import Logger

from netinfo.addresses import is_loopback, to_text
from netinfo.credential import password_of
from netinfo.generation import Generation
from netinfo.passwords import Throttle
from netinfo.seldom import Seldom
from netinfo.tree import c_string
from wire.formats.netinfo import NiStatus, Result
from wire.formats.nibind import NIBIND, REGISTRATION_LIMIT, AddrInfo, BindArgs, CloneArgs, Registration
from wire.formats.rpc import AcceptStatus, AuthStatus, AuthUnix
from wire.transport.errors import TransportError
from wire.transport.rpc_server import NO_REPLY, AcceptError, IncomingCall, Reject
from wire.transport.tap import Address, Transport

log = Logger()

OPEN_OVER_UDP = frozenset({"PING", "GETREGISTER", "LISTREG", "BIND"})
"""What anybody may call over UDP; the rest changes something (NETINFO 1.1)."""
REGISTERING = frozenset({"REGISTER", "UNREGISTER"})
"""What a NeXT's domain server calls over UDP on its own host (NETINFO 1.1)."""
BINDS_AT_ONCE = 64
"""BIND questions waiting for a domain server's answer; further ones go unanswered, as a lost datagram
would."""

_TAG = re.compile(rb"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


def is_tag(tag: bytes) -> bool:
    """Whether a domain may be called so: 1 to 64 of [A-Za-z0-9._-], not beginning with a dot (NETINFO 8).

    Databases are named after their tag, so this is also what keeps them inside the state directory.
    """
    return _TAG.fullmatch(tag) is not None


class DomainError(Exception):
    """A domain that could not be made or unmade; the text says why."""


class Domains(Protocol):
    """The program that runs the domains of this host, as far as the binder needs it.

    Each returns when the work has been begun well enough that NI_OK may be answered (NETINFO 4.2: NI_OK means
    spawned, not ready), and raises `DomainError`.
    """

    def create_master(self, tag: bytes) -> Awaitable[None]: ...

    def create_clone(self, args: CloneArgs) -> Awaitable[None]: ...

    def destroy(self, tag: bytes) -> Awaitable[None]:
        """End the tag's server, if one runs here, and delete its database."""

    def asks_bind(self, registration: Registration, args: BindArgs) -> Awaitable[bool]:
        """Whether the domain server of a registration would serve that client; False too if it is silent for
        2 s."""

    def is_alive(self, registration: Registration) -> Awaitable[bool]:
        """Whether the domain server of a registration answers PING within 1 s."""

    def real_tag(self, tag: bytes, client: str) -> bytes:
        """The tag of the domain that a client with this address means by *tag*, which may be an alias."""

    def is_root_password(self, password: bytes) -> Awaitable[bool]:
        """Whether it is the password of this host's root."""


class Registry:
    """Tag -> ports, at most 32 of them, because LISTREG's reply holds no more (NETINFO 1.2)."""

    def __init__(self) -> None:
        self._entries: list[Registration] = []

    def find(self, tag: bytes) -> Registration | None:
        """The registration of a tag."""
        return next((entry for entry in self._entries if entry.tag == tag), None)

    def add(self, registration: Registration) -> bool:
        """Append, or replace the entry of the same tag. False if the registry is full."""
        for index, entry in enumerate(self._entries):
            if entry.tag == registration.tag:
                self._entries[index] = registration
                return True
        if len(self._entries) >= REGISTRATION_LIMIT:
            return False
        self._entries.append(registration)
        return True

    def remove(self, tag: bytes) -> None:
        """Forget a tag; the last entry moves into its place, as in the original (NETINFO 11)."""
        for index, entry in enumerate(self._entries):
            if entry.tag == tag:
                last = self._entries.pop()
                if index < len(self._entries):
                    self._entries[index] = last
                return

    def entries(self) -> tuple[Registration, ...]:
        """All registrations, in the order LISTREG gives them."""
        return tuple(self._entries)


@attrs.define
class BinderService:
    """Program 200100001."""

    registry: Registry
    domains: Domains
    is_privileged: Callable[[Address, Address, Transport], bool]
    """Whether a peer may change things: (peer, local address, transport) -> bool (NETINFO 3.6)."""
    generation: Generation
    throttle: Throttle = attrs.Factory(Throttle)
    clock: Callable[[], float] = time.monotonic
    program = NIBIND
    _asking: int = attrs.field(default=0, init=False)
    _telling: Seldom = attrs.field(factory=Seldom, init=False)

    def admit(self, procedure: int, transport: Transport, peer: Address) -> None:
        """Over UDP only what is harmless; a NeXT's own domain servers register there, too (NETINFO 1.1)."""
        found = NIBIND.by_number.get(procedure)
        if transport == "tcp" or found is None or found.name in OPEN_OVER_UDP:
            return
        if self.generation.registers_over_udp and found.name in REGISTERING and is_loopback(peer.host):
            return
        raise Reject(AuthStatus.AUTH_TOOWEAK)

    def serve(self, call: IncomingCall) -> Any:
        name, argument = call.procedure.name, call.argument
        if not call.procedure.mutates:
            return self._tell(name, argument, call.peer.host)
        if self.is_privileged(call.peer, call.local, call.transport):
            return self._change(name, argument)
        if self.generation.binder_takes_password and isinstance(call.credential.body, AuthUnix):
            return self._change_by_password(call, password_of(call.credential.body))
        return self._refuse(call)

    def _refuse(self, call: IncomingCall) -> NiStatus:
        if self._telling():
            log.warn(
                "{name} from {peer} refused: it is not this host's superuser",
                name=call.procedure.name,
                peer=call.peer,
            )
        return NiStatus.NI_PERM

    async def _change_by_password(self, call: IncomingCall, password: bytes) -> Any:
        """For whoever knows root's password; the uid does not matter (NETINFO 3.6)."""
        host = call.peer.host
        if self.throttle.blocks(host, self.clock()):
            return self._refuse(call)
        if not await self.domains.is_root_password(password):
            self.throttle.failed(host, self.clock())
            return self._refuse(call)
        changed = self._change(call.procedure.name, call.argument)
        return await changed if isinstance(changed, Awaitable) else changed

    def _tell(self, name: str, argument: Any, client: str) -> Any:
        """What anybody may ask."""
        match name:
            case "PING":
                return None
            case "GETREGISTER":
                return self._getregister(self._meant(argument, client))
            case "LISTREG":
                return Result(NiStatus.NI_OK, self.registry.entries())
            case _:
                return self._bind(argument)

    def _change(self, name: str, argument: Any) -> Any:
        """What the superuser may do."""
        match name:
            case "REGISTER":
                return self._register(argument)
            case "UNREGISTER":
                self.registry.remove(c_string(argument))  # NI_OK even if it was not there
                return NiStatus.NI_OK
            case "CREATEMASTER":
                tag = c_string(argument)
                return self._create(tag, lambda: self.domains.create_master(tag))
            case "CREATECLONE":
                args = attrs.evolve(
                    argument, tag=c_string(argument.tag), master_tag=c_string(argument.master_tag)
                )
                return self._create(args.tag, lambda: self.domains.create_clone(args))
            case _:
                return self._destroy(c_string(argument))

    def _meant(self, tag: bytes, client: str) -> bytes:
        """The tag of the domain that a client means."""
        tag = c_string(tag)
        return self.domains.real_tag(tag, client) if self.generation.tag_aliases else tag

    async def _getregister(self, tag: bytes) -> Result:
        entry = self.registry.find(tag)
        if entry is None:
            return Result(NiStatus.NI_NOTAG, None)
        if self.generation.binder_pings and not await self.domains.is_alive(entry):
            return Result(NiStatus.NI_NORESPONSE, None)
        return Result(NiStatus.NI_OK, entry.addresses)

    def _register(self, registration: Registration) -> NiStatus:
        tag = c_string(registration.tag)
        ports = registration.addresses
        if not is_tag(tag) or not (ports.udp_port < 65536 and ports.tcp_port < 65536):
            return NiStatus.NI_SYSTEMERR
        if not self.registry.add(Registration(tag, AddrInfo(ports.udp_port, ports.tcp_port))):
            log.warn(
                "{tag} not registered: there are {n} domains already", tag=tag.decode(), n=REGISTRATION_LIMIT
            )
            return NiStatus.NI_NOSPACE
        return NiStatus.NI_OK

    async def _create(self, tag: bytes, create: Callable[[], Awaitable[None]]) -> NiStatus:
        if self.registry.find(tag) is not None:
            return NiStatus.NI_DUPTAG
        if not is_tag(tag):
            log.warn("no domain made: {tag!r} is not a tag", tag=tag)
            return NiStatus.NI_SYSTEMERR
        if len(self.registry.entries()) >= REGISTRATION_LIMIT:
            return NiStatus.NI_NOSPACE
        return await self._attempt(create)

    async def _destroy(self, tag: bytes) -> NiStatus:
        if self.registry.find(tag) is None:
            return NiStatus.NI_NOTAG
        self.registry.remove(tag)
        return await self._attempt(lambda: self.domains.destroy(tag))

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> NiStatus:
        try:
            await work()
        except DomainError as error:
            log.error("{error}", error=error)
            return NiStatus.NI_SYSTEMERR
        return NiStatus.NI_OK

    async def _bind(self, args: BindArgs) -> Any:
        """Pass the question on; only a yes is answered (NETINFO 4.2)."""
        entry = self.registry.find(self._meant(args.server_tag, to_text(args.client_address)))
        if entry is not None and self._asking < BINDS_AT_ONCE:
            self._asking += 1
            try:
                if await self.domains.asks_bind(
                    entry, BindArgs(args.client_address, c_string(args.client_tag), args.server_tag)
                ):
                    return None
            except TransportError as error:
                log.info("BIND: {error}", error=error)
            finally:
                self._asking -= 1
        if self.generation.unserved_bind_silent:
            return NO_REPLY
        raise AcceptError(AcceptStatus.SYSTEM_ERR)
