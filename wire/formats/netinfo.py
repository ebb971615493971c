"""NetInfo's messages (NETINFO 1.2): ONC RPC program 200100000 version 2.

Reads as the protocol's `.x` file would: types, the arguments of each procedure, the bodies of their results, and the
table of the 29 procedures (NETINFO 1.3). A directory's number and instance together are its id; a write names both, and
fails with NI_STALE if the instance has moved on (NETINFO 2.2).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from wire.formats.record import Field, Format, Record, View, WireType, as_format, fields_of
from wire.formats.rpc import Procedure, Program
from wire.formats.xdr import (
    I32,
    U32,
    VOID,
    Array,
    EnumOf,
    LinkedList,
    Opaque,
    OptionalOf,
    Union,
    message,
    of,
    wire,
)

NI_INDEX_NULL = 0xFFFFFFFF
"""As `where`: append (NETINFO 2.4)."""
NI_NAME_MAX = 65_535
NI_NAMELIST_MAX = 65_535
NI_PROPLIST_MAX = 65_535
NI_LIST_MAX = 1_048_576
"""Longest list of ids, entries, property lists or whole directories."""


class NiStatus(IntEnum):
    """Status of an operation (NETINFO 1.4)."""

    NI_OK = 0
    NI_BADID = 1
    NI_STALE = 2
    NI_NOSPACE = 3
    NI_PERM = 4
    NI_NODIR = 5
    NI_NOPROP = 6
    NI_NONAME = 7
    NI_NOTEMPTY = 8
    NI_UNRELATED = 9
    NI_SERIAL = 10
    NI_NETROOT = 11
    NI_NORESPONSE = 12
    NI_RDONLY = 13
    NI_SYSTEMERR = 14
    NI_ALIVE = 15
    NI_NOTMASTER = 16
    NI_CANTFINDADDRESS = 17
    NI_DUPTAG = 18
    NI_NOTAG = 19
    NI_AUTHERROR = 20
    NI_NOUSER = 21
    NI_MASTERBUSY = 22
    NI_INVALIDDOMAIN = 23
    NI_BADOP = 24
    NI_FAILED = 9999


STATUS = EnumOf(NiStatus, I32)
NAME = Opaque(NI_NAME_MAX)
NAMELIST = Array(NAME, NI_NAMELIST_MAX)
IDLIST = Array(U32, NI_LIST_MAX)


@message
class NiId:
    """ni_id: a directory's number and the instance of it that is meant."""

    object: int = wire(U32, "the directory's number; the root is 0")
    instance: int = wire(U32, "counts its changes; reads ignore it, writes must name the current one")


@message
class Property:
    """ni_property: a named list of values."""

    name: bytes = wire(NAME, "the property's name")
    values: tuple[bytes, ...] = wire(NAMELIST, "its values, in order")


PROPLIST = Array(Property, NI_PROPLIST_MAX)


@message
class Object:
    """ni_object: a whole directory, as READALL transfers it and as databases store it (NETINFO 5.3, 6.1)."""

    id: NiId = wire(of(NiId), "the directory")
    properties: tuple[Property, ...] = wire(PROPLIST, "its properties, in order")
    parent: int = wire(U32, "its parent's number; the root's is 0")
    children: tuple[int, ...] = wire(IDLIST, "its children's numbers, in order")


@message
class Entry:
    """ni_entry: one child in LIST's reply."""

    id: int = wire(U32, "the child's number")
    names: tuple[bytes, ...] | None = wire(
        OptionalOf(NAMELIST), "the listed property's values; absent if it has none"
    )


@message
class Binding:
    """ni_binding: a domain server, by the address of its host and its tag there."""

    tag: bytes = wire(NAME, "domain tag")
    address: int = wire(U32, "IPv4 address", view=View.IPV4)


# --- arguments ------------------------------------------------------------------------------------------------------


@message
class CreateArgs:
    """Arguments of CREATE (ni_create_args)."""

    parent: NiId = wire(of(NiId), "directory that gets the child; the instance must be current")
    properties: tuple[Property, ...] = wire(PROPLIST, "the child's properties")
    where: int = wire(U32, "position among the children; at or beyond the end: append")
    target: NiId | None = wire(
        OptionalOf(NiId), "the id the child shall have, told by a master to its clones"
    )


@message
class DestroyArgs:
    """Arguments of DESTROY (ni_destroy_args)."""

    parent: NiId = wire(of(NiId), "directory that loses the child; the instance must be current")
    child: NiId = wire(of(NiId), "the child, which must be childless; the instance must be current")


@message
class WriteArgs:
    """Arguments of WRITE (ni_proplist_stuff)."""

    id: NiId = wire(of(NiId), "directory to rewrite; the instance must be current")
    properties: tuple[Property, ...] = wire(PROPLIST, "all its properties from now on")


