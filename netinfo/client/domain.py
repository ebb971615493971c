"""An open domain: the calls of NetInfo, with the original library's rules for servers that fail (NETINFO
4.5).

A `Domain` knows the servers of one domain and keeps one connection. Reads go to whichever server answers,
writes to the master; a connection found closed is opened again once and the call repeated, which is safe for
writes too, because each names the instance that it changes (NETINFO 2.2).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import attrs

from netinfo.client.errors import CannotConnectError, CommunicationError, NetInfoError
from netinfo.client.names import ServerName, TaggedServer
from netinfo.client.network import Link, Network
from netinfo.client.paths import DirectoryPath, parse_path
from netinfo.client.servers import connect, first_alive
from netinfo.credential import credential
from netinfo.properties import values_of
from wire.formats.errors import FormatError
from wire.formats.netinfo import (
    NETINFO,
    NI_INDEX_NULL,
    Binding,
    CreateArgs,
    CreateBody,
    CreateNameArgs,
    CreatePropArgs,
    DestroyArgs,
    Entry,
    ListArgs,
    LookupArgs,
    NameIndexArgs,
    NiId,
    NiStatus,
    PropArgs,
    Property,
    ReadallBody,
    RenamePropArgs,
    Result,
    WriteArgs,
    WriteNameArgs,
    WritePropArgs,
)
from wire.formats.rpc import AUTH_NONE
from wire.transport.errors import (
    ConnectionClosed,
    RpcConnectionLost,
    RpcError,
    RpcTimeout,
    TransportError,
)

ROOT = NiId(0, 0)
"""The root, for reading; reads ignore the instance."""
NAME = b"name"


@attrs.frozen
class Options:
    """How patient a client is; times in seconds (NETINFO 4.5)."""

    read_timeout: float = 5.0
    write_timeout: float = 60.0
    patience: float = 0.0
    """How long reads that no server answers are tried again; the original's default was for ever."""
    reads_from_master: bool = False
    """The original's `ni_needwrite(1)`: every call goes to the master."""


