"""Reading whole parts of a domain: all children of a directory, or everything below one.

The protocol asks for directories one by one. Where it can be done in fewer calls it is: LISTALL gives all children's
properties, READALL the whole domain, from servers that give it to this caller (NETINFO 2.6, 5.3).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

import attrs

from netinfo.client.domain import ROOT, Domain
from netinfo.client.errors import CommunicationError, NetInfoError
from wire.formats.netinfo import NiId, NiStatus, Object, Property

if TYPE_CHECKING:
    from netinfo.rawformat import Branch

Found = tuple[int, tuple[Property, ...]]
"""A directory's number and its properties."""


async def read_children(domain: Domain, directory: NiId) -> AsyncIterator[Found]:
    """Every child, in order; one that goes away meanwhile is left out."""
    here, children = await domain.children_with_id(directory)
    if not children:
        return
    try:
        listed_here, listed = await domain.listall_with_id(directory)
    except CommunicationError:  # too long for one reply
        listed_here, listed = directory, ()
    if listed_here == here and len(listed) == len(children):  # else they changed between the calls
        for found in zip(children, listed, strict=True):
            yield found
        return
    for number in children:
        try:
            yield number, await domain.read(NiId(number, 0))
        except NetInfoError as error:
            if error.status not in (NiStatus.NI_BADID, NiStatus.NI_NODIR):
                raise


@attrs.frozen
class View:
    """A domain to walk through: as it was at one moment where READALL gave it, else as it is when asked."""

    domain: Domain
    known: Mapping[int, Object]

    @classmethod
    async def below(cls, domain: Domain, directory: NiId) -> View:
        """For walking through all that is below *directory*: only for everything everything is asked for at once."""
        known: dict[int, Object] = {}
        if directory.object == ROOT.object:
            try:
                known = {each.id.object: each for each in (await domain.readall()).objects}
            except NetInfoError:
                known = {}  # not for us, or not from a clone, or too long
        return cls(domain, known)

    async def properties(self, number: int) -> tuple[Property, ...]:
        if number in self.known:
            return self.known[number].properties
        return await self.domain.read(NiId(number, 0))

    async def children(self, number: int) -> AsyncIterator[Found]:
        """Numbers and properties of the children, in order."""
        if number in self.known:
            for child in self.known[number].children:
                if child in self.known:  # old databases list children that are gone (NETINFO 2.6, DESTROY)
                    yield child, self.known[child].properties
            return
        async for found in read_children(self.domain, NiId(number, 0)):
            yield found


async def read_tree(domain: Domain, directory: NiId) -> Branch:
    """A directory and everything below it."""
    from netinfo.rawformat import Branch  # not above: most tools never need it, and start faster

    view = await View.below(domain, directory)

    async def branch(number: int, properties: tuple[Property, ...]) -> Branch:
        children = [await branch(*found) async for found in view.children(number)]
        return Branch(properties, tuple(children))

    return await branch(directory.object, await view.properties(directory.object))
