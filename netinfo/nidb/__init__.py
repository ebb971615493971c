"""Databases of the original servers, `<tag>.nidb` directories, read and written (NETINFO 6.1, 6.2).

Both generations leave logs behind when they are killed, and disks of that age have damage: what can be read is read
as the original server would have recovered it, and every doubt is told in a sentence (`Imported.notes`).
"""

from __future__ import annotations

from pathlib import Path

import attrs

from netinfo.generation import APPLE, NEXT, Generation
from netinfo.limits import LIMITS, Limits
from netinfo.nidb.apple import read_apple, stores, write_apple
from netinfo.nidb.files import Found, NidbError
from netinfo.nidb.next import collection_of, read_next, write_next
from netinfo.tree import (
    GAP,
    ROOT,
    WORD,
    DamagedTreeError,
    Record,
    State,
    Totals,
    Tree,
    Vacancy,
    c_strings,
    weight,
)
from wire.formats.netinfo import Object

__all__ = ["Imported", "NidbError", "read", "write_apple", "write_next"]


@attrs.frozen
class Imported:
    """A database that was read."""

    tree: Tree
    generation: Generation
    notes: tuple[str, ...]
    """What was not as it should be, and what was made of it; empty for a database that was shut down cleanly."""


def read(path: Path, limits: Limits = LIMITS) -> Imported:
    """The database in the directory *path*, of whichever generation. Raises NidbError."""
    if not path.is_dir():
        raise NidbError(f"{path} is not a directory; a NetInfo database is one, called TAG.nidb")
    notes: list[str] = []
    if any(stores(path)):
        generation, found = APPLE, read_apple(path, notes)
    elif collection_of(path) is not None:
        generation, found = NEXT, read_next(path, notes)
    else:
        raise NidbError(f"{path} holds neither `collection` (NeXT) nor `Store.*` (Apple)")
    objects = mended(found.objects, notes)
    if ROOT not in objects:
        raise NidbError(f"{path} has no root directory")
    tree = planted(objects, found, generation, limits)
    if found.checksums and tree.checksum not in found.checksums:
        notes.append(f"the noted checksum is {found.checksums[0]}, the directories give {tree.checksum}")
    return Imported(tree, generation, tuple(notes))


def planted(objects: dict[int, Object], found: Found, generation: Generation, limits: Limits) -> Tree:
    places = {child: index * GAP for each in objects.values() for index, child in enumerate(each.children)}
    records = [
        Record(
            number,
            each.id.instance,
            found.versions.get(number, 0),
            each.parent,
            places.get(number, 0),
            tuple(map(c_strings, each.properties)),
        )
        for number, each in objects.items()
    ]
    lost = [Vacancy(n, each.id.instance) for n, each in found.objects.items() if n not in objects]
    vacancies = [*found.vacancies, *lost]
    states: list[State] = [*records, *vacancies]
    slots = max(state.number for state in states) + 1
    totals = Totals(sum(map(weight, records)) & WORD, slots, max(found.versions.values(), default=0))
    try:
        return Tree.load(records, vacancies, totals, generation, limits)
    except DamagedTreeError as error:
        raise NidbError(f"the database is beyond repair: {error}") from error


def mended(objects: dict[int, Object], notes: list[str]) -> dict[int, Object]:
    """The directories that form a tree. What a child says of its parent outweighs the lists of children."""
    children: dict[int, list[int]] = {}
    parents: dict[int, int] = {ROOT: ROOT}
    for number, each in objects.items():
        kept = children.setdefault(number, [])
        for child in each.children:
            if child not in objects or child == ROOT:
                notes.append(f"directory {number} listed a child {child} that does not exist")
            elif child in parents or (objects[child].parent != number and objects[child].parent in objects):
                notes.append(f"directory {number} listed directory {child}, which belongs elsewhere")
            else:
                kept.append(child)
                parents[child] = number
    for number in sorted(objects.keys() - parents.keys()):
        if objects[number].parent in objects:
            notes.append(
                f"directory {number} was missing in the list of its parent, {objects[number].parent}"
            )
            children[objects[number].parent].append(number)
            parents[number] = objects[number].parent
    reached = reachable(children)
    for number in sorted(objects.keys() - reached):
        notes.append(f"directory {number} cannot be reached from the root and was left out")
    return {
        number: Object(
            objects[number].id, objects[number].properties, parents[number], tuple(children[number])
        )
        for number in sorted(reached & objects.keys())
    }


def reachable(children: dict[int, list[int]]) -> set[int]:
    reached: set[int] = set()
    waiting = [ROOT]
    while waiting:
        here = waiting.pop()
        if here not in reached:
            reached.add(here)
            waiting.extend(children.get(here, ()))
    return reached
