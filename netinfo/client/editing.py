"""Changes of directories as people think of them: a property by its name, a path that is made, a tree that
goes.

What the tools and `ni2_*` calls of the original did with several calls each (NETINFO 6.5). None of it is one
transaction; every call names the instance it saw, so a change by somebody else in between is noticed
(NI_STALE), not overwritten.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from netinfo.client.domain import NAME, ROOT, Domain
from netinfo.client.errors import CommunicationError, NetInfoError
from netinfo.client.looking import read_tree
from netinfo.client.paths import DirectoryPath, Step, parse_path
from netinfo.properties import values_of
from wire.formats.netinfo import LookupArgs, NiId, NiStatus, Property

if TYPE_CHECKING:
    from netinfo.rawformat import Branch

Values = tuple[bytes, ...]


async def index_of(domain: Domain, directory: NiId, key: bytes) -> int | None:
    """Position of the first property of a name."""
    names = await domain.listprops(directory)
    return names.index(key) if key in names else None


async def existing_index_of(domain: Domain, directory: NiId, key: bytes) -> int:
    """The same. Raises NI_NOPROP if there is none."""
    index = await index_of(domain, directory, key)
    if index is None:
        raise NetInfoError(NiStatus.NI_NOPROP, os.fsdecode(key))
    return index


async def property_of(domain: Domain, directory: NiId, key: bytes) -> tuple[bytes, ...]:
    """The values of the first property of a name. Raises NI_NOPROP."""
    return await domain.readprop(directory, await existing_index_of(domain, directory, key))


async def set_property(domain: Domain, directory: NiId, key: bytes, values: Sequence[bytes]) -> NiId:
    """Overwrite the first property of a name, or make one at the end; the directory's new id."""
    index = await index_of(domain, directory, key)
    if index is None:
        return await domain.createprop(directory, Property(key, tuple(values)))
    return await domain.writeprop(directory, index, values)


async def change_values(
    domain: Domain, directory: NiId, key: bytes, change: Callable[[Values], Iterable[bytes]]
) -> None:
    """Give the first property of a name other values; one that is not there begins without any."""
    index = await index_of(domain, directory, key)
    if index is None:
        await domain.createprop(directory, Property(key, tuple(change(()))))
        return
    old = await domain.readprop(directory, index)
    new = tuple(change(old))
    if new != old:
        await domain.writeprop(directory, index, new)


async def append_values(domain: Domain, directory: NiId, key: bytes, values: Sequence[bytes]) -> None:
    await change_values(domain, directory, key, lambda old: (*old, *values))


async def merge_values(domain: Domain, directory: NiId, key: bytes, values: Sequence[bytes]) -> None:
    """Append those that are not there yet."""
    await change_values(domain, directory, key, lambda old: dict.fromkeys((*old, *values)))


async def insert_value(domain: Domain, directory: NiId, key: bytes, value: bytes, index: int) -> None:
    """Insert a value before the one at *index*, or after all."""
    await change_values(domain, directory, key, lambda old: (*old[:index], value, *old[index:]))


async def remove_values(domain: Domain, directory: NiId, key: bytes, values: Sequence[bytes]) -> None:
    """Remove all values that equal one of these. Raises NI_NOPROP, and NI_NONAME if there is none."""
    index = await existing_index_of(domain, directory, key)
    old = await domain.readprop(directory, index)
    if missing := [value for value in values if value not in old]:
        raise NetInfoError(NiStatus.NI_NONAME, os.fsdecode(missing[0]))
    await domain.writeprop(directory, index, [value for value in old if value not in values])


async def rename_property(domain: Domain, directory: NiId, old: bytes, new: bytes) -> None:
    """Rename the first property of a name. Raises NI_NOPROP."""
    await domain.renameprop(directory, await existing_index_of(domain, directory, old), new)


async def remove_properties(domain: Domain, directory: NiId, key: bytes) -> tuple[NiId, int]:
    """Remove every property of a name: the directory's new id, and how many there were."""
    removed = 0
    while (index := await index_of(domain, directory, key)) is not None:
        directory = await domain.destroyprop(directory, index)
        removed += 1
    return directory, removed


