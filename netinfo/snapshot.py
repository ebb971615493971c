"""A tree as it was at one moment, read directory by directory while the tree goes on changing.

Making one costs nothing, however large the tree: the tree tells its snapshots of every directory before it changes it,
and only these are kept as they were.
"""

from __future__ import annotations

from collections.abc import Iterator

from netinfo.tree import ROOT, Directory, Tree
from wire.formats.netinfo import Object


class Snapshot:
    """Iterate once or several times: every directory, parents before children, children in order (NETINFO 5.3)."""

    def __init__(self, tree: Tree) -> None:
        self._directories = tree.directories
        self._empty = ROOT not in tree.directories
        self._before: dict[int, Object] = {}
        tree.snapshots.add(self)

    def keep(self, directory: Directory) -> None:
        """*directory* is about to change, be removed, or get or lose a child."""
        if directory.number not in self._before:
            self._before[directory.number] = directory.to_object()

    def __iter__(self) -> Iterator[Object]:
        waiting = [] if self._empty else [ROOT]
        while waiting:
            number = waiting.pop()
            here = self._before.get(number)
            if here is None:
                here = self._directories[number].to_object()
            yield here
            waiting.extend(reversed(here.children))
