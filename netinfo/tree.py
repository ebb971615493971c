"""The tree of a domain's directories: numbers, instances, positions, checksum (NETINFO 2.1 to 2.4, 2.8).

Knows nothing of callers, permissions or statuses. Every change is given back as a `Commit`: what a store must keep,
and what undoes it should the store fail. Positions in the parent are numbers with wide gaps, so that an insertion
touches one record and not all its sisters.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import attrs

from netinfo.generation import NEXT, Generation
from netinfo.index import Index
from netinfo.limits import LIMITS, Limits
from wire.formats.netinfo import NiId, Object, Property

if TYPE_CHECKING:
    from netinfo.snapshot import Snapshot

T = TypeVar("T")
WORD = 0xFFFFFFFF
GAP = 1 << 20
"""Distance between two children's positions when the second is appended. Small enough for 2**43 appends in 64 bits."""
ROOT = 0
FAMILIES = count(1)
"""Where `Directory.family` comes from: one count for all trees, so that no two states share a number."""

Properties = tuple[Property, ...]


@attrs.frozen
class Record:
    """One directory as a store keeps it; its children find it by `parent` and stand in the order of `position`."""

    number: int
    instance: int
    version: int
    """Value of the domain's modification counter at the last change of this directory (NETINFO 6.2)."""
    parent: int
    position: int
    properties: Properties


@attrs.frozen
class Vacancy:
    """A number that no directory has; the last one that had it ended with this instance (NETINFO 2.2)."""

    number: int
    instance: int


State = Record | Vacancy


@attrs.frozen
class Totals:
    """What a domain counts as a whole."""

    checksum: int = 0
    slots: int = 0
    """One more than the highest number ever used; [N] calls these the record slots."""
    version: int = 0
    """Counts every change of every directory (NETINFO 6.2)."""


@attrs.frozen
class Commit:
    """One change of a tree, whole: the touched numbers and the totals, before and after."""

    before: tuple[State, ...]
    after: tuple[State, ...]
    totals_before: Totals
    totals: Totals


@attrs.frozen
class Image:
    """A whole domain as a store keeps it, as it is at one moment."""

    states: tuple[State, ...]
    totals: Totals


class DamagedTreeError(ValueError):
    """Records that are no tree; the sentence names the directory that is wrong."""


@attrs.define(eq=False)
class Directory:
    """A directory in memory. Only the tree changes it."""

    number: int
    instance: int
    version: int
    parent: int
    properties: Properties
    depth: int
    children: dict[int, int] = attrs.Factory(dict)
    """Number -> position, in order."""
    family: int = 0
    """Changes whenever this directory or a property of one of its children does; no two states share a number."""
    index: Index | None = None

    @property
    def id(self) -> NiId:
        return NiId(self.number, self.instance)

    def to_object(self) -> Object:
        return Object(self.id, self.properties, self.parent, tuple(self.children))