async def make_path(domain: Domain, path: bytes | DirectoryPath) -> NiId:
    """The directory at a path, made where it is missing, step by step; `key=value` makes that property."""
    parsed = parse_path(path) if isinstance(path, bytes) else path
    here = await domain.root()
    for step in parsed.steps:
        result = await domain.call("LOOKUP", LookupArgs(here, step.key, step.value))
        if result.status == NiStatus.NI_OK:
            here = await domain.self_id(NiId(result.body.ids[0], 0))
            continue
        if result.status != NiStatus.NI_NODIR:
            raise NetInfoError(result.status, bytes(parsed).decode(errors="replace"))
        here = (await domain.create(here, (Property(step.key, (step.value,)),))).child
    return here


async def remove_children(domain: Domain, directory: NiId) -> NiId:
    """Destroy everything below a directory; its new id."""
    for number in await domain.children(directory):
        directory = await remove_tree(domain, directory, number)
    return directory


async def remove_tree(domain: Domain, parent: NiId, number: int) -> NiId:
    """Destroy a child and everything below it; the parent's new id."""
    child = await remove_children(domain, await domain.self_id(NiId(number, 0)))
    return await domain.destroy(parent, child)


async def destroy(domain: Domain, directory: NiId) -> NiId:
    """Destroy a directory and everything below it; its parent's new id.

    Raises NI_NOTEMPTY for the root, which no server destroys, before anything is touched.
    """
    if directory.object == ROOT.object:
        raise NetInfoError(NiStatus.NI_NOTEMPTY, "the root directory")
    parent = await domain.self_id(NiId(await domain.parent(directory), 0))
    return await remove_tree(domain, parent, directory.object)


async def load_tree(domain: Domain, directory: NiId, branch: Branch) -> NiId:
    """Make a directory what a text says: its properties replaced, its children destroyed and made anew
    (NETINFO 6.3)."""
    directory = await domain.write(directory, branch.properties)
    directory = await remove_children(domain, directory)
    return await add_children(domain, directory, branch.children)


async def add_children(domain: Domain, directory: NiId, branches: Iterable[Branch]) -> NiId:
    """Make children with all that is below them; the directory's new id."""
    for branch in branches:
        made = await domain.create(directory, branch.properties)
        directory = made.parent
        await add_children(domain, made.child, branch.children)
    return directory


async def copy_tree(domain: Domain, directory: NiId, parent: NiId) -> NiId:
    """Make a copy of a directory and everything below it under another; the copy's id. Numbers change.

    The whole is read first, so that a directory can be copied into itself.
    """
    branch = await read_tree(domain, directory)
    made = await domain.create(await domain.self_id(parent), branch.properties)
    return await add_children(domain, made.child, branch.children)


async def path_of(domain: Domain, directory: NiId) -> bytes:
    """The path that leads to a directory, by names; `dir: ID` for one without a name (NETINFO 6.5)."""
    steps = [_step_to(here.object, await domain.read(here)) async for here in upwards(domain, directory)]
    return b"/" + b"/".join(reversed(steps))


async def upwards(domain: Domain, directory: NiId) -> AsyncIterator[NiId]:
    """A directory, its parent, its parent's parent, up to the one below the root. Raises `CommunicationError` where a
    server leads in a circle."""
    seen: set[int] = set()
    while directory.object != ROOT.object:
        if directory.object in seen:
            raise CommunicationError(
                str(domain), f"the parents of directory {directory.object} lead in a circle."
            )
        seen.add(directory.object)
        yield directory
        directory = NiId(await domain.parent(directory), 0)


def path_below(path: bytes, number: int, properties: Sequence[Property]) -> bytes:
    """The path of a child of the directory at *path*, by the child's number and properties."""
    return path.rstrip(b"/") + b"/" + _step_to(number, properties)


def _step_to(number: int, properties: Sequence[Property]) -> bytes:
    names = values_of(properties, NAME)
    return bytes(Step(NAME, names[0])) if names else b"dir: %d" % number
