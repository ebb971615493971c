"""Opening domains by name: `.`, `..`, `/`, a child's name, a path of these, or a server (NETINFO 4.5)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import pairwise

import attrs

from netinfo.addresses import is_loopback, own_addresses, to_text
from netinfo.client.domain import NAME, ROOT, Domain, Options
from netinfo.client.errors import CannotConnectError, CommunicationError, NetInfoError
from netinfo.client.names import (
    LOCAL_TAG,
    PORTMAPPER_PORT,
    DirectServer,
    DomainName,
    DomainPath,
    Portmapper,
    ServerName,
    TaggedServer,
    escape,
    escape_domain,
    local_portmapper,
)
from netinfo.client.network import Network
from netinfo.properties import values_of
from wire.formats.netinfo import Entry, NiId, NiStatus

NETINFO_LOCAL_PORT = 1033
"""Where Mac OS X's domain `local` listens, whatever its portmapper says (NETINFO 1.1)."""
PARENT_PAUSE = 4.0
"""Seconds between questions for a parent that does not respond yet."""
UNKNOWN = b"###UNKNOWN###"
"""`ni_pwdomain`'s name for a domain that its parent does not list."""
LEVELS = 32
"""Most domains on the way up to the root; a longer way is a circle."""


@attrs.frozen
class Opener:
    """Opens domains over a network.

    portmapper: this host's, for `.`; its port is taken for every other host that is found in a domain, too,
    so that a lab on high ports works. Historically it is 127.0.0.1:111.
    """

    network: Network
    portmapper: Portmapper = attrs.Factory(local_portmapper)
    options: Options = attrs.field(factory=Options)

    def at(self, servers: Sequence[ServerName]) -> Domain:
        """A domain by its servers; nothing is asked until the first call."""
        return Domain(self.network, servers, self.options)

    async def open(self, name: DomainName) -> Domain:
        """The domain of a name, seen to be alive. Raises `CannotConnectError`, or `NetInfoError`."""
        if isinstance(name, DomainPath):
            return await self._open_path(name)
        domain = self.at([name])
        await self._prove(domain)
        return domain

    async def _prove(self, domain: Domain) -> None:
        try:
            await domain.root()
        except CommunicationError as error:
            raise CannotConnectError(error.about, error.reason) from error.__cause__

    async def _open_path(self, path: DomainPath) -> Domain:
        domain = await self.local()
        if path.absolute:
            *below, domain = await self.climb(domain)
            _close(below)
        for step in path.steps:
            if step == b".":
                continue
            left = domain
            try:
                domain = await (self.parent(left) if step == b".." else self.child(left, step))
            finally:
                left.close()
        return domain

    async def local(self) -> Domain:
        """The domain `local` of this host."""
        server: ServerName = TaggedServer(self.portmapper, LOCAL_TAG)
        domain = self.at([server])
        try:
            await domain.root()
            return domain
        except NetInfoError as error:
            found = error
        if self.portmapper.port == PORTMAPPER_PORT and is_loopback(
            await self.network.resolve(self.portmapper.host)
        ):
            domain = self.at([DirectServer(self.portmapper.host, NETINFO_LOCAL_PORT)])
            try:
                await domain.root()
                return domain
            except NetInfoError:
                pass
        raise CannotConnectError(f"local domain ({server})", getattr(found, "reason", str(found))) from found

    async def climb(self, domain: Domain) -> list[Domain]:
        """A domain, its parent, its parent's parent, up to the root. Raises `NetInfoError` unless the top is
        reached."""
        chain = [domain]
        while len(chain) < LEVELS:
            try:
                chain.append(await self.parent(chain[-1]))
            except NetInfoError as error:
                if error.status == NiStatus.NI_NETROOT:
                    return chain
                _close(chain[1:])
                raise
        _close(chain[1:])
        raise NetInfoError(NiStatus.NI_NETROOT, f"{domain} has more than {LEVELS} domains above it")

    async def parent(self, domain: Domain) -> Domain:
        """The parent of a domain. Raises `NetInfoError` NI_NETROOT at the top, NI_NORESPONSE if it stays
        silent."""
        waited = 0.0
        while True:
            try:
                binding = await domain.rparent()
                break
            except NetInfoError as error:
                if error.status != NiStatus.NI_NORESPONSE or waited >= self.options.patience:
                    raise
            await self.network.sleep(PARENT_PAUSE)
            waited += PARENT_PAUSE
        nearest = self._server(to_text(binding.address), binding.tag)
        parent = self.at([nearest])
        try:
            known = [self._server(host, tag) for host, tag in await self._servers_of(parent)]
        except BaseException:
            parent.close()
            raise
        if (
            nearest in known
        ):  # else the database does not know the address its server was reached at: keep to that one
            known.remove(nearest)
            parent.add_servers(known)
        parent.credential = domain.credential
        return parent

    def _server(self, host: str, tag: bytes) -> TaggedServer:
        return TaggedServer(Portmapper(host, self.portmapper.port), tag)

    async def _servers_of(self, domain: Domain) -> list[tuple[str, bytes]]:
        """All servers of a domain, from the domain itself: its figure `domain_servers`, else its machines."""
        listed = values_of(await domain.statistics(), b"domain_servers")
        if listed:
            pairs = [os.fsdecode(value).partition("/") for value in listed]
            return [(host, os.fsencode(tag)) for host, _, tag in pairs]
        return await self._machines_serving(domain, b".")

    async def child(self, domain: Domain, name: bytes) -> Domain:
        """A child of a domain, by the name it has there. Raises `NetInfoError` NI_NODIR if there is none."""
        servers = [self._server(host, tag) for host, tag in await self._machines_serving(domain, name)]
        if not servers:
            raise NetInfoError(NiStatus.NI_NODIR, f"child domain {os.fsdecode(name)} of {domain}")
        child = self.at(servers)
        child.credential = domain.credential
        await self._prove(child)
        return child

    async def children(self, domain: Domain) -> tuple[bytes, ...]:
        """The names of a domain's child domains, as its machines' `serves` values have them."""
        try:
            machines = await domain.find(b"/machines")
        except NetInfoError as error:
            if error.status not in (NiStatus.NI_NODIR, NiStatus.NI_BADID):
                raise
            return ()
        values = (value for entry in await domain.list(machines, b"serves") for value in entry.names or ())
        names = (name for name, slash, _ in (value.rpartition(b"/") for value in values) if slash)
        return tuple(dict.fromkeys(name for name in names if name not in (b".", b"..")))

    async def _machines_serving(self, domain: Domain, name: bytes) -> list[tuple[str, bytes]]:
        """Address and tag of every machine with `name/tag` among its `serves`."""
        try:
            machines = NiId((await domain.lookup(ROOT, NAME, b"machines"))[0], 0)
        except NetInfoError as error:
            if error.status != NiStatus.NI_NODIR:
                raise
            return []
        found = []
        for entry in await domain.list(machines, b"serves"):
            for tag in _tags(entry, name):
                addresses = values_of(await domain.read(NiId(entry.id, 0)), b"ip_address")
                found += [(os.fsdecode(address), tag) for address in addresses]
        return found

    async def name_of(self, domain: Domain) -> bytes:
        """The path of a domain from the root, as the domains above it name it (NETINFO 4.5, `ni_pwdomain`).

        Names are escaped; a domain that its parent does not list is `###UNKNOWN###`; the root is `/`.
        """
        chain = await self.climb(domain)
        try:
            names = [await self._name_in(parent, child) for child, parent in pairwise(chain)]
        finally:
            _close(chain[1:])
        return b"/" + b"/".join(reversed(names))

    async def _name_in(self, parent: Domain, child: Domain) -> bytes:
        server = child.servers[0]
        if not isinstance(server, TaggedServer):
            return UNKNOWN
        addresses = [await self.network.resolve(server.portmapper.host)]
        if is_loopback(addresses[0]):
            addresses += own_addresses()
        for address in addresses:
            try:
                machine = await parent.find(b"/machines/ip_address=" + escape(os.fsencode(address)))
            except NetInfoError as error:
                if error.status != NiStatus.NI_NODIR:
                    raise
                continue
            for value in values_of(await parent.read(machine), b"serves"):
                name, slash, tag = value.rpartition(b"/")
                if slash and tag == server.tag and name not in (b".", b".."):
                    return escape_domain(name)
        return UNKNOWN


def _close(domains: Iterable[Domain]) -> None:
    """Close the connections of domains that were only on the way."""
    for domain in domains:
        domain.close()


def _tags(entry: Entry, name: bytes) -> Iterable[bytes]:
    """The tags under which an entry's machine serves the domain of that name."""
    for value in entry.names or ():
        theirs, slash, tag = value.rpartition(b"/")
        if slash and theirs == name:
            yield tag