class Tree:
    """All directories of a domain, by number."""

    def __init__(self, generation: Generation = NEXT, limits: Limits = LIMITS) -> None:
        self.generation = generation
        self.limits = limits
        self.directories: dict[int, Directory] = {}
        self.totals = Totals()
        self._vacant: dict[int, int] = {}
        """Free numbers below `slots` -> last instance."""
        self._lowest: list[int] = []
        """A heap that holds every vacant number, and some that no longer are."""
        self._derived: dict[Callable[[Tree], Any], Any] = {}
        self._derived_from: Totals | None = None
        self._disordered: set[int] = set()
        """Directories whose children stand in another order than their positions say."""
        self.snapshots: WeakSet[Snapshot] = WeakSet()
        """Who must know of a directory before it changes."""

    # --- looking --------------------------------------------------------------------------------------------

    def get(self, number: int) -> Directory | None:
        return self.directories.get(number)

    def find(self, parent: Directory, key: bytes, value: bytes) -> Sequence[int]:
        """Numbers of the children of *parent* whose first property *key* holds *value*, in order."""
        index = parent.index
        if index is None:
            index = parent.index = Index(parent.children, lambda number: self.directories[number].properties)
        return index.find(key, value)

    def find_first(self, parent: Directory, key: bytes, value: bytes) -> Directory | None:
        hits = self.find(parent, key, value)
        return self.directories[hits[0]] if hits else None

    def path(self, *names: bytes) -> Directory | None:
        """The directory reached from the root by the first child of each name, as the servers walk (NETINFO 2.6)."""
        here = self.get(ROOT)
        for name in names:
            here = here and self.find_first(here, b"name", name)
        return here

    def children(self, parent: Directory) -> Iterator[Directory]:
        directories = self.directories
        return (directories[number] for number in parent.children)

    def walk(self) -> Iterator[Directory]:
        """Every directory, depth first, parents before children, children in order (NETINFO 5.3)."""
        root = self.get(ROOT)
        stack = [root] if root else []
        while stack:
            here = stack.pop()
            yield here
            stack.extend(self.directories[number] for number in reversed(here.children))

    def derived(self, function: Callable[[Tree], T]) -> T:
        """What *function* makes of this tree, made again only after the tree has changed."""
        if self._derived_from is not self.totals:
            self._derived_from = self.totals
            self._derived.clear()
        if function not in self._derived:
            self._derived[function] = function(self)
        value: T = self._derived[function]
        return value

    @property
    def checksum(self) -> int:
        """Sum of (number + 1) * instance over all directories, modulo 2**32 (NETINFO 2.8)."""
        return self.totals.checksum

    @property
    def highest_id(self) -> int:
        """What READALL tells as the highest id (NETINFO 5.3)."""
        if self.generation.highest_is_count:
            return self.totals.slots
        return max(self.directories, default=0)

    def vacancies(self) -> Iterator[Vacancy]:
        """The free numbers whose last instance is worth keeping."""
        return (Vacancy(number, instance) for number, instance in sorted(self._vacant.items()) if instance)

    def with_version(self, version: int) -> Directory | None:
        """The directory that the change with this number made (NETINFO 2.3)."""
        return next((d for d in self.directories.values() if d.version == version), None)

    # --- changing -------------------------------------------------------------------------------------------

    def create_root(self, properties: Properties = ()) -> Commit:
        """Make directory 0, instance 1 in both generations (NETINFO 2.2). The tree is empty."""
        before = (self._state(ROOT),)
        return self._commit(before, (Record(ROOT, 1, self.totals.version + 1, ROOT, 0, properties),))

    def create(
        self,
        parent: Directory,
        properties: Properties,
        where: int,
        target: NiId | None = None,
    ) -> tuple[Directory, Commit]:
        """Make a child of *parent* before its child number *where* (at or beyond the end: after all).

        Its number is *target*'s or the lowest free one (NETINFO 2.3); the caller has made sure that *target*'s is
        free.
        """
        number = self._lowest_free() if target is None else target.object
        instance = self._first_instance(number) if target is None else target.instance
        position, shifted = self._position(parent, where)
        before = (self._state(number), self._record(parent), *map(self._state, shifted))
        version = self.totals.version
        moved = [
            attrs.evolve(self._record(self.directories[n]), position=place) for n, place in shifted.items()
        ]
        made = Record(number, instance, version + 1, parent.number, position, properties)
        commit = self._commit(before, (*moved, made, self._next(parent, version + 2, parent.properties)))
        return self.directories[number], commit

    def destroy(self, child: Directory) -> Commit:
        """Remove a directory that has no children from its parent."""
        parent = self.directories[child.parent]
        before = (self._record(child), self._record(parent))
        saved = self._next(parent, self.totals.version + 1, parent.properties)
        return self._commit(before, (Vacancy(child.number, child.instance), saved))

    def write(self, directory: Directory, properties: Properties) -> Commit:
        """Replace the properties of a directory; its instance moves even if they are the same (NETINFO 2.2)."""
        before = (self._record(directory),)
        return self._commit(before, (self._next(directory, self.totals.version + 1, properties),))

    def undo(self, commit: Commit) -> None:
        """Take back the latest change not yet taken back."""
        self._apply(commit.before, commit.totals_before)

    def _commit(self, before: tuple[State, ...], after: tuple[State, ...]) -> Commit:
        """Apply states that no tree has had; the totals follow from them."""
        totals = self.totals
        checksum, slots, version = totals.checksum, totals.slots, totals.version
        for old in before:
            checksum -= weight(old)
        for new in after:
            checksum += weight(new)
            if isinstance(new, Record):
                slots = max(slots, new.number + 1)
                version = max(version, new.version)
        made = Commit(before, after, totals, Totals(checksum & WORD, slots, version))
        self._apply(made.after, made.totals)
        return made

    # --- numbers and positions ------------------------------------------------------------------------------

    def _lowest_free(self) -> int:
        while self._lowest and self._lowest[0] not in self._vacant:
            heapq.heappop(self._lowest)
        return self._lowest[0] if self._lowest else self.totals.slots

    def _first_instance(self, number: int) -> int:
        last = self._vacant.get(number, 0)
        if self.generation.reuse_continues and last:
            return (last + 1) & WORD
        return self.generation.first_instance

    def _position(self, parent: Directory, where: int) -> tuple[int, dict[int, int]]:
        """The position of a new child, and the new positions of others, should there be no room between two."""
        children = parent.children
        if where >= len(children):
            return (last(children) + GAP if children else 0), {}
        if where == 0:
            return next(iter(children.values())) - GAP, {}
        left, right = islice(children.values(), where - 1, where + 1)
        if right - left > 1:
            return (left + right) // 2, {}
        shifted = {child: (place + (place >= where)) * GAP for place, child in enumerate(children)}
        return where * GAP, shifted

    # --- states ---------------------------------------------------------------------------------------------

    def _record(self, directory: Directory) -> Record:
        return Record(
            directory.number,
            directory.instance,
            directory.version,
            directory.parent,
            self._position_of(directory),
            directory.properties,
        )

    def _next(self, directory: Directory, version: int, properties: Properties) -> Record:
        """The record that a change leaves of a directory: its instance counts the change (NETINFO 2.2)."""
        return Record(
            directory.number,
            (directory.instance + 1) & WORD,
            version,
            directory.parent,
            self._position_of(directory),
            properties,
        )

    def _position_of(self, directory: Directory) -> int:
        if directory.number == ROOT:
            return 0
        return self.directories[directory.parent].children[directory.number]

    def _state(self, number: int) -> State:
        here = self.directories.get(number)
        return Vacancy(number, self._vacant.get(number, 0)) if here is None else self._record(here)

    def records(self) -> Iterator[Record]:
        """Every directory as a store keeps it, parents before children."""
        return map(self._record, self.walk())

    def _apply(self, states: Iterable[State], totals: Totals) -> None:
        for state in states:
            if isinstance(state, Record):
                self._put(state)
            else:
                self._remove(state)
        for number in self._disordered:
            # The dict object stays the same: the index looks at it.
            children = self.directories[number].children
            ordered = sorted(children.items(), key=lambda item: item[1])
            children.clear()
            children.update(ordered)
        self._disordered.clear()
        self._set_totals(totals)

    def _set_totals(self, totals: Totals) -> None:
        for number in range(self.totals.slots, totals.slots):
            if number not in self.directories:
                self._vacate(number, self._vacant.get(number, 0))
        for number in range(totals.slots, self.totals.slots):
            self._vacant.pop(number, None)
        self.totals = totals

    def _vacate(self, number: int, instance: int) -> None:
        self._vacant[number] = instance
        heapq.heappush(self._lowest, number)
        if len(self._lowest) > 2 * len(self._vacant) + 64:
            self._lowest = sorted(self._vacant)

    def _put(self, record: Record) -> None:
        here = self.directories.get(record.number)
        parent = self.directories[record.parent] if record.number != ROOT else None
        if self.snapshots:
            self._preserve(here, parent)
        if here is None:
            depth = parent.depth + 1 if parent else 0
            here = Directory(record.number, record.instance, record.version, record.parent, (), depth)
            self.directories[record.number] = here
            self._vacant.pop(record.number, None)
        if parent is not None and parent.children.get(record.number) != record.position:
            if parent.children and (
                record.number in parent.children or last(parent.children) > record.position
            ):
                self._disordered.add(parent.number)
            parent.children[record.number] = record.position
        if parent is not None and here.properties is not record.properties:
            if parent.index is not None:
                parent.index.replace(record.number, here.properties, record.properties)
            parent.family = next(FAMILIES)
        here.properties = record.properties
        here.instance = record.instance
        here.version = record.version
        here.family = next(FAMILIES)

    def _preserve(self, *changing: Directory | None) -> None:
        for snapshot in self.snapshots:
            for directory in changing:
                if directory is not None:
                    snapshot.keep(directory)

    def _remove(self, vacancy: Vacancy) -> None:
        here = self.directories.get(vacancy.number)
        if here is not None:
            if self.snapshots:
                self._preserve(here, self.directories[here.parent])
            if vacancy.number != ROOT:
                parent = self.directories[here.parent]
                if parent.index is not None:
                    parent.index.replace(vacancy.number, here.properties, ())
                del parent.children[vacancy.number]
            del self.directories[vacancy.number]
        self._vacate(vacancy.number, vacancy.instance)

    # --- whole trees ----------------------------------------------------------------------------------------

    @classmethod
    def load(
        cls,
        records: Iterable[Record],
        vacancies: Iterable[Vacancy],
        totals: Totals,
        generation: Generation = NEXT,
        limits: Limits = LIMITS,
    ) -> Tree:
        """A tree from a store. Raises DamagedTreeError unless the records are one tree with these totals."""
        tree = cls(generation, limits)
        if totals.slots > limits.directories + limits.target_gap:
            raise DamagedTreeError(
                f"the highest number, {totals.slots - 1}, is beyond the limit of {limits.directories}"
            )
        waiting: dict[int, list[Record]] = {}
        numbers: set[int] = set()
        for record in records:
            if record.number in numbers:
                raise DamagedTreeError(f"directory {record.number} is there twice")
            if record.number >= totals.slots:
                raise DamagedTreeError(
                    f"directory {record.number} is beyond the highest number, {totals.slots - 1}"
                )
            numbers.add(record.number)
            waiting.setdefault(record.parent if record.number != ROOT else -1, []).append(record)
        stack = waiting.pop(-1, [])
        if numbers and not stack:
            raise DamagedTreeError("there is no root directory")
        checksum = 0
        while stack:
            record = stack.pop()
            tree._put(record)
            if tree.directories[record.number].depth > limits.depth:
                raise DamagedTreeError(f"directory {record.number} is deeper than {limits.depth} levels")
            checksum += weight(record)
            stack.extend(
                sorted(
                    waiting.pop(record.number, ()),
                    key=lambda r: r.position,
                    reverse=True,
                )
            )
        for parent, lost in waiting.items():
            raise DamagedTreeError(
                f"directory {lost[0].number} cannot be reached from the root (its parent is {parent})"
            )
        if checksum & WORD != totals.checksum:
            raise DamagedTreeError(f"the checksum is {checksum & WORD} and should be {totals.checksum}")
        tree._vacant = {
            vacancy.number: vacancy.instance for vacancy in vacancies if vacancy.number < totals.slots
        }
        tree._set_totals(totals)
        return tree