@message
class LookupArgs:
    """Arguments of LOOKUP and LOOKUPREAD (ni_lookup_args): children whose property `key` holds `value`."""

    id: NiId = wire(of(NiId), "directory to search; the instance is ignored")
    key: bytes = wire(NAME, "property name")
    value: bytes = wire(NAME, "one of its values")


@message
class ListArgs:
    """Arguments of LIST (ni_name_args)."""

    id: NiId = wire(of(NiId), "directory whose children are listed; the instance is ignored")
    name: bytes = wire(NAME, "the property whose values are given for each child")


@message
class CreatePropArgs:
    """Arguments of CREATEPROP (ni_createprop_args)."""

    id: NiId = wire(of(NiId), "directory to change; the instance must be current")
    property: Property = wire(of(Property), "the property to insert")
    where: int = wire(U32, "position among the properties; at or beyond the end: append")


@message
class PropArgs:
    """Arguments of READPROP and DESTROYPROP (ni_prop_args)."""

    id: NiId = wire(of(NiId), "the directory; for DESTROYPROP the instance must be current")
    index: int = wire(U32, "position of the property")


@message
class WritePropArgs:
    """Arguments of WRITEPROP (ni_writeprop_args)."""

    id: NiId = wire(of(NiId), "directory to change; the instance must be current")
    index: int = wire(U32, "position of the property")
    values: tuple[bytes, ...] = wire(NAMELIST, "all its values from now on")


@message
class RenamePropArgs:
    """Arguments of RENAMEPROP (ni_propname_args)."""

    id: NiId = wire(of(NiId), "directory to change; the instance must be current")
    index: int = wire(U32, "position of the property")
    name: bytes = wire(NAME, "its new name")


@message
class CreateNameArgs:
    """Arguments of CREATENAME (ni_createname_args)."""

    id: NiId = wire(of(NiId), "directory to change; the instance must be current")
    index: int = wire(U32, "position of the property")
    name: bytes = wire(NAME, "the value to insert")
    where: int = wire(U32, "position among the values; at or beyond the end: append")


@message
class NameIndexArgs:
    """Arguments of READNAME and DESTROYNAME (ni_nameindex_args)."""

    id: NiId = wire(of(NiId), "the directory; for DESTROYNAME the instance must be current")
    prop_index: int = wire(U32, "position of the property")
    name_index: int = wire(U32, "position of the value")


@message
class WriteNameArgs:
    """Arguments of WRITENAME (ni_writename_args)."""

    id: NiId = wire(of(NiId), "directory to change; the instance must be current")
    prop_index: int = wire(U32, "position of the property")
    name_index: int = wire(U32, "position of the value")
    name: bytes = wire(NAME, "the new value")


# --- results --------------------------------------------------------------------------------------------------------


@message
class ParentBody:
    """PARENT (ni_parent_res)."""

    parent: int = wire(U32, "the parent's number; the root's is 0")
    self_id: NiId = wire(of(NiId), "the directory asked about, with its current instance")


@message
class ChildrenBody:
    """CHILDREN (ni_children_res)."""

    children: tuple[int, ...] = wire(IDLIST, "the children's numbers, in order")
    self_id: NiId = wire(of(NiId), "the directory asked about, with its current instance")


@message
class CreateBody:
    """CREATE (ni_create_res)."""

    child: NiId = wire(of(NiId), "the new directory")
    parent: NiId = wire(of(NiId), "its parent, with its new instance")


@message
class ProplistBody:
    """READ and LOOKUPREAD (ni_proplist_stuff)."""

    id: NiId = wire(of(NiId), "the directory asked about; for LOOKUPREAD the one searched, not the one found")
    properties: tuple[Property, ...] = wire(PROPLIST, "the properties, in order")


@message
class LookupBody:
    """LOOKUP (ni_lookup_res)."""

    ids: tuple[int, ...] = wire(IDLIST, "the children found; never empty")
    self_id: NiId = wire(of(NiId), "the directory searched, with its current instance")


@message
class ListBody:
    """LIST (ni_list_res)."""

    entries: tuple[Entry, ...] = wire(Array(Entry, NI_LIST_MAX), "every child, in order")
    self_id: NiId = wire(of(NiId), "the directory listed, with its current instance")


@message
class ListallBody:
    """LISTALL (ni_listall_res)."""

    self_id: NiId = wire(
        of(NiId), "the directory listed, with its current instance; first here, last in LIST"
    )
    proplists: tuple[tuple[Property, ...], ...] = wire(
        Array(PROPLIST, NI_LIST_MAX), "every child's properties, without its number"
    )


