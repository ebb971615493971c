"""The 29 procedures of the NetInfo program, as functions of a domain (NETINFO 2.5, 2.6).

Each takes the domain, the call's argument and the caller, and gives the result. `TABLE` finds one by its number in
`wire.formats.netinfo.NETINFO`. The order of the checks is part of the protocol: who calls, unknown id, stale
instance, index out of range, permission; then the rules of DESTROY and the limits. An error changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netinfo import hierarchy, replication, statistics
from netinfo.access import HIDDEN, SUPERUSER, Caller, Identity, StatusError, View, hide, keep_hidden, show
from netinfo.events import Changed, CheckMaster, ResyncClones
from netinfo.properties import values_of
from netinfo.tree import ROOT, Directory, c_string, c_strings
from wire.formats.netinfo import (
    NETINFO,
    Binding,
    ChildrenBody,
    CreateArgs,
    CreateBody,
    CreateNameArgs,
    CreatePropArgs,
    DestroyArgs,
    Entry,
    ListallBody,
    ListArgs,
    ListBody,
    LookupArgs,
    LookupBody,
    NameIndexArgs,
    NamelistBody,
    NiId,
    NiStatus,
    ParentBody,
    PropArgs,
    Property,
    ProplistBody,
    ReadallBody,
    ReadNameBody,
    RenamePropArgs,
    Result,
    WriteArgs,
    WriteNameArgs,
    WritePropArgs,
)

if TYPE_CHECKING:
    from netinfo.domain import Domain

OK = NiStatus.NI_OK
NEWEST = 0xFFFFFFFF
"""As an object number in SELF: the directory of a version; as an instance: the newest (NETINFO 2.3)."""
VERSION_OF = 0xFFFFFFFE

Handler = Callable[["Domain", Any, Caller], Any]
TABLE: dict[int, Handler] = {}


class NotServedError(Exception):
    """A BIND to which the answer is no: silence, or RPC SYSTEM_ERR (`Generation.unserved_bind_silent`)."""


def procedure(name: str) -> Callable[[Handler], Handler]:
    """The decorated function answers the procedure called *name*."""

    def register(handler: Handler) -> Handler:
        TABLE[NETINFO.by_name[name].number] = handler
        return handler

    return register


def answer(name: str) -> Callable[[Handler], Handler]:
    """As `procedure`, for results with a status: a refusal becomes one."""
    changes = NETINFO.by_name[name].mutates

    def register(handler: Handler) -> Handler:
        def answered(domain: Domain, argument: Any, caller: Caller) -> Result:
            try:
                return Result(OK, handler(domain, argument, caller))
            except StatusError as refused:
                if changes and domain.clone and refused.status != NiStatus.NI_RDONLY:
                    # The master's update does not fit: this clone is behind (NETINFO 5.1).
                    domain.outbox.append(CheckMaster(trusted=True))
                return Result(refused.status, None)

        return procedure(name)(answered)

    return register


# --- finding ------------------------------------------------------------------------------------------------


def fetch(domain: Domain, number: int) -> Directory:
    """The directory with this number, whatever the instance (NETINFO 2.2)."""
    found = domain.tree.directories.get(number)
    if found is None:
        raise StatusError(domain.generation.unknown_id)
    return found


def fetch_current(domain: Domain, wanted: NiId) -> Directory:
    """The directory that a write means; its instance must be current (NETINFO 2.5)."""
    found = fetch(domain, wanted.object)
    if found.instance != wanted.instance:
        raise StatusError(NiStatus.NI_STALE)
    return found


def property_at(directory: Directory, index: int) -> Property:
    if index >= len(directory.properties):
        raise StatusError(NiStatus.NI_NOPROP)
    return directory.properties[index]


def name_at(prop: Property, index: int) -> bytes:
    if index >= len(prop.values):
        raise StatusError(NiStatus.NI_NONAME)
    return prop.values[index]


def view_of(domain: Domain, caller: Caller) -> View:
    """How this caller sees properties (guard `passwords`)."""
    return show if domain.access.sees_passwords(domain.tree, caller) else hide


# --- reading ------------------------------------------------------------------------------------------------


@procedure("PING")
def ping(domain: Domain, argument: None, caller: Caller) -> None:
    """Shows that the server lives."""


@procedure("STATISTICS")
def statistics_(domain: Domain, argument: None, caller: Caller) -> tuple[Property, ...]:
    return statistics.properties(domain, caller)


@answer("ROOT")
def root(domain: Domain, argument: None, caller: Caller) -> NiId:
    """The root, which is made if there is none (NETINFO 2.6)."""
    if ROOT not in domain.tree.directories:
        domain.outbox.append(Changed(domain.tree.create_root()))
    return domain.tree.directories[ROOT].id


@answer("SELF")
def self_(domain: Domain, argument: NiId, caller: Caller) -> NiId:
    tree = domain.tree
    if domain.generation.version_reads and argument.object == NEWEST:
        version = tree.totals.version if argument.instance == NEWEST else argument.instance
        found = tree.with_version(version)
        if found is None:
            raise StatusError(domain.generation.unknown_id)
        return NiId(found.number, version)
    if domain.generation.version_reads and argument.object == VERSION_OF:
        return NiId(argument.instance, fetch(domain, argument.instance).version)
    return fetch(domain, argument.object).id


@answer("PARENT")
def parent(domain: Domain, argument: NiId, caller: Caller) -> ParentBody:
    found = fetch(domain, argument.object)
    return ParentBody(found.parent, found.id)


@answer("CHILDREN")
def children(domain: Domain, argument: NiId, caller: Caller) -> ChildrenBody:
    found = fetch(domain, argument.object)
    return ChildrenBody(tuple(found.children), found.id)


@answer("READ")
def read(domain: Domain, argument: NiId, caller: Caller) -> ProplistBody:
    found = fetch(domain, argument.object)
    return ProplistBody(found.id, view_of(domain, caller)(found.properties))


@answer("LISTPROPS")
def listprops(domain: Domain, argument: NiId, caller: Caller) -> NamelistBody:
    found = fetch(domain, argument.object)
    return NamelistBody(tuple(prop.name for prop in found.properties), found.id)


@answer("READPROP")
def readprop(domain: Domain, argument: PropArgs, caller: Caller) -> NamelistBody:
    found = fetch(domain, argument.id.object)
    property_at(found, argument.index)
    return NamelistBody(view_of(domain, caller)(found.properties)[argument.index].values, found.id)


@answer("READNAME")
def readname(domain: Domain, argument: NameIndexArgs, caller: Caller) -> ReadNameBody:
    found = fetch(domain, argument.id.object)
    property_at(found, argument.prop_index)
    prop = view_of(domain, caller)(found.properties)[argument.prop_index]
    return ReadNameBody(found.id, name_at(prop, argument.name_index))


def search(domain: Domain, argument: LookupArgs, caller: Caller) -> tuple[Directory, tuple[int, ...]]:
    """The directory that LOOKUP names, and the children it finds there, at least one (NETINFO 2.6)."""
    found = fetch(domain, argument.id.object)
    key = c_string(argument.key)
    hits = domain.tree.find(found, key, c_string(argument.value))
    if not hits or (key == HIDDEN and not domain.access.sees_passwords(domain.tree, caller)):
        raise StatusError(NiStatus.NI_NODIR)
    return found, tuple(hits)


@answer("LOOKUP")
def lookup(domain: Domain, argument: LookupArgs, caller: Caller) -> LookupBody:
    found, hits = search(domain, argument, caller)
    return LookupBody(hits, found.id)


@answer("LOOKUPREAD")
def lookupread(domain: Domain, argument: LookupArgs, caller: Caller) -> ProplistBody:
    """The first hit's properties; the id is that of the directory searched (NETINFO 2.6)."""
    found, hits = search(domain, argument, caller)
    return ProplistBody(found.id, view_of(domain, caller)(domain.tree.directories[hits[0]].properties))