def c_string(name: bytes) -> bytes:
    """A name ends at its first NUL: the originals kept C strings (NETINFO 11)."""
    return name.split(b"\0", 1)[0] if b"\0" in name else name


def c_strings(prop: Property) -> Property:
    """A property whose name and values end at their first NUL."""
    if b"\0" not in prop.name and not any(b"\0" in value for value in prop.values):
        return prop
    return Property(c_string(prop.name), tuple(map(c_string, prop.values)))


def last(children: dict[int, int]) -> int:
    """The position of the last of some children."""
    return next(reversed(children.values()))


def image_of(tree: Tree) -> Image:
    """All of a tree, as later changes of it will not change it."""
    return Image((*tree.records(), *tree.vacancies()), tree.totals)


def weight(state: State) -> int:
    """What a directory adds to the checksum (NETINFO 2.8)."""
    return (state.number + 1) * state.instance if isinstance(state, Record) else 0


def records_of(objects: Iterable[Object]) -> Iterator[Record]:
    """Objects, as READALL transfers them and old databases hold them, as records. Their order does not matter.

    Raises DamagedTreeError where a list of children and the children themselves disagree.
    """
    known = {each.id.object: each for each in objects}
    positions: dict[int, tuple[int, int]] = {}
    for number, parent in known.items():
        for index, child in enumerate(parent.children):
            if child not in known:
                raise DamagedTreeError(f"directory {number} has a child {child} that does not exist")
            if child in positions or child == ROOT:
                raise DamagedTreeError(f"directory {child} is a child of {number} and of another")
            positions[child] = (number, index * GAP)
    for number, each in known.items():
        if number != ROOT and number not in positions:
            raise DamagedTreeError(f"directory {number} is in no directory's list of children")
        parent_number, position = positions.get(number, (ROOT, 0))
        if number != ROOT and parent_number != each.parent:
            raise DamagedTreeError(f"directory {number} says its parent is {each.parent}, which it is not")
        properties = tuple(map(c_strings, each.properties))
        yield Record(number, each.id.instance, 0, parent_number, position, properties)
