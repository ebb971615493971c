"""Snapshots: the tree of one moment, however it changes while it is read."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from netinfo.generation import APPLE, NEXT, Generation
from netinfo.rawformat import Branch, plant
from netinfo.snapshot import Snapshot
from netinfo.tree import Commit, Tree
from wire.formats.netinfo import NiId, Object, Property

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["create", "create at", "destroy", "write", "undo", "read", "begin"]),
        st.integers(0, 50),
        st.integers(0, 5),
    ),
    max_size=40,
)


@given(CHANGES, st.sampled_from([NEXT, APPLE]))
def test_what_is_read_is_what_was(changes: list[tuple[str, int, int]], generation: Generation) -> None:
    tree = plant(Branch((), (Branch((), (Branch(()),)), Branch(()))), generation)
    commits: list[Commit] = []
    reading: list[tuple[Iterator[Object], list[Object], list[Object]]] = []

    def begin() -> None:
        reading.append((iter(Snapshot(tree)), [], [each.to_object() for each in tree.walk()]))

    begin()
    for what, number, count in changes:
        here = tree.directories[sorted(tree.directories)[number % len(tree.directories)]]
        if what == "create":
            commits.append(tree.create(here, (), count)[1])
        elif what == "create at":
            free = max(tree.directories) + 1 + count
            commits.append(tree.create(here, (), count, NiId(free, 7))[1])
        elif what == "destroy" and here.number and not here.children:
            commits.append(tree.destroy(here))
        elif what == "write":
            commits.append(tree.write(here, (Property(b"name", (b"%d" % count,)),)))
        elif what == "undo" and commits:
            tree.undo(commits.pop())
        elif what == "begin":
            begin()
        elif what == "read":
            for objects, got, _ in reading:
                got += islice(objects, count)
    for objects, got, expected in reading:
        assert [*got, *objects] == expected


def test_empty_tree_stays_empty() -> None:
    tree = Tree()
    taken = Snapshot(tree)
    tree.create_root()
    assert list(taken) == []


def test_snapshot_that_nobody_reads_is_forgotten() -> None:
    tree = plant(Branch())
    objects = iter(Snapshot(tree))
    gc.collect()
    assert len(tree.snapshots) == 1, "whoever reads it keeps it"
    del objects
    gc.collect()
    assert not tree.snapshots