@answer("LIST")
def list_(domain: Domain, argument: ListArgs, caller: Caller) -> ListBody:
    """A property without values is reported like one that is not there (NETINFO 2.6)."""
    found = fetch(domain, argument.id.object)
    name, view = c_string(argument.name), view_of(domain, caller)
    if name == HIDDEN and view is hide:
        return ListBody(tuple(Entry(number, None) for number in found.children), found.id)
    entries = (
        Entry(child.number, values_of(child.properties, name) or None)
        for child in domain.tree.children(found)
    )
    return ListBody(tuple(entries), found.id)


@answer("LISTALL")
def listall(domain: Domain, argument: NiId, caller: Caller) -> ListallBody:
    found = fetch(domain, argument.object)
    view = view_of(domain, caller)
    return ListallBody(found.id, tuple(view(child.properties) for child in domain.tree.children(found)))


# --- writing ------------------------------------------------------------------------------------------------


def authorize(domain: Domain, caller: Caller) -> Identity:
    """Who wants to write (NETINFO 2.5, step 1)."""
    around = domain.surroundings
    if around.locked or (around.sending and domain.generation.busy_while_sending):
        raise StatusError(NiStatus.NI_MASTERBUSY)
    if domain.clone:
        if not replication.is_update(domain, caller):
            raise StatusError(NiStatus.NI_RDONLY)
        return SUPERUSER
    return domain.access.identify(domain.tree, caller)