@message
class NamelistBody:
    """READPROP and LISTPROPS (ni_namelist_res)."""

    names: tuple[bytes, ...] = wire(NAMELIST, "the values of the property, or the names of the properties")
    self_id: NiId = wire(of(NiId), "the directory asked about, with its current instance")


@message
class ReadNameBody:
    """READNAME (ni_readname_res)."""

    id: NiId = wire(of(NiId), "the directory asked about, with its current instance")
    name: bytes = wire(NAME, "the value")


@message
class ReadallBody:
    """READALL (ni_readall_res): a whole domain; no objects if the checksums agree (NETINFO 5.3)."""

    checksum: int = wire(U32, "the domain's checksum; 0 if the caller's was the same")
    highest_id: int = wire(U32, "no directory has a higher number")
    objects: tuple[Object, ...] = wire(
        LinkedList(Object, NI_LIST_MAX), "the directories, depth first from the root"
    )


@message
class Result:
    """The result of nearly every procedure: a status, and after NI_OK alone a body (NETINFO 1.2)."""

    status: NiStatus = wire(STATUS, "what came of the call")
    body: Any = wire(VOID, "the body, after NI_OK alone")


def result(body: Format) -> WireType:
    """The format of a `Result` whose body after NI_OK is *body*."""
    status, place = fields_of(Result)
    arm = Union("status", {NiStatus.NI_OK: as_format(body)}, default=VOID)
    return Record(Result, status, Field(place.name or "", arm, place.docs))


ID_RESULT = result(NiId)

NETINFO = Program(
    "netinfo",
    200100000,
    2,
    (
        Procedure(0, "PING", VOID, VOID, "does nothing; shows that the server lives"),
        Procedure(1, "STATISTICS", VOID, PROPLIST, "the server's figures, the checksum first (NETINFO 2.7)"),
        Procedure(2, "ROOT", VOID, ID_RESULT, "the root's id"),
        Procedure(3, "SELF", of(NiId), ID_RESULT, "a directory's current id"),
        Procedure(4, "PARENT", of(NiId), result(ParentBody), "its parent's number"),
        Procedure(5, "CREATE", of(CreateArgs), result(CreateBody), "makes a child", mutates=True),
        Procedure(
            6, "DESTROY", of(DestroyArgs), ID_RESULT, "removes a child; the parent's new id", mutates=True
        ),
        Procedure(7, "READ", of(NiId), result(ProplistBody), "all properties"),
        Procedure(8, "WRITE", of(WriteArgs), ID_RESULT, "replaces all properties", mutates=True),
        Procedure(9, "CHILDREN", of(NiId), result(ChildrenBody), "the children's numbers"),
        Procedure(10, "LOOKUP", of(LookupArgs), result(LookupBody), "children by a property's value"),
        Procedure(11, "LIST", of(ListArgs), result(ListBody), "one property of every child"),
        Procedure(12, "CREATEPROP", of(CreatePropArgs), ID_RESULT, "inserts a property", mutates=True),
        Procedure(13, "DESTROYPROP", of(PropArgs), ID_RESULT, "removes a property", mutates=True),
        Procedure(14, "READPROP", of(PropArgs), result(NamelistBody), "a property's values"),
        Procedure(
            15, "WRITEPROP", of(WritePropArgs), ID_RESULT, "replaces a property's values", mutates=True
        ),
        Procedure(16, "RENAMEPROP", of(RenamePropArgs), ID_RESULT, "renames a property", mutates=True),
        Procedure(17, "LISTPROPS", of(NiId), result(NamelistBody), "the properties' names"),
        Procedure(18, "CREATENAME", of(CreateNameArgs), ID_RESULT, "inserts a value", mutates=True),
        Procedure(19, "DESTROYNAME", of(NameIndexArgs), ID_RESULT, "removes a value", mutates=True),
        Procedure(20, "READNAME", of(NameIndexArgs), result(ReadNameBody), "one value"),
        Procedure(21, "WRITENAME", of(WriteNameArgs), ID_RESULT, "replaces one value", mutates=True),
        Procedure(22, "RPARENT", VOID, result(Binding), "a server of the parent domain (NETINFO 4.3)"),
        Procedure(23, "LISTALL", of(NiId), result(ListallBody), "all properties of every child"),
        Procedure(
            24, "BIND", of(Binding), VOID, "would this domain serve as that server's parent? (NETINFO 2.6)"
        ),
        Procedure(
            25, "READALL", U32, result(ReadallBody), "the whole domain, unless the checksum is the same"
        ),
        Procedure(26, "CRASHED", U32, VOID, "a master tells its checksum after a start"),
        Procedure(27, "RESYNC", VOID, STATUS, "clones check with their master now"),
        Procedure(
            28, "LOOKUPREAD", of(LookupArgs), result(ProplistBody), "the properties of the first child found"
        ),
    ),
)
