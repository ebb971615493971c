"""Finds the children of one directory by the values of a property, in the children's order (NETINFO 2.6, LOOKUP).

The tree tells the index of every change to a child as it happens, so it cannot go stale as the originals' did. A map
is made for a property name only when it is first asked for and some child has it: what strangers ask for costs no
memory.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from netinfo.properties import values_of
from wire.formats.netinfo import Property

Properties = Sequence[Property]


class Index:
    """The index of one directory.

    order: the directory's children, number -> place; any increasing numbers, kept up to date by the tree.
    properties_of: the properties of a child by its number.
    """

    def __init__(self, order: Mapping[int, int], properties_of: Callable[[int], Properties]) -> None:
        self._order = order
        self._properties_of = properties_of
        self._names: Counter[bytes] = Counter()
        self._maps: dict[bytes, dict[bytes, list[int]]] = {}
        for child in order:
            self._names.update({prop.name for prop in properties_of(child)})

    def find(self, key: bytes, value: bytes) -> Sequence[int]:
        """The children whose first property *key* holds *value*, in order."""
        found = self._maps.get(key)
        if found is None:
            if key not in self._names:
                return ()
            found = self._maps[key] = self._make(key)
        return found.get(value, ())

    def _make(self, key: bytes) -> dict[bytes, list[int]]:
        made: dict[bytes, list[int]] = {}
        for child in self._order:
            for value in dict.fromkeys(values_of(self._properties_of(child), key)):
                made.setdefault(value, []).append(child)
        return made

    def replace(self, child: int, before: Properties, after: Properties) -> None:
        """*child* had the properties *before* and has *after* now. It stands in the order while this is called."""
        self._names.update({prop.name for prop in after})
        self._names.subtract({prop.name for prop in before})
        for name in {prop.name for prop in before}:
            if not self._names[name]:
                del self._names[name]
        for key, found in self._maps.items():
            old, new = set(values_of(before, key)), set(values_of(after, key))
            for value in old - new:
                hits = found[value]
                del hits[bisect_left(hits, self._order[child], key=self._order.__getitem__)]
                if not hits:
                    del found[value]
            for value in new - old:
                insort(found.setdefault(value, []), child, key=self._order.__getitem__)