def store(
    domain: Domain,
    directory: Directory,
    properties: tuple[Property, ...],
    name: str,
    argument: Any,
) -> NiId:
    """Give a directory its new properties; the argument goes to the clones as it came (NETINFO 5.1)."""
    if not domain.limits.admit(properties):
        raise StatusError(NiStatus.NI_NOSPACE)
    domain.changed(domain.tree.write(directory, properties), name, argument)
    return directory.id


def inserted(items: tuple[Any, ...], where: int, item: Any) -> tuple[Any, ...]:
    """*item* before the one at *where*; at or beyond the end, after all (NETINFO 2.4)."""
    return (*items[:where], item, *items[where:])


def replaced(items: tuple[Any, ...], index: int, *new: Any) -> tuple[Any, ...]:
    return (*items[:index], *new, *items[index + 1 :])


@answer("CREATE")
def create(domain: Domain, argument: CreateArgs, caller: Caller) -> CreateBody:
    tree, limits = domain.tree, domain.limits
    identity = authorize(domain, caller)
    found = fetch_current(domain, argument.parent)
    domain.access.directory_write(identity, found)
    target = argument.target if domain.generation.honours_target and identity.superuser else None
    if target is not None and target.object in tree.directories:
        raise StatusError(NiStatus.NI_ALIVE)
    properties = tuple(map(c_strings, argument.properties))
    if (
        not limits.admit(properties)
        or len(found.children) >= limits.children
        or len(tree.directories) >= limits.directories
        or found.depth >= limits.depth
        or (target is not None and target.object > tree.totals.slots + limits.target_gap)
    ):
        raise StatusError(NiStatus.NI_NOSPACE)
    child, commit = tree.create(found, properties, argument.where, target)
    domain.changed(
        commit,
        "CREATE",
        CreateArgs(argument.parent, argument.properties, argument.where, child.id),
    )
    return CreateBody(child.id, found.id)


@answer("DESTROY")
def destroy(domain: Domain, argument: DestroyArgs, caller: Caller) -> NiId:
    identity = authorize(domain, caller)
    found = fetch_current(domain, argument.parent)
    domain.access.directory_write(identity, found)
    child = domain.tree.directories.get(argument.child.object)
    if child is None:
        raise StatusError(domain.generation.unknown_child)
    if child.instance != argument.child.instance:
        raise StatusError(NiStatus.NI_STALE)
    if child.children:
        raise StatusError(NiStatus.NI_NOTEMPTY)
    if child.number not in found.children:
        raise StatusError(NiStatus.NI_UNRELATED)
    domain.changed(domain.tree.destroy(child), "DESTROY", argument)
    return found.id


@answer("WRITE")
def write(domain: Domain, argument: WriteArgs, caller: Caller) -> NiId:
    identity = authorize(domain, caller)
    found = fetch_current(domain, argument.id)
    domain.access.directory_write(identity, found)
    properties = tuple(map(c_strings, argument.properties))
    if not domain.access.sees_passwords(domain.tree, caller):
        properties = keep_hidden(found.properties, properties)
        argument = WriteArgs(argument.id, properties)
    return store(domain, found, properties, "WRITE", argument)


@answer("CREATEPROP")
def createprop(domain: Domain, argument: CreatePropArgs, caller: Caller) -> NiId:
    """Does not look for a property of that name (NETINFO 2.6)."""
    identity = authorize(domain, caller)
    found = fetch_current(domain, argument.id)
    domain.access.directory_write(identity, found)
    properties = inserted(found.properties, argument.where, c_strings(argument.property))
    return store(domain, found, properties, "CREATEPROP", argument)


@answer("DESTROYPROP")
def destroyprop(domain: Domain, argument: PropArgs, caller: Caller) -> NiId:
    identity = authorize(domain, caller)
    found = fetch_current(domain, argument.id)
    property_at(found, argument.index)
    domain.access.directory_write(identity, found)
    return store(
        domain,
        found,
        replaced(found.properties, argument.index),
        "DESTROYPROP",
        argument,
    )


@answer("RENAMEPROP")
def renameprop(domain: Domain, argument: RenamePropArgs, caller: Caller) -> NiId:
    identity = authorize(domain, caller)
    found = fetch_current(domain, argument.id)
    prop = property_at(found, argument.index)
    domain.access.directory_write(identity, found)
    if prop.name == HIDDEN and not domain.access.sees_passwords(domain.tree, caller):
        raise StatusError(NiStatus.NI_PERM)  # whose values would be shown under any other name
    renamed = Property(c_string(argument.name), prop.values)
    return store(
        domain,
        found,
        replaced(found.properties, argument.index, renamed),
        "RENAMEPROP",
        argument,
    )