class Domain:
    """One domain, by the servers that have it."""

    def __init__(self, network: Network, servers: Sequence[ServerName], options: Options = Options()) -> None:
        self.network = network
        self.servers = list(servers)
        self.options = options
        self.credential = AUTH_NONE
        self._link: Link | None = None
        self._master: ServerName | None = self.servers[0] if len(self.servers) == 1 else None
        self._pid = os.getpid()

    def __str__(self) -> str:
        return str(self.servers[0])

    def close(self) -> None:
        """Close the connection, if one is open. The next call opens another."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def add_servers(self, others: Sequence[ServerName]) -> None:
        """More servers of the same domain have become known; the connection stays."""
        self.servers += others
        self._master = self.servers[0] if len(self.servers) == 1 else None

    async def authenticate(self, user: bytes, password: str | bytes) -> None:
        """From now on call as *user*, whose number the domain itself tells (NETINFO 3.3).

        Raises `NetInfoError` NI_NOUSER for a user it does not have, or whose uid is not a number.
        """
        about = f"user {os.fsdecode(user)}"
        try:
            users = (await self.lookup(ROOT, NAME, b"users"))[0]
            (uid, *_) = values_of(await self.lookupread(NiId(users, 0), NAME, user), b"uid") or (b"",)
        except NetInfoError as error:
            if error.status != NiStatus.NI_NODIR:
                raise
            raise NetInfoError(NiStatus.NI_NOUSER, about) from None
        if not uid.lstrip(b"-").isdigit():
            raise NetInfoError(NiStatus.NI_NOUSER, about)
        self.credential = credential(int(uid), password)

    # --- servers -----------------------------------------------------------------------------------------

    async def _connected(self, patience: float) -> Link:
        if self._pid != os.getpid():  # after a fork the connection is the parent's
            self._link, self._pid = None, os.getpid()
        link = self._link
        if link is None:
            link = await connect(self.network, self.servers[0], patience)
            other, self._link = self._link, self._link or link
            if other is not None:  # another call has been faster, and one connection is enough
                link.close()
                link = other
        return link

    async def _attempt(self, name: str, argument: Any, patience: float) -> Any:
        """Call the present server; open its connection again once if it turns out to be closed."""
        was_open = self._link is not None
        try:
            return await self._once(name, argument, patience)
        except ConnectionClosed:
            if not was_open:
                raise
        return await self._once(name, argument, patience)

    async def _once(self, name: str, argument: Any, patience: float) -> Any:
        try:
            link = await self._connected(patience)
        except TransportError as error:
            raise CannotConnectError(str(self), str(error)) from error
        try:
            return await link.call(NETINFO.by_name[name], argument, self.credential, patience)
        except BaseException:  # whoever gave up, or aborted, left half a conversation behind
            link.close()
            if self._link is link:  # and not one that another call has opened meanwhile
                self._link = None
            raise

    async def _read(self, name: str, argument: Any) -> Any:
        """A call that any server can answer: each is tried, first those whose binders answer, and after all of them a
        pause is made, 0, 4, 8 ... 64 seconds, as long as patience lasts.
        """
        waited, pause = 0.0, 0.0
        while True:
            untried = list(self.servers)
            while untried:
                if self.servers[0] not in untried:
                    self._prefer(await first_alive(self.network, untried) or untried[0])
                untried.remove(self.servers[0])
                try:
                    return await self._attempt(name, argument, self.options.read_timeout)
                except (TransportError, NetInfoError) as error:
                    if _is_refusal(error):
                        raise self._failed(error) from error
                    last = error
            if waited + pause >= self.options.patience:
                raise self._failed(last) from last
            await self.network.sleep(pause)
            waited += pause
            pause = min(pause + 4.0, 64.0)

    def _prefer(self, server: ServerName) -> None:
        """Put a server in front."""
        if server != self.servers[0]:
            self.close()
            self.servers.remove(server)
            self.servers.insert(0, server)

    async def _write(self, name: str, argument: Any) -> Any:
        """A call for the master alone; it never fails over."""
        await self._to_master()
        try:
            return await self._attempt(name, argument, self.options.write_timeout)
        except (TransportError, NetInfoError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> NetInfoError:
        if isinstance(error, NetInfoError):
            return error
        return CommunicationError(str(self), str(error))

    async def _to_master(self) -> None:
        """Put the master in front: the root's `master`, by its machine's addresses (NETINFO 4.5)."""
        if self._master is None:
            self._master = await self._find_master()
        self._prefer(self._master)

    async def _find_master(self) -> ServerName:
        reader = Domain(self.network, self.servers, attrs.evolve(self.options, reads_from_master=False))
        try:
            (master, *_) = values_of(await reader.read(ROOT), b"master") or (b"",)
            host, _, tag = master.partition(b"/")
            machines = (await reader.lookup(ROOT, NAME, b"machines"))[0]
            machine = await reader.lookupread(NiId(machines, 0), NAME, host)
        except NetInfoError as error:
            if isinstance(error, CommunicationError):
                raise
            raise NetInfoError(NiStatus.NI_CANTFINDADDRESS, f"master of {self}") from None
        finally:
            reader.close()
        addresses = {os.fsdecode(address) for address in values_of(machine, b"ip_address")}
        for server in self.servers:
            if isinstance(server, TaggedServer) and server.tag == tag and server.portmapper.host in addresses:
                return server
        raise NetInfoError(NiStatus.NI_CANTFINDADDRESS, f"master {os.fsdecode(master)} of {self}")

    async def call(self, name: str, argument: Any = None) -> Any:
        """Call a procedure by name and give its result as it came. Raises `CommunicationError`, also for an argument
        that is too long for its format."""
        try:
            if NETINFO.by_name[name].mutates or self.options.reads_from_master:
                return await self._write(name, argument)
            return await self._read(name, argument)
        except FormatError as error:
            raise CommunicationError(str(self), f"{name} cannot carry this argument: {error}.") from error

    async def _ok(self, name: str, argument: Any, about: str) -> Any:
        result: Result = await self.call(name, argument)
        if result.status != NiStatus.NI_OK:
            raise NetInfoError(result.status, about)
        return result.body

    # --- reading -----------------------------------------------------------------------------------------
    # Each raises NetInfoError with the server's status, CommunicationError when no server answers.

    async def ping(self) -> None:
        await self.call("PING")

    async def statistics(self) -> tuple[Property, ...]:
        """The server's figures, `checksum` first (NETINFO 2.7)."""
        result: tuple[Property, ...] = await self.call("STATISTICS")
        return result

    async def checksum(self) -> int:
        """The domain's checksum, which changes with every write (NETINFO 2.8)."""
        return int(values_of(await self.statistics(), b"checksum")[0])

    async def root(self) -> NiId:
        found: NiId = await self._ok("ROOT", None, f"root of {self}")
        return found

    async def self_id(self, directory: NiId) -> NiId:
        """The current id of a directory, whose instance is what writes must name."""
        found: NiId = await self._ok("SELF", directory, _about(directory))
        return found

    async def parent(self, directory: NiId) -> int:
        return int((await self._ok("PARENT", directory, _about(directory))).parent)

    async def children(self, directory: NiId) -> tuple[int, ...]:
        return (await self.children_with_id(directory))[1]

    async def children_with_id(self, directory: NiId) -> tuple[NiId, tuple[int, ...]]:
        """The children together with the id of the directory that has them."""
        body = await self._ok("CHILDREN", directory, _about(directory))
        return body.self_id, body.children

    async def read(self, directory: NiId) -> tuple[Property, ...]:
        result: tuple[Property, ...] = (await self._ok("READ", directory, _about(directory))).properties
        return result

    async def read_with_id(self, directory: NiId) -> tuple[NiId, tuple[Property, ...]]:
        """The properties together with the id that they belong to, for a change that depends on them."""
        body = await self._ok("READ", directory, _about(directory))
        return body.id, body.properties

    async def lookup(self, directory: NiId, key: bytes, value: bytes) -> tuple[int, ...]:
        """Numbers of the children whose property *key* holds *value*; NI_NODIR if there is none."""
        about = f"{_about(directory)}, child {os.fsdecode(key)}={os.fsdecode(value)}"
        result: tuple[int, ...] = (await self._ok("LOOKUP", LookupArgs(directory, key, value), about)).ids
        return result

    async def lookupread(self, directory: NiId, key: bytes, value: bytes) -> tuple[Property, ...]:
        """The properties of the first such child; NI_NODIR if there is none."""
        about = f"{_about(directory)}, child {os.fsdecode(key)}={os.fsdecode(value)}"
        result: tuple[Property, ...] = (
            await self._ok("LOOKUPREAD", LookupArgs(directory, key, value), about)
        ).properties
        return result

    async def list(self, directory: NiId, name: bytes) -> tuple[Entry, ...]:
        """One property of every child, in order."""
        result: tuple[Entry, ...] = (
            await self._ok("LIST", ListArgs(directory, name), _about(directory))
        ).entries
        return result

    async def listall(self, directory: NiId) -> tuple[tuple[Property, ...], ...]:
        """All properties of every child, in order, without their numbers."""
        return (await self.listall_with_id(directory))[1]

    async def listall_with_id(self, directory: NiId) -> tuple[NiId, tuple[tuple[Property, ...], ...]]:
        """The same together with the id of the directory that has these children."""
        body = await self._ok("LISTALL", directory, _about(directory))
        return body.self_id, body.proplists

    async def listprops(self, directory: NiId) -> tuple[bytes, ...]:
        """The properties' names, in order."""
        result: tuple[bytes, ...] = (await self._ok("LISTPROPS", directory, _about(directory))).names
        return result

    async def readprop(self, directory: NiId, index: int) -> tuple[bytes, ...]:
        about = f"{_about(directory)}, property {index}"
        result: tuple[bytes, ...] = (await self._ok("READPROP", PropArgs(directory, index), about)).names
        return result

    async def readname(self, directory: NiId, prop_index: int, name_index: int) -> bytes:
        about = f"{_about(directory)}, property {prop_index}, value {name_index}"
        result: bytes = (
            await self._ok("READNAME", NameIndexArgs(directory, prop_index, name_index), about)
        ).name
        return result

    async def rparent(self) -> Binding:
        """A server of the parent domain; NI_NETROOT at the top (NETINFO 4.3)."""
        found: Binding = await self._ok("RPARENT", None, f"parent of {self}")
        return found

    async def readall(self, checksum: int = 0) -> ReadallBody:
        """The whole domain; nothing but a zero checksum where *checksum* is its own already (NETINFO 5.3)."""
        body: ReadallBody = await self._ok("READALL", checksum, f"{self}")
        return body

    async def resync(self) -> None:
        """Have a clone check with its master now, a master tell its clones to (NETINFO 5.2)."""
        status = await self.call("RESYNC")
        if status != NiStatus.NI_OK:
            raise NetInfoError(status, f"{self}")

    async def crashed(self, checksum: int) -> None:
        """Tell a clone its master's checksum, as a master does when it starts (NETINFO 5.2)."""
        await self.call("CRASHED", checksum)

    async def bind(self, tag: bytes, address: int) -> None:
        """Ask whether this domain would serve as the parent of that server; no answer means no (NETINFO
        2.6)."""
        await self.call("BIND", Binding(tag, address))

    # --- changing ----------------------------------------------------------------------------------------
    # Each names the current id and gives the new one; NI_STALE means that somebody else was faster.

    async def create(
        self,
        parent: NiId,
        properties: Sequence[Property],
        where: int = NI_INDEX_NULL,
        target: NiId | None = None,
    ) -> CreateBody:
        """Make a child: its id, and the parent's new one."""
        args = CreateArgs(parent, tuple(properties), where, target)
        body: CreateBody = await self._ok("CREATE", args, f"new child of {_about(parent)}")
        return body

    async def destroy(self, parent: NiId, child: NiId) -> NiId:
        """Remove a child that has none itself; the parent's new id."""
        found: NiId = await self._ok("DESTROY", DestroyArgs(parent, child), _about(child))
        return found

    async def write(self, directory: NiId, properties: Sequence[Property]) -> NiId:
        """Replace all properties."""
        return await self._change("WRITE", directory, WriteArgs(directory, tuple(properties)))

    async def createprop(self, directory: NiId, prop: Property, where: int = NI_INDEX_NULL) -> NiId:
        return await self._change("CREATEPROP", directory, CreatePropArgs(directory, prop, where))

    async def destroyprop(self, directory: NiId, index: int) -> NiId:
        return await self._change("DESTROYPROP", directory, PropArgs(directory, index))

    async def writeprop(self, directory: NiId, index: int, values: Sequence[bytes]) -> NiId:
        return await self._change("WRITEPROP", directory, WritePropArgs(directory, index, tuple(values)))

    async def renameprop(self, directory: NiId, index: int, name: bytes) -> NiId:
        return await self._change("RENAMEPROP", directory, RenamePropArgs(directory, index, name))

    async def createname(self, directory: NiId, index: int, value: bytes, where: int = NI_INDEX_NULL) -> NiId:
        return await self._change("CREATENAME", directory, CreateNameArgs(directory, index, value, where))

    async def destroyname(self, directory: NiId, prop_index: int, name_index: int) -> NiId:
        return await self._change("DESTROYNAME", directory, NameIndexArgs(directory, prop_index, name_index))

    async def writename(self, directory: NiId, prop_index: int, name_index: int, value: bytes) -> NiId:
        return await self._change(
            "WRITENAME", directory, WriteNameArgs(directory, prop_index, name_index, value)
        )

    async def _change(self, name: str, directory: NiId, argument: Any) -> NiId:
        found: NiId = await self._ok(name, argument, _about(directory))
        return found

    # --- paths -------------------------------------------------------------------------------------------

    async def find(self, path: bytes | DirectoryPath, start: NiId = ROOT) -> NiId:
        """The current id of the directory at a path, from the root or from *start* (NETINFO 4.6).

        Raises `NetInfoError`, NI_NODIR for a step that leads nowhere.
        """
        parsed = parse_path(path) if isinstance(path, bytes) else path
        here = await self.root() if parsed.absolute else start
        about = os.fsdecode(bytes(parsed))
        for step in parsed.steps:
            body = await self._ok("LOOKUP", LookupArgs(here, step.key, step.value), about)
            here = NiId(body.ids[0], 0)
        found: NiId = await self._ok("SELF", here, about)
        return found


def _is_refusal(error: Exception) -> bool:
    """A server that answered and would not do it: another would not either."""
    return isinstance(error, RpcError) and not isinstance(error, (RpcTimeout, RpcConnectionLost))


def _about(directory: NiId) -> str:
    return f"directory {directory.object}" if directory.object else "the root directory"