@answer("WRITEPROP")
def writeprop(domain: Domain, argument: WritePropArgs, caller: Caller) -> NiId:
    identity = authorize(domain, caller)
    found = fetch_current(domain, argument.id)
    prop = property_at(found, argument.index)
    domain.access.values_write(identity, found, argument.index)
    values = tuple(map(c_string, argument.values))
    return write_values(domain, found, argument.index, Property(prop.name, values), "WRITEPROP", argument)


@answer("CREATENAME")
def createname(domain: Domain, argument: CreateNameArgs, caller: Caller) -> NiId:
    identity = authorize(domain, caller)
    found = fetch_current(domain, argument.id)
    prop = property_at(found, argument.index)
    domain.access.property_write(identity, found, argument.index)
    values = inserted(prop.values, argument.where, c_string(argument.name))
    return write_values(domain, found, argument.index, Property(prop.name, values), "CREATENAME", argument)


@answer("WRITENAME")
def writename(domain: Domain, argument: WriteNameArgs, caller: Caller) -> NiId:
    identity = authorize(domain, caller)
    found = fetch_current(domain, argument.id)
    prop = property_at(found, argument.prop_index)
    name_at(prop, argument.name_index)
    domain.access.property_write(identity, found, argument.prop_index)
    values = replaced(prop.values, argument.name_index, c_string(argument.name))
    return write_values(
        domain, found, argument.prop_index, Property(prop.name, values), "WRITENAME", argument
    )


@answer("DESTROYNAME")
def destroyname(domain: Domain, argument: NameIndexArgs, caller: Caller) -> NiId:
    """The property stays, without its last value too (NETINFO 2.6)."""
    identity = authorize(domain, caller)
    found = fetch_current(domain, argument.id)
    prop = property_at(found, argument.prop_index)
    name_at(prop, argument.name_index)
    domain.access.property_write(identity, found, argument.prop_index)
    values = replaced(prop.values, argument.name_index)
    return write_values(
        domain, found, argument.prop_index, Property(prop.name, values), "DESTROYNAME", argument
    )


def write_values(
    domain: Domain, found: Directory, index: int, prop: Property, name: str, argument: Any
) -> NiId:
    return store(domain, found, replaced(found.properties, index, prop), name, argument)


# --- hierarchy and replication ------------------------------------------------------------------------------


@answer("RPARENT")
def rparent(domain: Domain, argument: None, caller: Caller) -> Binding:
    """The parent's server that the outside found (`Surroundings.parent`); looking for one is not the domain's work."""
    return hierarchy.parent(domain)


@procedure("BIND")
def bind(domain: Domain, argument: Binding, caller: Caller) -> None:
    """Raises NotServedError unless this domain serves that server as its parent (NETINFO 2.6)."""
    if not hierarchy.serves(domain.tree, c_string(argument.tag), argument.address):
        raise NotServedError


def transfer_view(domain: Domain, caller: Caller) -> View:
    """A clone receives everything; somebody else who may read all sees what it would see anyway."""
    return show if replication.serves_domain(domain, caller.address) else view_of(domain, caller)


@answer("READALL")
def readall(domain: Domain, argument: int, caller: Caller) -> ReadallBody:
    """The whole domain as a value; a server that streams uses `replication.may_read_all` and `replication.transfer`."""
    if replication.may_read_all(domain, argument, caller):
        objects = tuple(replication.snapshot(domain.tree, transfer_view(domain, caller)))
        return ReadallBody(domain.tree.checksum, domain.tree.highest_id, objects)
    return ReadallBody(0, 0, ())


@procedure("CRASHED")
def crashed(domain: Domain, argument: int, caller: Caller) -> None:
    """A master has started. A clone with another checksum checks; a master takes no notice (NETINFO 5.2)."""
    if domain.clone and argument != domain.tree.checksum:
        domain.outbox.append(CheckMaster(trusted=caller.own or replication.is_master(domain, caller)))


@procedure("RESYNC")
def resync(domain: Domain, argument: None, caller: Caller) -> NiStatus:
    """Always NI_OK, for anybody (NETINFO 5.2); `updates.Pace` keeps strangers from abusing it."""
    if domain.clone:
        domain.outbox.append(CheckMaster(trusted=caller.own or replication.is_master(domain, caller)))
    else:
        domain.outbox.append(ResyncClones(trusted=caller.own))
    return OK


_missing = [row.name for row in NETINFO.procedures if row.number not in TABLE]
if _missing:
    raise TypeError(f"netinfo.procedures does not answer {', '.join(_missing)}")
